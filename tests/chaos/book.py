"""What is noted while chaos reigns: what happened how often, and everything that must not have happened."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict

LAWS = {
    "lost": "acknowledged entries lost or changed",
    "invalid": "invalid histories or prompts",
    "doubled": "doubled or false runs",
    "events": "missing or repeated events",
    "effects": "double side effects",
    "busy": "conversations that stayed busy",
    "stuck": "operations that never came to an end",
    "refused": "answers that nobody can explain",
    "faults": "faults inside the server",
}
"""What is watched over, and how the report calls a breach."""

PHASES = {
    "sent": "sent, the model not asked yet",
    "asked": "the model asked, nothing said yet",
    "answering": "in the middle of an answer",
    "called": "tools running, or a turn being written down",
    "answered": "the last answer said, the run being committed",
    "resuming": "a client coming back to its run",
}
"""Where an operation can be when a blow strikes."""

_SHOWN = 40
_ECHO = 1.5


class Book:
    """The notes of one run of the harness."""

    def __init__(self) -> None:
        """Begin with blank pages."""
        self.counts: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()
        self.breaches: Counter[str] = Counter()
        self.details: defaultdict[str, list[str]] = defaultdict(list)
        self._phases: dict[str, str] = {}
        self._watches: list[tuple[str, asyncio.Future[None]]] = []
        self._unsettled = [(0.0, 0.0)]  # when two owners were alive, each with something to say
        self.shown: dict[str, float] = {}  # when the model was first told what a call came to

    def count(self, what: str, times: int = 1) -> None:
        """Note that something happened."""
        self.counts[what] += times

    def blame(self, law: str, detail: str) -> None:
        """Note a breach of one of `LAWS`."""
        if law not in LAWS:
            raise KeyError(law)
        self.breaches[law] += 1
        if len(self.details[law]) < _SHOWN:
            self.details[law].append(detail)

    def began(self, tag: str) -> None:
        """An operation begins."""
        self._phases[tag] = "sent"

    def moved(self, tag: str, phase: str) -> None:
        """Note where an operation has come to; wake who waits for such a moment."""
        if tag not in self._phases:
            return  # it is over, and somebody asks for its answer again
        self._phases[tag] = phase
        waiting = [waiter for wanted, waiter in self._watches if wanted == phase and not waiter.done()]
        if waiting:
            waiting[0].set_result(None)

    def ended(self, tag: str) -> None:
        """An operation is over."""
        self._phases.pop(tag, None)

    def strike(self) -> None:
        """A blow strikes now: note what it interrupts."""
        phases = Counter(self._phases.values())
        self.struck.update(phases)
        self.count("blows with something under way" if phases else "blows on an idle server")

    async def moment(self, phase: str, patience: float) -> None:
        """Wait for the next operation that comes to `phase`, for up to `patience` seconds."""
        waiter = asyncio.get_running_loop().create_future()
        watch = (phase, waiter)
        self._watches.append(watch)
        try:
            await asyncio.wait([waiter], timeout=patience)
        finally:
            waiter.cancel()
            self._watches.remove(watch)

    @property
    def is_unsettled(self) -> bool:
        """Whether an owner that was taken over may still be heard."""
        return time.monotonic() < self._unsettled[-1][1]

    def unsettle(self, seconds: float) -> None:
        """For so long, unless it is calm before, conflicts and refusals that name another owner are nobody's fault."""
        now = time.monotonic()
        self._unsettled.append((now, now + seconds))

    def calm(self) -> None:
        """There is one owner again; what the other one said may still be on its way."""
        since, _ = self._unsettled[-1]
        self._unsettled[-1] = (since, time.monotonic() + _ECHO)

    def was_unsettled(self, moment: float) -> bool:
        """Whether two owners were alive at a moment of the monotonic clock."""
        return any(since <= moment <= until for since, until in self._unsettled)
