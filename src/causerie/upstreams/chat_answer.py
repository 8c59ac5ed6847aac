"""What ``/chat/completions`` answers, streamed or plain, decoded into deltas; the dialects end here.

Pure: bytes in, lists of deltas out. One chunk costs about two microseconds, so the ordinary one is decoded straight
into the structs below, which know only what we use; whatever does not fit is looked at again, slowly.
"""

from __future__ import annotations

from typing import Any

import msgspec

from causerie.errors import APIError
from causerie.sse import Decoder

from .base import CallDelta, Delta, FinishDelta, ReasoningDelta, ReasoningField, TextDelta, UsageDelta
from .chat_calls import CallPiece, Calls
from .surrogates import Halves, loads, whole
from .trouble import Trouble

_REASONS = {
    "function_call": "tool_calls",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "model_length": "length",
    "max_tokens": "length",
}
_FAILED_REASONS = ("error", "abort")


class _Part(msgspec.Struct, gc=False):
    """One chunk of content in Mistral's way; what is neither text nor thinking (references) is not passed on."""

    type: str = "text"
    text: str | None = None
    thinking: str | list[_Part] | None = None
    signature: str | None = None


class _Message(msgspec.Struct, gc=False):
    """The message of a plain answer, or the delta of a streamed one."""

    content: str | list[_Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[CallPiece] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Chunk(msgspec.Struct, gc=False):
    """An answer, a chunk of one, or an error in place of either."""

    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class Answer:
    """What both forms of an answer share: deltas from one chunk, and the last ones from all of them.

    Attributes:
        done: whether everything has been said; what follows need not be read.
        failure: what went wrong in the midst of a read, to be raised once what came before it was passed on.
    """

    def __init__(self, trouble: Trouble) -> None:
        """Nothing was read yet; what goes wrong is put in the words of `trouble`."""
        self.done = False
        self.failure: APIError | None = None
        self._trouble = trouble
        self._calls = Calls()
        self._halves = Halves()
        self._usage: _Usage | None = None
        self._reason: str | None = None
        self._begun = False

    @property
    def finished(self) -> bool:
        """Whether the model has said why it stopped; a body that breaks off after that has lost nothing."""
        return self._reason is not None

    def feed(self, data: bytes) -> list[Delta]:
        """Return what these bytes of the body bring.

        Raises:
            APIError: they are no answer, or they say that the model failed.
        """
        raise NotImplementedError

    def close(self) -> list[Delta]:
        """Return what is left to say at the end of the body.

        Raises:
            UpstreamError: the answer broke off.
        """
        raise NotImplementedError

    def _read(self, data: bytes, deltas: list[Delta]) -> None:
        try:
            chunk = _decode(data)
        except (ValueError, RecursionError):
            start = len(deltas)
            self._take(self._decode_slowly(data), data, deltas)
            deltas[start:] = self._mended(deltas[start:])
            return
        if self._halves:
            start = len(deltas)
            self._take(chunk, data, deltas)
            deltas[start:] = self._mended(deltas[start:])
        else:
            self._take(chunk, data, deltas)

    def _decode_slowly(self, data: bytes) -> _Chunk:
        # msgspec calls a lone half of a character "truncated data"; the standard library can read it.
        try:
            return msgspec.convert(loads(data), _Chunk)
        except msgspec.ValidationError as error:
            raise self._trouble.broken(str(error)) from error
        except (ValueError, RecursionError) as error:
            raise self._trouble.broken(f"it is not JSON: {data[:120].decode(errors='replace')}") from error

    def _take(self, chunk: _Chunk, data: bytes, deltas: list[Delta]) -> None:
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.error:
            raise self._trouble.reported({"error": chunk.error})
        if chunk.choices:
            self._choose(chunk.choices[0], deltas)
        elif chunk.choices is None and chunk.usage is None:
            self._look_for_error(data)

    def _look_for_error(self, data: bytes) -> None:
        said = loads(data)
        if said.get("object") == "error" or "detail" in said or "message" in said:
            raise self._trouble.reported(said)

    def _choose(self, choice: _Choice, deltas: list[Delta]) -> None:
        message = choice.delta
        if message is None and not self._begun:
            message = choice.message
        if message is not None:
            self._begun = True
            self._say(message, deltas)
        if choice.finish_reason:
            self._finish(choice.finish_reason)

    def _say(self, message: _Message, deltas: list[Delta]) -> None:
        if message.reasoning_content:
            deltas.append(ReasoningDelta(message.reasoning_content))
        elif message.reasoning:
            # Servers that send both fields say the same thing in each.
            deltas.append(ReasoningDelta(message.reasoning, "reasoning"))
        content = message.content
        if isinstance(content, str):
            if content:
                deltas.append(TextDelta(content))
        elif content:
            self._read_parts(content, deltas)
        if message.refusal:
            deltas.append(TextDelta(message.refusal))
        if message.tool_calls:
            deltas.extend([self._calls.read(piece) for piece in message.tool_calls])

    def _read_parts(self, parts: list[_Part], deltas: list[Delta]) -> None:
        for part in parts:
            if part.type == "thinking":
                thinking = part.thinking or ""
                if not isinstance(thinking, str):
                    thinking = "".join([piece.text or "" for piece in thinking])
                if thinking or part.signature:
                    deltas.append(ReasoningDelta(thinking, "content", part.signature))
            elif part.type == "text" and part.text:
                deltas.append(TextDelta(part.text))

    def _finish(self, reason: str) -> None:
        if reason in _FAILED_REASONS:
            raise self._trouble.broken(f"the model stopped with finish_reason {reason!r}")
        self._reason = _REASONS.get(reason, reason)

    def _end(self) -> list[Delta]:
        """Return the last deltas: halves that stayed alone, the usage, and why the model stopped, in this order."""
        self.done = True
        deltas: list[Delta] = [_lost(*channel) for channel in self._halves.waiting()]
        if self._usage is not None:
            deltas.append(UsageDelta(self._usage.prompt_tokens or 0, self._usage.completion_tokens or 0))
        reason = self._reason or "stop"
        deltas.append(FinishDelta("tool_calls" if reason == "stop" and self._calls else whole(reason)))
        return deltas

    def _mended(self, deltas: list[Delta]) -> list[Delta]:
        mended: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, TextDelta):
                if text := self._halves.join(("text",), delta.text):
                    mended.append(TextDelta(text))
            elif isinstance(delta, ReasoningDelta):
                text = self._halves.join(("reasoning", delta.field), delta.text)
                if text or delta.signature:
                    mended.append(ReasoningDelta(text, delta.field, delta.signature and whole(delta.signature)))
            elif isinstance(delta, CallDelta):
                text = self._halves.join(("call", delta.index), delta.arguments)
                id_, name = delta.id and whole(delta.id), delta.name and whole(delta.name)
                mended.append(CallDelta(delta.index, id_, name, text))
        return mended


