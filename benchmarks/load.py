"""Closed-loop clients: each sends its next request when the last one is answered.

What is counted is what happened inside a window, after all clients are under way and before the first one stops, so
neither the start nor the end of a phase is in a figure.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import NamedTuple

from wire import Answer, Connection, WireError

Check = Callable[[Answer], None]
MARGIN = 20.0  # seconds that a phase may last beyond its window before it is given up


class LoadError(Exception):
    """An answer was not what it had to be: a figure of wrong answers is no figure."""


def median(values: Sequence[float]) -> float:
    """Return the middle of `values`."""
    return statistics.median(values)


def p99(values: Sequence[float]) -> float:
    """Return the value that one in a hundred exceeds."""
    return sorted(values)[min(len(values) - 1, len(values) * 99 // 100)]


def expect_ok(answer: Answer) -> None:
    """Refuse every status but 200.

    Raises:
        LoadError: it was another one.
    """
    if answer.status != HTTPStatus.OK:
        raise LoadError(f"status {answer.status}: {answer.body[:300].decode(errors='replace')}")


async def ask(connection: Connection, payload: bytes, *marks: bytes, check: Check = expect_ok) -> Answer:
    """Send one request and check its answer."""
    answer = await connection.request(payload, marks)
    check(answer)
    return answer


class Window(NamedTuple):
    """What happened in one window: `counted` is what the load was asked to count in the bodies, if anything."""

    seconds: float
    answers: int
    counted: int
    cpu: tuple[float, ...]
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.answers / self.seconds


class Load:
    """Clients that repeat one request, and what they have seen so far."""

    def __init__(self, port: int, payload: bytes, *, check: Check = expect_ok, count: bytes = b"") -> None:
        """Repeat `payload`; `check` sees every answer; occurrences of `count` in the bodies are counted."""
        self._port = port
        self._payload = payload
        self._check = check
        self._count = count
        self.done: list[Answer] = []
        self._counted = 0
        self._stopping = False
        self._connections: list[Connection] = []

    async def run(self, clients: int, seconds: float, warm: float, cpu: Callable[[], tuple[float, ...]]) -> Window:
        """Let `clients` work for `warm` seconds, then measure for `seconds`; `cpu` is read at both ends.

        Raises:
            LoadError: an answer was wrong, a connection broke, or no answer came for too long.
        """
        try:
            async with asyncio.timeout(warm + seconds + MARGIN):
                return await self._run(clients, seconds, warm, cpu)
        except TimeoutError:
            raise LoadError(f"{clients} clients did not finish in {MARGIN:.0f} s") from None
        finally:
            for connection in self._connections:
                connection.close()

    async def _run(self, clients: int, seconds: float, warm: float, cpu: Callable[[], tuple[float, ...]]) -> Window:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(clients):
                    group.create_task(self._client())
                window = await self._measure(seconds, warm, cpu)
        except* (LoadError, WireError) as failures:
            raise LoadError(str(failures.exceptions[0])) from failures
        return window

    async def _client(self) -> None:
        connection = await Connection.open(self._port)
        self._connections.append(connection)
        while not self._stopping:
            answer = await connection.request(self._payload)
            self._check(answer)
            if self._count:
                self._counted += answer.body.count(self._count)
                answer = answer._replace(body=b"")
            connection.body = bytearray()
            self.done.append(answer)

    async def _measure(self, seconds: float, warm: float, cpu: Callable[[], tuple[float, ...]]) -> Window:
        await asyncio.sleep(warm)
        began, cpu_before, done_before, counted_before = time.perf_counter(), cpu(), len(self.done), self._so_far()
        await asyncio.sleep(seconds)
        counted, done, cpu_after, ended = self._so_far(), len(self.done), cpu(), time.perf_counter()
        self._stopping = True
        spent = tuple(after - before for before, after in zip(cpu_before, cpu_after, strict=True))
        latencies = [answer.seconds for answer in self.done[done_before:done]]
        return Window(ended - began, done - done_before, counted - counted_before, spent, latencies)

    def _so_far(self) -> int:
        if not self._count:
            return 0
        return self._counted + sum(connection.body.count(self._count) for connection in self._connections)
