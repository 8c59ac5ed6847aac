"""An answer of the rehearsal model as a whole, and how it is cut into deltas as a server would do it.

Pure. Where a reply comes from (a script, or the model's own wit) makes no difference here.
"""

from __future__ import annotations

import hashlib
import re
import string
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from causerie.types.base import UNSET

from .base import CallDelta, Delta, FinishDelta, ModelRequest, ReasoningDelta, TextDelta, UsageDelta

Chunking = Literal["word", "character", "whole"] | Annotated[int, Meta(ge=1)]

_PIECE = re.compile(r"\s*\w{1,16}|\s*[^\w\s]|\s+")
_ALPHABET = string.digits + string.ascii_lowercase
_ID_LENGTH = 9


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call of a function, its arguments as JSON text."""

    name: str
    arguments: str = "{}"


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A failure in place of an answer.

    Attributes:
        status: the HTTP status that a model server would have answered with.
        message: what it would have said.
        retry_after: seconds, for the header of that name.
        after: how many pieces of the answer come before it fails.
        times: how often the same messages fail before they are answered; always where it is not given.
    """

    status: Annotated[int, Meta(ge=400, le=599)]
    message: str = ""
    retry_after: Annotated[int, Meta(ge=0)] | None = None
    after: Annotated[int, Meta(ge=0)] = 0
    times: Annotated[int, Meta(ge=1)] | None = None


class Tokens(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A count of tokens to report in place of the real one."""

    prompt_tokens: Annotated[int, Meta(ge=0)]
    completion_tokens: Annotated[int, Meta(ge=0)]


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One answer.

    Attributes:
        delay: seconds before the first piece.
        pace: seconds between the pieces.
        chunk: what a piece is.
        finish: why the model stopped, where it is not what really happened.
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[Call, ...] = ()
    failure: Failure | None = None
    delay: float = 0.0
    pace: float = 0.0
    chunk: Chunking = "word"
    usage: Tokens | None = None
    finish: str | None = None


def pieces(text: str) -> list[str]:
    """Return `text` in pieces of words, the tokens of the rehearsal model; together they are the text again."""
    return _PIECE.findall(text)


def played(reply: Reply, request: ModelRequest, prompt_tokens: int) -> list[list[Delta]]:
    """Return the reply in the batches in which it is yielded, cut where the request wants it cut."""
    reasoning, text, calls, reason = _cut(reply, request)
    count = sum(len(pieces(part)) for part in (reasoning, text, *(f"{call.name} {call.arguments}" for call in calls)))
    said = (request.prefix or "") + text
    whole = not request.stream or reply.chunk == "whole"
    chunk = "whole" if whole else reply.chunk
    deltas: list[Delta] = [ReasoningDelta(part) for part in _split(reasoning, chunk)]
    deltas += [TextDelta(part) for part in _split(said, chunk)]
    for index, call in enumerate(calls):
        id_ = _call_id(request.messages, index)
        if whole:
            deltas.append(CallDelta(index, id_, call.name, call.arguments))
        else:
            deltas.append(CallDelta(index, id_, call.name))
            deltas += [CallDelta(index, arguments=part) for part in _split(call.arguments, chunk)]
    usage = reply.usage or Tokens(prompt_tokens, count)
    last: list[Delta] = [
        UsageDelta(usage.prompt_tokens, usage.completion_tokens),
        FinishDelta(reply.finish or reason),
    ]
    return [deltas + last] if whole else [*([delta] for delta in deltas), last]


def _cut(reply: Reply, request: ModelRequest) -> tuple[str, str, tuple[Call, ...], str]:
    """Return reasoning, text, calls and the reason for stopping, after the prefix, stop words and the token limit."""
    text = reply.text.removeprefix(request.prefix or "")
    calls = reply.calls
    stops = [] if request.args.stop is UNSET else request.args.stop or []
    for stop in [stops] if isinstance(stops, str) else stops:
        if stop and stop in text:
            text = text[: text.index(stop)]
            calls = ()
    limit = request.args.max_tokens
    if limit is UNSET or limit is None:
        return reply.reasoning, text, calls, "tool_calls" if calls else "stop"
    reasoning_pieces, text_pieces = pieces(reply.reasoning), pieces(text)
    left = limit - len(reasoning_pieces)
    fits = left >= len(text_pieces)
    left -= len(text_pieces)
    kept = []
    for call in calls:
        left -= len(pieces(f"{call.name} {call.arguments}"))
        # Half a call is of no use to anybody; one that does not fit is left out.
        if left < 0:
            fits = False
            break
        kept.append(call)
    text = "".join(text_pieces[: max(0, limit - len(reasoning_pieces))])
    reason = "length" if not fits else "tool_calls" if kept else "stop"
    return "".join(reasoning_pieces[:limit]), text, tuple(kept), reason


def _split(text: str, chunk: Chunking) -> list[str]:
    if chunk == "whole":
        return [text] if text else []
    if chunk == "word":
        return pieces(text)
    size = 1 if isinstance(chunk, str) else chunk
    return [text[start : start + size] for start in range(0, len(text), size)]


def _call_id(messages: bytes, index: int) -> str:
    # The same request gives the same ids, and a longer conversation others: they are unique in it.
    number = int.from_bytes(hashlib.blake2b(messages, digest_size=8, salt=index.to_bytes(4)).digest())
    digits = []
    for _ in range(_ID_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(digits)
