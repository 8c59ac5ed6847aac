"""What a scripted model can be told to answer: steps of a reply, gates that hold it, and failures.

Plain values without I/O; `scripted.py` turns them into HTTP. The same reply is played as server-sent events or as
one JSON answer, whichever the request asks for.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self

PATIENCE = 10.0
"""Seconds after which every wait in the harness gives up and says so."""


class Gate:
    """Holds a reply at one point until the test opens it; `wait_reached` says that the reply has come there.

    Use it as a context manager, so that a failing test does not leave the server hanging.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Belong to the loop that the scripted server runs on."""
        self._loop = loop
        self._opened = asyncio.Event()
        self._reached = threading.Event()

    def open(self) -> None:
        """Let the reply go on."""
        self._loop.call_soon_threadsafe(self._opened.set)

    def wait_reached(self) -> None:
        """Return when the reply waits here (or has passed)."""
        assert self._reached.wait(PATIENCE), "the scripted reply did not reach its gate"

    async def hold(self) -> None:
        """Wait, on the server's side, until the test opens the gate."""
        self._reached.set()
        async with asyncio.timeout(PATIENCE):
            await self._opened.wait()

    def __enter__(self) -> Self:
        """Return the gate, closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Open it, whatever happened."""
        self.open()


@dataclass(frozen=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Reasoning:
    """A piece of thinking, in the field that the dialect puts it."""

    text: str
    field: str = "reasoning_content"


@dataclass(frozen=True)
class Content:
    """Content in any JSON shape, such as Mistral's list of chunks."""

    value: Any


@dataclass(frozen=True)
class CallPiece:
    """A piece of a tool call as it is streamed; pieces of parallel calls may interleave."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True)
class Bytes:
    """Bytes written into the stream as they are: for answers that are none."""

    data: bytes


@dataclass(frozen=True)
class Hangup:
    """The model server drops the connection here."""


Step = Text | Reasoning | Content | CallPiece | Bytes | Hangup | Gate


def call(name: str, arguments: Any, *, call_id: str, index: int = 0, pieces: int = 2) -> list[Step]:
    """Return the steps of one tool call: its name first, then its arguments in so many pieces.

    `arguments` is text that is sent as it is, or anything else that is written as JSON.
    """
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    size = max(1, -(-len(text) // pieces))
    cut = [text[start : start + size] for start in range(0, len(text), size)]
    return [CallPiece(index, call_id, name), *(CallPiece(index, arguments=piece) for piece in cut)]


@dataclass(frozen=True)
class Reply:
    """A good answer (or one that breaks off, with `Bytes` and `Hangup`).

    Attributes:
        steps: what comes, in order. A gate among them holds the stream there.
        usage: prompt and completion tokens, or None for a server that does not count.
        finish: why the model stopped; None picks ``tool_calls`` or ``stop``.
        before: a gate that holds the answer back before its status line.
    """

    steps: tuple[Step, ...]
    usage: tuple[int, int] | None = (16, 3)
    finish: str | None = None
    before: Gate | None = None

    @property
    def finish_reason(self) -> str:
        """Why the model stopped."""
        called = any(isinstance(step, CallPiece) for step in self.steps)
        return self.finish or ("tool_calls" if called else "stop")

    @property
    def gates(self) -> Iterator[Gate]:
        """All gates of this reply."""
        if self.before is not None:
            yield self.before
        yield from (step for step in self.steps if isinstance(step, Gate))


@dataclass(frozen=True)
class Failure:
    """An HTTP error of the model server."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    before: Gate | None = None

    @property
    def gates(self) -> Iterator[Gate]:
        """All gates of this reply."""
        if self.before is not None:
            yield self.before


def message_of(reply: Reply) -> dict[str, Any]:
    """Return the chat message that the steps of `reply` add up to, as a plain answer has it."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    for step in reply.steps:
        if isinstance(step, Text):
            message["content"] = (message["content"] or "") + step.text
        elif isinstance(step, Content):
            message["content"] = step.value
        elif isinstance(step, Reasoning):
            message[step.field] = message.get(step.field, "") + step.text
        elif isinstance(step, CallPiece):
            made = calls.setdefault(
                step.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}}
            )
            made["id"] += step.id or ""
            made["function"]["name"] += step.name or ""
            made["function"]["arguments"] += step.arguments
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    return message


def delta_of(step: Step) -> dict[str, Any] | None:
    """Return the `delta` of a streamed chunk for `step`, or None where it is not a piece of a message."""
    if isinstance(step, Text):
        return {"content": step.text}
    if isinstance(step, Content):
        return {"content": step.value}
    if isinstance(step, Reasoning):
        return {step.field: step.text}
    if isinstance(step, CallPiece):
        function: dict[str, Any] = {"arguments": step.arguments}
        if step.name is not None:
            function["name"] = step.name
        piece: dict[str, Any] = {"index": step.index, "function": function}
        if step.id is not None:
            piece |= {"id": step.id, "type": "function"}
        return {"tool_calls": [piece]}
    return None
