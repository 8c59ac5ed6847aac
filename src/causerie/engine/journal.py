"""What a run writes, and when it may: the store's side of one run, or none at all with ``store=false``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from causerie.errors import CauserieError
from causerie.stores.base import EntryRow, RunEnd, RunKey, RunStart, Store


class Journal(Protocol):
    """Where a run keeps what it makes."""

    async def begin(self) -> None:
        """Make the run and its inputs durable; raises `Conflict` or `NotFound` where it may not begin."""
        ...

    async def write(self, rows: Sequence[EntryRow]) -> None:
        """Keep completed entries, beyond the head."""
        ...

    async def commit(self, rows: Sequence[EntryRow], head: int, end: RunEnd) -> None:
        """Keep the last entries and move the head: from here on the run counts."""
        ...

    async def fail(self, end: RunEnd) -> None:
        """Take everything back."""
        ...


class StoredJournal:
    """Keeps a run in the store."""

    def __init__(self, store: Store, start: RunStart) -> None:
        """Submit the beginning at once, so that the upstream can be asked beside it (D4)."""
        self._store, self._start = store, start
        self._key: RunKey | None = None
        self._begun = store.begin(start)

    async def begin(self) -> None:
        """See `Journal.begin`."""
        self._key = await self._begun

    async def write(self, rows: Sequence[EntryRow]) -> None:
        """See `Journal.write`."""
        if self._key is not None:
            await self._store.journal(self._key, rows)

    async def commit(self, rows: Sequence[EntryRow], head: int, end: RunEnd) -> None:
        """See `Journal.commit`."""
        if self._key is not None:
            await self._store.commit(self._key, rows, start=self._start.head, head=head, end=end)

    async def fail(self, end: RunEnd) -> None:
        """See `Journal.fail`."""
        if self._key is None:
            # Given up while the beginning was under way: it may have become durable all the same.
            try:
                self._key = await self._begun
            except CauserieError:
                return
        await self._store.fail(self._key, end)


class NoJournal:
    """Keeps nothing: no lease, no rows, no trace (``store=false``)."""

    async def begin(self) -> None:
        """Nothing to begin."""

    async def write(self, rows: Sequence[EntryRow]) -> None:
        """Nothing to keep."""

    async def commit(self, rows: Sequence[EntryRow], head: int, end: RunEnd) -> None:
        """Nothing to move."""

    async def fail(self, end: RunEnd) -> None:
        """Nothing to take back."""
