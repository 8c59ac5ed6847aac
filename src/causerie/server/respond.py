"""Answers as they leave: JSON from bytes that were encoded once, or the events of a run as they come.

A stream is only a reader of the run's log: when its client goes, the run does not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from starlette.types import Receive, Send

from causerie.engine.replay import Answerable, Events
from causerie.engine.runlog import Numbered
from causerie.sse import KEEP_ALIVE
from causerie.types.base import encode

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


class Stream:
    """The events of a run, as server-sent events (PROTOCOL §8.1)."""

    status = 200

    def __init__(self, events: Events, *, keep_alive: float, gone: Callable[[], None] | None = None) -> None:
        """Send `events`; after `keep_alive` seconds of silence a comment. `gone` is told if the client leaves first."""
        self._events, self._keep_alive, self._gone = events, keep_alive, gone

    async def send(self, receive: Receive, send: Send) -> None:
        """Send events until the run ends or the client is gone. What one read of the upstream brought is one write."""
        await send({"type": "http.response.start", "status": 200, "headers": _STREAM})
        watch = asyncio.ensure_future(_disconnected(receive))
        watch.add_done_callback(lambda _: self._events.leave())
        try:
            while not self._events.ended:
                batch = await self._events.batch(self._keep_alive)
                await send({"type": "http.response.body", "body": frames(batch) or KEEP_ALIVE, "more_body": True})
            if watch.done() and self._gone is not None:
                self._gone()
        finally:
            watch.cancel()
        await send({"type": "http.response.body", "body": b""})


class Whole:
    """The outcome of a run, once there is one."""

    status = 200

    def __init__(self, run: Answerable, *, gone: Callable[[], None] | None = None) -> None:
        """Wait for `run`; `gone` is told if the client leaves first."""
        self._run, self._gone = run, gone

    async def send(self, receive: Receive, send: Send) -> None:
        """Send the answer when it is there.

        Raises:
            CauserieError: the run failed.
        """
        body = asyncio.ensure_future(self._run.body())
        if self._gone is not None:
            watch = asyncio.ensure_future(_disconnected(receive))
            await asyncio.wait([body, watch], return_when=asyncio.FIRST_COMPLETED)
            if not body.done():
                self._gone()
            watch.cancel()
        await Json(await body).send(receive, send)


def frames(events: list[Numbered]) -> bytes:
    """Encode events as they go over the wire; each has the id that a client comes back with."""
    return b"".join(
        [b"%bid: %b\ndata: %b\n\n" % (_head(type(event)), cursor.encode(), encode(event)) for cursor, event in events]
    )


def _head(kind: type) -> bytes:
    head = _FRAME_HEADS.get(kind)
    if head is None:
        head = _FRAME_HEADS[kind] = f"event: {kind.__struct_config__.tag}\n".encode()  # type: ignore[attr-defined]
    return head


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
