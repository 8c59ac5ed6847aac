"""A model server that holds an answer back, and notes when its caller hangs up: what a cancel has to reach.

It lives in the process of the load, so that the moment at which a cancel is sent and the moment at which the connection
closes are read from one clock by one event loop. Everything that is not held is answered as `upstream` does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import msgspec
from upstream import STREAM_HEAD, ChatRequest, Script, Session, stream_writes
from wire import HOST

State = Literal["headers", "first", "stream", "whole"]
HELD = Script(tokens=8)  # what a model of this name says when it is not held
ENDLESS = Script(tokens=3000, pace=100)  # what it streams when it is held in mid-stream: half a minute


class Held:
    """One answer that is held back: when its request was there, and when the connection closed."""

    def __init__(self) -> None:
        """Wait for both."""
        loop = asyncio.get_running_loop()
        self.reached: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[float] = loop.create_future()


class HeldUpstream:
    """A model server on a port of its own; `hold` says what becomes of the next request to the model `HELD`."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.port = 0
        self._next: tuple[State, Held] | None = None

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncGenerator[HeldUpstream]:
        """Serve for as long as the block lasts."""
        loop, upstream = asyncio.get_running_loop(), cls()
        server = await loop.create_server(lambda: _HeldSession(loop, upstream), HOST, 0)
        upstream.port = server.sockets[0].getsockname()[1]
        try:
            yield upstream
        finally:
            server.close()

    def hold(self, state: State) -> Held:
        """Hold the next answer back in `state`."""
        held = Held()
        self._next = state, held
        return held

    def taken(self) -> tuple[State, Held] | None:
        """Return what `hold` asked for, once."""
        taken, self._next = self._next, None
        return taken


class _HeldSession(Session):
    """One connection of a caller."""

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: HeldUpstream) -> None:
        super().__init__(loop)
        self._upstream = upstream
        self._held: Held | None = None

    def eof_received(self) -> None:
        """Note that the caller hung up (asyncio calls this)."""
        self._note_gone()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note it where the connection was reset (asyncio calls this)."""
        self._note_gone()
        super().connection_lost(exc)

    def _note_gone(self) -> None:
        if self._held is not None and not self._held.gone.done():
            self._held.gone.set_result(time.perf_counter())

    def _complete(self, request: ChatRequest, prompt: int) -> None:
        taken = self._upstream.taken() if request.model == HELD.model else None
        if taken is None:
            super()._complete(request, prompt)
            return
        state, self._held = taken
        if state == "first":
            self._transport.write(STREAM_HEAD + stream_writes(HELD)[0])
        elif state == "stream":
            super()._complete(msgspec.structs.replace(request, model=ENDLESS.model), prompt)
        self._held.reached.set_result(None)
