"""The conversations that ran last, kept so that a next turn reads nothing, and the runs that are under way or were.

Right because one process owns the store: every change of a conversation goes through here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from causerie.errors import Conflict
from causerie.ids import Clock
from causerie.stores.base import ConversationRow

from .conversation import ConversationSettings
from .history import History
from .run import Run


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as a run needs it."""

    row: ConversationRow
    settings: ConversationSettings
    history: History


class Recent:
    """Conversations as of their last commit, up to a size."""

    def __init__(self, most_bytes: int) -> None:
        """Keep up to `most_bytes` of prompts."""
        self._most, self._size = most_bytes, 0
        self._kept: OrderedDict[tuple[str, str], Loaded] = OrderedDict()

    def get(self, workspace: str, conversation_id: str) -> Loaded | None:
        """Return what is kept, as of the last commit."""
        found = self._kept.get((workspace, conversation_id))
        if found is not None:
            self._kept.move_to_end((workspace, conversation_id))
        return found

    def keep(self, loaded: Loaded) -> None:
        """Keep a conversation in the place of what was kept of it before."""
        self.forget(loaded.row.workspace, loaded.row.id)
        row = msgspec.structs.replace(loaded.row, head=loaded.history.head, run_id=None)
        self._kept[row.workspace, row.id] = msgspec.structs.replace(loaded, row=row)
        self._size += _weight(loaded)
        while self._size > self._most:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _weight(dropped)

    def forget(self, workspace: str, conversation_id: str) -> None:
        """Drop a conversation."""
        if dropped := self._kept.pop((workspace, conversation_id), None):
            self._size -= _weight(dropped)


class Kept(NamedTuple):
    """How long a run that ended is kept, and what it weighs."""

    until: float
    weight: int


class Runs:
    """Runs by conversation while they are under way, by id for a while longer."""

    def __init__(self, clock: Clock, *, seconds: float, most_events: int = 50_000) -> None:
        """Keep ended runs for `seconds`, the newest with up to `most_events` events; older ones the store can tell."""
        self._clock, self._seconds, self._most = clock, seconds, most_events
        self._weight = 0
        self._running: dict[tuple[str, str], Run] = {}
        self._known: dict[str, Run] = {}
        self._ended: OrderedDict[str, Kept] = OrderedDict()
        self._repeats: dict[tuple[str, str, str], Run] = {}

    def __iter__(self) -> Iterator[Run]:
        """Go through the runs that are under way."""
        return iter(list(self._running.values()))

    def of(self, workspace: str, conversation_id: str) -> Run | None:
        """Return the run that is under way in a conversation."""
        return self._running.get((workspace, conversation_id))

    def find(self, workspace: str, conversation_id: str, run_id: str) -> Run | None:
        """Return a run that is under way, or has ended not long ago."""
        run = self._known.get(run_id)
        same = run is not None and (run.plan.workspace, run.conversation_id) == (workspace, conversation_id)
        return run if same else None

    def repeated(self, workspace: str, scope: str, key: str) -> Run | None:
        """Return the run under way that an idempotency key stands for."""
        return self._repeats.get((workspace, scope, key))

    def check_free(self, workspace: str, conversation_id: str) -> None:
        """See that nothing runs in a conversation.

        Raises:
            Conflict: something does; the message names it (D3).
        """
        if run := self._running.get((workspace, conversation_id)):
            raise Conflict(
                f"Conversation is already being processed by run {run.id}. Wait for it to end, follow it at "
                f"/v1/conversations/{conversation_id}/runs/{run.id}/events, or cancel it."
            )

    def add(self, run: Run, *, stored: bool = True) -> None:
        """Take in a run that begins; one that is not stored is in nobody's way."""
        self._running[run.plan.workspace, run.conversation_id if stored else run.id] = run
        self._known[run.id] = run
        if repeat := run.plan.repeat:
            self._repeats[run.plan.workspace, repeat.scope, repeat.key] = run

    def end(self, run: Run, *, stored: bool = True) -> None:
        """Note that a run is over; forget those that ended long ago. One that is not stored leaves no trace."""
        self._running.pop((run.plan.workspace, run.conversation_id if stored else run.id), None)
        if repeat := run.plan.repeat:
            self._repeats.pop((run.plan.workspace, repeat.scope, repeat.key), None)
        if not stored or not run.has_begun:
            self._known.pop(run.id, None)  # leaves no trace, or never was
            return
        now = self._clock.monotonic()
        self._ended[run.id] = Kept(now + self._seconds, run.weight)
        self._weight += run.weight
        while self._ended and (self._weight > self._most or next(iter(self._ended.values())).until < now):
            self._drop(next(iter(self._ended)))

    def forget(self, workspace: str, conversation_id: str) -> None:
        """Forget the ended runs of a conversation that was deleted."""
        for run in list(self._known.values()):
            if (run.plan.workspace, run.conversation_id) == (workspace, conversation_id) and run.id in self._ended:
                self._drop(run.id)

    def _drop(self, run_id: str) -> None:
        self._weight -= self._ended.pop(run_id).weight
        self._known.pop(run_id, None)


def _weight(loaded: Loaded) -> int:
    return loaded.history.size + len(loaded.row.settings) + 2048
