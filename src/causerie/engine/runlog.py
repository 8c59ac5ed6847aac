"""The numbered events of one run: one writer, any number of readers, nobody waits for anybody (D2).

A reader that is slow or leaves changes nothing for the run; one that comes late reads from the start. It knows
nothing of how events are sent, but gives each a cursor: the place to go on from after it.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

from causerie.stores.base import BEYOND
from causerie.types.events import LAST_EVENTS, OUTPUT_EVENTS, Event

MOST_AT_ONCE = 1000  # events in one batch: a reader that comes late must not hold everybody up
_DIGITS = re.compile(r"[0-9]{1,19}")


class Cursor(NamedTuple):
    """A place in a run's events, which a client hands back to go on from there.

    It survives the process: whoever adopts the run knows by `loose` what the client holds that was never durable.

    Attributes:
        epoch: the fencing number of the owner whose log it is a place in.
        number: how many of that log's events the client has.
        loose: the entries that it has something of and that were not durable when it got it.
    """

    epoch: int
    number: int
    loose: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Write it as an event id: ``3-17`` or ``3-17.msg_…``."""
        return ".".join([f"{self.epoch}-{self.number}", *self.loose])

    @classmethod
    def parse(cls, text: str) -> Cursor | None:
        """Read it back; None if it is not one of ours."""
        place, *loose = text.split(".")
        epoch, dash, number = place.partition("-")
        if not (dash and _DIGITS.fullmatch(epoch) and _DIGITS.fullmatch(number)):
            return None
        return cls(int(epoch), int(number), tuple(loose))


class Numbered(NamedTuple):
    """An event and the cursor behind it, as text."""

    cursor: str
    event: Event


class RunLog:
    """Events in order, number 1 first."""

    def __init__(self, epoch: int = 0) -> None:
        """Begin empty; `epoch` is the fencing number of the run's owner, known once the run has begun."""
        self.epoch = epoch
        self.events: list[Event] = []
        self.durable = 0  # how many events stand for entries that a crash cannot take back
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

    def settle(self) -> None:
        """Say that the entries of all events so far are durable."""
        self.durable = len(self.events)

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
        self._read = 0
        self._left = False
        self._waiter: asyncio.Future[None] | None = None
        self._entry = ""
        self._begun: dict[str, int] = {}  # the entries that may not be durable yet, and where each begins
        self._tail = ""
        self._numbered(log.events[:after])  # what was read before says what is loose now

    @property
    def ended(self) -> bool:
        """Whether nothing is left to read: all was read and no more can come, or the reader has left."""
        return self._left or (self._log.ended and self._read >= len(self._log.events))

    async def batch(self, silence: float | None = None) -> list[Numbered]:
        """Return all events that have come since the last call; wait for some if there are none.

        Args:
            silence: seconds after which an empty list is returned all the same.
        """
        if not self._left and not self._log.ended and len(self._log.events) <= self._read:
            await self._wait(silence)
        return self._numbered(self._log.events[self._read : self._read + MOST_AT_ONCE])

    def leave(self) -> None:
        """Whoever reads is gone: wait no longer."""
        self._left = True
        if self._waiter is not None:
            _release(self._waiter)

    def _numbered(self, events: list[Event]) -> list[Numbered]:
        found = []
        place = f"{self._log.epoch}-"
        for event in events:
            self._read += 1
            if isinstance(event, LAST_EVENTS):
                # Behind everything, also where the log is gone: who comes back with this has all.
                found.append(Numbered(f"{place}{BEYOND}", event))
                continue
            if not isinstance(event, OUTPUT_EVENTS):
                self._loosen()
            elif event.id != self._entry:
                self._entry = event.id
                self._loosen(event.id)
            found.append(Numbered(f"{place}{self._read}{self._tail}", event))
        return found

    def _loosen(self, *begun: str) -> None:
        self._begun = {one: number for one, number in self._begun.items() if number > self._log.durable}
        self._begun.update(dict.fromkeys(begun, self._read))
        self._tail = "".join(f".{one}" for one in self._begun)

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