class StreamedAnswer(Answer):
    """An answer that comes as server-sent events."""

    def __init__(self, trouble: Trouble) -> None:
        """Start at the beginning of the body."""
        super().__init__(trouble)
        self._decoder = Decoder()

    def feed(self, data: bytes) -> list[Delta]:
        """Return what these bytes of the body bring."""
        deltas: list[Delta] = []
        try:
            for event, said, _ in self._decoder.feed(data):
                if event == "error":
                    raise self._trouble.reported(self._error(said))
                if said[:1] == b"{":
                    self._read(said, deltas)
                elif said.strip() == b"[DONE]":
                    return deltas + self._closed()
                elif said.strip():
                    self._read(said, deltas)
        except APIError as error:
            if not deltas:
                raise
            self.failure = error
        return deltas

    def close(self) -> list[Delta]:
        """Return what is left to say at the end of the body."""
        # Some servers end the body without the blank line that the last event needs.
        deltas = self.feed(b"\n\n")
        if self.done or self.failure:
            return deltas
        if self._reason is None:
            raise self._trouble.broken("the stream ended before the answer did")
        return deltas + self._end()

    def _closed(self) -> list[Delta]:
        if not self._begun and self._reason is None:
            raise self._trouble.broken("the stream ended without an answer")
        return self._end()

    def _error(self, said: bytes) -> Any:
        try:
            return loads(said)
        except (ValueError, RecursionError):
            return said.decode(errors="replace")


class PlainAnswer(Answer):
    """An answer that comes as one JSON object."""

    def __init__(self, trouble: Trouble) -> None:
        """Start at the beginning of the body."""
        super().__init__(trouble)
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[Delta]:
        """Keep these bytes: half an object says nothing."""
        self._parts.append(data)
        return []

    def close(self) -> list[Delta]:
        """Return the whole answer."""
        deltas: list[Delta] = []
        self._read(b"".join(self._parts), deltas)
        if not self._begun:
            raise self._trouble.broken("it holds no message")
        return deltas + self._end()


def _lost(kind: str, which: Any = None) -> Delta:
    if kind == "text":
        return TextDelta("\ufffd")
    if kind == "reasoning":
        field: ReasoningField = which
        return ReasoningDelta("\ufffd", field)
    return CallDelta(which, arguments="\ufffd")
