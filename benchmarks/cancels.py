"""How long a run that is ended keeps its model busy, and its conversation occupied.

A run is ended by `POST …/cancel`, or by hanging up on one that was asked to end then, in each state that the model can
be in. What counts is when the model's connection closed, and when the next turn was accepted.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, closing
from http import HTTPStatus
from time import perf_counter
from typing import NamedTuple

import asks
from asks import DELTA, FIRST_TOKEN, STARTED
from bench import Bench, Numbers
from held import HELD, Held, HeldUpstream, State
from load import Load, LoadError, ask, median, p99
from processes import Server
from upstream import Script
from wire import Answer, Connection, get

STATES: dict[State, str] = {
    "headers": "before headers",
    "first": "before the first token",
    "stream": "in mid-stream",
    "whole": "not streamed",
}
WAYS = {"cancel": "cancel", "leave": "hang up"}
BESIDE = 16
LIMIT = 10.0  # seconds after which something that has to happen counts as not happening
SETTLED = 0.003  # seconds in which what is on its way inside the server arrives
RUNS = ["done", "cancelled", "done"]  # of a conversation when it was measured, newest first


class Ended(NamedTuple):
    """Seconds from ending a run: to the closing of the model's connection, to the first event of the next turn."""

    seen: float
    free: float


class _Asked(NamedTuple):
    """A request whose answer is held back."""

    connection: Connection
    answer: asyncio.Future[Answer]
    held: Held

    def hang_up(self) -> float:
        """Close the connection; return when."""
        self.answer.cancel()
        now = perf_counter()
        self.connection.close()
        return now


@asynccontextmanager
async def _held_back(upstream: HeldUpstream, port: int, request: bytes, state: State) -> AsyncGenerator[_Asked]:
    """Send a request and wait until everybody between is in `state`; `port` is the server's, or the upstream's own."""
    shown = {"first": STARTED, "headers": STARTED, "stream": DELTA, "whole": b""}[state]
    if port == upstream.port:
        shown = FIRST_TOKEN if state == "stream" else b""
    with closing(await Connection.open(port)) as connection:
        held = upstream.hold(state)
        answer = connection.request(request)
        try:
            await held.reached
            await _until(lambda: answer.done() or shown in connection.body)
            await asyncio.sleep(SETTLED)
            if answer.done():
                raise LoadError(f"an answer came that was held back: {answer.result().body[-300:]!r}")
            yield _Asked(connection, answer, held)
        finally:
            answer.cancel()


async def _until(true: Callable[[], bool]) -> None:
    while not true():  # noqa: ASYNC110  # the bytes of an answer set no event, and when exactly does not matter here
        await asyncio.sleep(0.001)


class _Talk:
    """Conversations that are taken to a state and ended in it."""

    def __init__(self, upstream: HeldUpstream, server: Server, side: Connection) -> None:
        """Take who is talked to; `side` is a connection for all that is not ended."""
        self._upstream, self._port, self._side = upstream, server.port, side

    async def end(self, way: str, state: State) -> Ended:
        """End one run; see that it was ended, and that its conversation goes on.

        Raises:
            LoadError: that took too long, or something was not as it has to be.
        """
        try:
            async with asyncio.timeout(LIMIT):
                begun = await ask(self._side, asks.start(self._port, HELD), check=asks.plain(HELD))
                path = asks.turn_of(begun).conversation_id
                ended = await (self._cancel(path, state) if way == "cancel" else self._leave(path, state))
                runs = await self._side.request(get(self._port, f"{asks.CONVERSATIONS}/{path}/runs"))
        except TimeoutError:
            raise LoadError(f"{WAYS[way]}, {STATES[state]}: nothing came of it within {LIMIT:.0f} s") from None
        asks.expect_states(runs, RUNS)
        return ended

    async def _cancel(self, path: str, state: State) -> Ended:
        streamed = state != "whole"
        request = asks.append(self._port, path, stream=streamed)
        async with _held_back(self._upstream, self._port, request, state) as asked:
            cancelled = await ask(self._side, asks.cancel(self._port, path))
            asks.expect_states(cancelled, ["cancelled"])
            gone = await asked.held.gone
            free = await self._next_turn(path, patient=False)
            asks.expect_cut(await asked.answer, stream=streamed)
        return Ended(gone - cancelled.sent, free - cancelled.sent)

    async def _leave(self, path: str, state: State) -> Ended:
        request = asks.append(self._port, path, stream=state != "whole", on_disconnect="cancel")
        async with _held_back(self._upstream, self._port, request, state) as asked:
            left = asked.hang_up()
            gone = await asked.held.gone
            free = await self._next_turn(path, patient=True)
        return Ended(gone - left, free - left)

    async def _next_turn(self, path: str, *, patient: bool) -> float:
        """Return when the first event of the conversation's next turn was there.

        Args:
            patient: ask until the conversation is free. After a cancel was answered it has to be.
        """
        request = asks.append(self._port, path, stream=True)
        while True:
            answer = await self._side.request(request, (STARTED,))
            if answer.status != HTTPStatus.CONFLICT or not patient:
                asks.streamed(HELD)(answer)
                return answer.marks[0] or answer.done


async def _direct(upstream: HeldUpstream, state: State) -> float:
    """Return the seconds after which the upstream sees a caller hang up that asked it directly."""
    request = asks.chat(upstream.port, HELD, stream=state != "whole")
    async with asyncio.timeout(LIMIT), _held_back(upstream, upstream.port, request, state) as asked:
        left = asked.hang_up()
        return await asked.held.gone - left


@asynccontextmanager
async def _beside(server: Server) -> AsyncGenerator[None]:
    """Stream at the pace of a real model for as long as the block lasts."""
    script = Script(tokens=250, pace=250)
    load = Load(server.port, asks.start(server.port, script, stream=True), check=asks.streamed(script))
    running = asyncio.create_task(load.run(BESIDE, 100.0, 0.0, lambda: ()))
    try:
        await asyncio.sleep(0.5)
        yield
        if running.done():
            running.result()
        if not load.done:
            raise LoadError("no stream came to its end meanwhile")
    finally:
        running.cancel()
        await asyncio.wait([running])


async def cancel(bench: Bench) -> Numbers:
    """End runs in every state, in turn, each beside hanging up on the upstream directly; then in mid-stream, busy."""
    times = bench.size(100, 25)
    ended: dict[str, list[Ended]] = defaultdict(list)
    direct: dict[State, list[float]] = defaultdict(list)
    async with HeldUpstream.running() as upstream, bench.server(upstream.port) as server:
        with closing(await Connection.open(server.port)) as side:
            talk = _Talk(upstream, server, side)
            for _ in range(times):
                for state in STATES:
                    direct[state].append(await _direct(upstream, state))
                    for way in WAYS:
                        ended[f"{way}_{state}"].append(await talk.end(way, state))
            async with _beside(server):
                for _ in range(times):
                    for way in WAYS:
                        ended[f"{way}_busy"].append(await talk.end(way, "stream"))
    numbers = {f"direct_{state}": p99(seconds) * 1000 for state, seconds in direct.items()}
    for name, all_of_it in ended.items():
        for what, seconds in zip(Ended._fields, zip(*all_of_it, strict=True), strict=True):
            numbers[f"{name}_{what}_p50"] = median(seconds) * 1000
            numbers[f"{name}_{what}_p99"] = p99(seconds) * 1000
    return numbers
