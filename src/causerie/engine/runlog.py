"""The numbered events of one run: one writer, any number of readers, nobody waits for anybody (D2).

A reader that is slow or leaves changes nothing for the run; one that comes late reads from the start. It knows
nothing of how events are sent.
"""

from __future__ import annotations

import asyncio

from causerie.types.events import LAST_EVENTS, Event


class RunLog:
    """Events in order, number 1 first."""

    def __init__(self) -> None:
        """Begin empty."""
        self.events: list[Event] = []
        self.ended = False
        self._waiting: set[asyncio.Future[None]] = set()

    def append(self, events: list[Event]) -> None:
        """Add events; the one that ends a run ends its log."""
        if not events:
            return  # nobody is woken for nothing
        self.events += events
        if isinstance(events[-1], LAST_EVENTS):
            self.ended = True
        self._wake()

    def end(self) -> None:
        """Say that nothing more comes, also where no last event was written (the run failed before it began)."""
        self.ended = True
        self._wake()

    def reader(self, after: int = 0) -> Reader:
        """Return a reader of what comes after event number `after`."""
        return Reader(self, after)

    def await_more(self, waiter: asyncio.Future[None]) -> None:
        """Have `waiter` released at the next change."""
        self._waiting.add(waiter)

    def forget(self, waiter: asyncio.Future[None]) -> None:
        """Let go of `waiter`."""
        self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            _release(waiter)


class Reader:
    """One reading of a run log."""

    def __init__(self, log: RunLog, after: int) -> None:
        """Start after event number `after`."""
        self._log = log
        self._read = after
        self._left = False
        self._waiter: asyncio.Future[None] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing is left to read: all was read and no more can come, or the reader has left."""
        return self._left or (self._log.ended and self._read >= len(self._log.events))

    async def batch(self, silence: float | None = None) -> list[Event]:
        """Return all events that have come since the last call; wait for some if there are none.

        Args:
            silence: seconds after which an empty list is returned all the same.
        """
        if not self._left and not self._log.ended and len(self._log.events) <= self._read:
            await self._wait(silence)
        events = self._log.events[self._read :]
        self._read += len(events)
        return events

    def leave(self) -> None:
        """Whoever reads is gone: wait no longer."""
        self._left = True
        if self._waiter is not None:
            _release(self._waiter)

    async def _wait(self, silence: float | None) -> None:
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        timer = None if silence is None else loop.call_later(silence, _release, waiter)
        self._log.await_more(waiter)
        try:
            await waiter
        finally:
            self._log.forget(waiter)
            if timer is not None:
                timer.cancel()


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
