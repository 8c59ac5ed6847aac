"""Answers as they leave: JSON from bytes that were encoded once, or the events of a run as they come.

A stream is only a reader of the run's log: when its client goes, the run does not.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from starlette.types import Receive, Send

from causerie.engine.run import Outcome, Run
from causerie.sse import KEEP_ALIVE
from causerie.types.base import encode
from causerie.types.events import Event

Header = tuple[bytes, bytes]
_JSON: Header = (b"content-type", b"application/json")
_STREAM: list[Header] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_FRAME_HEADS: dict[type, bytes] = {}


class Answer(Protocol):
    """Something that can be sent."""

    status: int

    async def send(self, receive: Receive, send: Send) -> None:
        """Send it whole."""
        ...


class Json:
    """A JSON answer, or an empty one."""

    def __init__(self, body: bytes = b"", *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        """Take the encoded body."""
        self.status = status
        self._body = body
        self._headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]

    async def send(self, receive: Receive, send: Send) -> None:  # noqa: ARG002  # an `Answer`; this one does not read
        """Send head and body."""
        headers = [*self._headers]
        if self.status != 204:  # which has no body to describe
            headers += [_JSON, (b"content-length", str(len(self._body)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self._body})


class Events:
    """The events of a run, as server-sent events (PROTOCOL §8.1)."""

    status = 200

    def __init__(self, run: Run, *, keep_alive: float) -> None:
        """Read `run` from its first event; after `keep_alive` seconds of silence a comment is sent."""
        self._run = run
        self._keep_alive = keep_alive

    async def send(self, receive: Receive, send: Send) -> None:
        """Send events until the run ends or the client is gone. What one read of the upstream brought is one write."""
        await send({"type": "http.response.start", "status": 200, "headers": _STREAM})
        reader = self._run.log.reader()
        gone = asyncio.ensure_future(_disconnected(receive))
        gone.add_done_callback(lambda _: reader.leave())
        try:
            while not reader.ended:
                batch = await reader.batch(self._keep_alive)
                await send({"type": "http.response.body", "body": frames(batch) or KEEP_ALIVE, "more_body": True})
        finally:
            gone.cancel()
        await send({"type": "http.response.body", "body": b""})


async def respond(run: Run, *, stream: bool, keep_alive: float) -> Answer:
    """Answer with the run's events, or wait for its end and answer with what it came to.

    Raises:
        CauserieError: the run failed, and the answer is not a stream.
    """
    if stream:
        return Events(run, keep_alive=keep_alive)
    outcome = await asyncio.shield(run.outcome)
    if not isinstance(outcome, Outcome):
        raise outcome
    return Json(response_body(outcome))


def response_body(outcome: Outcome) -> bytes:
    """Join a `ConversationResponse` from entries that are encoded already."""
    return b'{"object":"conversation.response","conversation_id":%b,"outputs":[%b],"usage":%b,"guardrails":null}' % (
        encode(outcome.conversation_id), b",".join(outcome.outputs), encode(outcome.usage),
    )  # fmt: skip


def frames(events: list[Event]) -> bytes:
    """Encode events as they go over the wire."""
    return b"".join([b"%b%b\n\n" % (_head(type(event)), encode(event)) for event in events])


def entries_body(kind: str, conversation_id: str, field: str, bodies: Any) -> bytes:
    """Join a history or its messages from entries as they are stored."""
    return b'{"object":"%b","conversation_id":%b,"%b":[%b]}' % (
        kind.encode(), encode(conversation_id), field.encode(), b",".join(bodies),
    )  # fmt: skip


def _head(kind: type) -> bytes:
    head = _FRAME_HEADS.get(kind)
    if head is None:
        head = _FRAME_HEADS[kind] = f"event: {kind.__struct_config__.tag}\ndata: ".encode()  # type: ignore[attr-defined]
    return head


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
