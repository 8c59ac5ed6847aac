"""What is asked in a benchmark, through Causerie and of the upstream directly, and how an answer is recognised."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from load import Check, LoadError, expect_ok
from upstream import TOKEN_MARK, Script, text
from wire import Answer, post

PROMPT = "Name the rivers that cross this country, from north to south."
CHAT = "/v1/chat/completions"
CONVERSATIONS = "/v1/conversations"
STARTED = b"event: conversation.response.started"
DELTA = b"event: message.output.delta"
CANCELLED = b"event: conversation.run.cancelled"
DONE = b"event: conversation.response.done"
FIRST_TOKEN = b'"content":"' + TOKEN_MARK


class Usage(msgspec.Struct):
    """The part of a usage that is looked at."""

    prompt_tokens: int


class Turn(msgspec.Struct):
    """The part of a conversation response that is looked at."""

    conversation_id: str
    usage: Usage


class Completion(msgspec.Struct):
    """The part of a chat completion that is looked at."""

    usage: Usage


class RunState(msgspec.Struct):
    """The part of a run that is looked at."""

    state: str


class Runs(msgspec.Struct):
    """The part of a list of runs that is looked at."""

    data: list[RunState]


class History(msgspec.Struct):
    """The part of a history that is looked at."""

    entries: list[msgspec.Raw]


def _encode(body: dict[str, Any], *, stream: bool) -> tuple[bytes, str]:
    accept = "text/event-stream" if stream else "application/json"
    return msgspec.json.encode({**body, "stream": stream}), accept


def start(port: int, script: Script, *, stream: bool = False) -> bytes:
    """Return a request that starts a conversation."""
    body, accept = _encode({"inputs": PROMPT, "model": script.model}, stream=stream)
    return post(port, CONVERSATIONS, body, accept=accept)


def append(port: int, conversation_id: str, *, stream: bool = False, on_disconnect: str = "") -> bytes:
    """Return a request that appends a turn to a conversation."""
    leaving = {"on_disconnect": on_disconnect} if on_disconnect else {}
    body, accept = _encode({"inputs": PROMPT, **leaving}, stream=stream)
    return post(port, f"{CONVERSATIONS}/{conversation_id}", body, accept=accept)


def cancel(port: int, conversation_id: str) -> bytes:
    """Return a request that ends whatever runs in a conversation."""
    return post(port, f"{CONVERSATIONS}/{conversation_id}/cancel", b"")


def chat(port: int, script: Script, *, turn: int = 1, stream: bool = False) -> bytes:
    """Return what the upstream has to be asked for the given turn of a conversation, all earlier turns included."""
    asked = {"role": "user", "content": PROMPT}
    earlier = [asked, {"role": "assistant", "content": text(script)}] * (turn - 1)
    options = {"stream_options": {"include_usage": True}} if stream else {}
    body, accept = _encode({"model": script.model, "messages": [*earlier, asked], **options}, stream=stream)
    return post(port, CHAT, body, accept=accept)


def plain(script: Script) -> Check:
    """Return a check for a plain answer, from whomever."""
    return partial(_expect_tokens, script.tokens)


def streamed(script: Script) -> Check:
    """Return a check for a complete stream, from whomever."""
    return partial(_expect_stream, script.tokens)


def turn_of(answer: Answer) -> Turn:
    """Read a conversation response."""
    return msgspec.json.decode(answer.body, type=Turn)


def usage_of(answer: Answer) -> Usage:
    """Read the usage of a chat completion."""
    return msgspec.json.decode(answer.body, type=Completion).usage


def expect_history(answer: Answer, entries: int) -> None:
    """Refuse a history of any other length.

    Raises:
        LoadError: something was not stored, or twice.
    """
    expect_ok(answer)
    found = len(msgspec.json.decode(answer.body, type=History).entries)
    if found != entries:
        raise LoadError(f"the history has {found} entries in place of {entries}")


def expect_cut(answer: Answer, *, stream: bool) -> None:
    """Refuse an answer that does not end as one that was cancelled.

    Raises:
        LoadError: it failed, or it was complete.
    """
    expect_ok(answer)
    end = answer.body.partition(CANCELLED)[2]  # nothing, where no such event came
    if (DONE not in end) if stream else (b'"outputs":[]' not in answer.body):
        raise LoadError(f"this does not end as a cancelled run: {answer.body[-300:].decode(errors='replace')}")


def expect_states(answer: Answer, states: list[str]) -> None:
    """Refuse a list of runs with any other states, newest first.

    Raises:
        LoadError: a run was not ended, or ended otherwise.
    """
    expect_ok(answer)
    found = [run.state for run in msgspec.json.decode(answer.body, type=Runs).data]
    if found != states:
        raise LoadError(f"runs are {found} in place of {states}")


def _expect_tokens(tokens: int, answer: Answer) -> None:
    expect_ok(answer)
    found = answer.body.count(TOKEN_MARK)
    if found != tokens:
        raise LoadError(f"{found} tokens came in place of {tokens}: {answer.body[-300:].decode(errors='replace')}")


def _expect_stream(tokens: int, answer: Answer) -> None:
    _expect_tokens(tokens, answer)
    if not answer.body.endswith(b"data: [DONE]\n\n") and DONE not in answer.body[-600:]:
        raise LoadError(f"the stream did not end as it should: {answer.body[-300:].decode(errors='replace')}")
