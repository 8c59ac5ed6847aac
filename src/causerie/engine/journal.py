"""What a run writes, and when it may: the store's side of one run, or none at all with ``store=false``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from causerie.errors import CauserieError
from causerie.stores.base import EntryRow, Recorded, Reservation, RunEnd, RunKey, RunStart, Store


class Journal(Protocol):
    """Where a run keeps what it makes."""

    async def begin(self) -> int:
        """Make the run and its inputs durable; return its fencing number. Raises `Conflict` or `NotFound`."""
        ...

    async def write(self, rows: Sequence[EntryRow], progress: RunEnd) -> None:
        """Keep completed entries, beyond the head."""
        ...

    async def commit(self, rows: Sequence[EntryRow], head: int, end: RunEnd) -> None:
        """Keep the last entries and move the head: from here on the run counts."""
        ...

    async def fail(self, end: RunEnd) -> bool:
        """Take everything back; False if the run is another owner's by now."""
        ...

    async def reserve(self, call: Reservation) -> Recorded | None:
        """Note that a tool is about to be called; None: call it. Otherwise it was called before (D5)."""
        ...

    async def settle(self, reservation: str, result: bytes) -> None:
        """Note what a reserved call came to."""
        ...


class StoredJournal:
    """Keeps a run in the store."""

    def __init__(self, store: Store, head: int, begun: RunStart | RunKey) -> None:
        """Begin a run, or go on with one that was adopted.

        Args:
            head: what the run started from.
            begun: a new run, whose beginning is submitted at once, so that the upstream can be asked beside it (D4);
                or the right to an adopted one.
        """
        self._store, self._head = store, head
        self._beginning = store.begin(begun) if isinstance(begun, RunStart) else None
        self._key = begun if isinstance(begun, RunKey) else None

    async def begin(self) -> int:
        """See `Journal.begin`."""
        return (await self._right()).fence

    async def write(self, rows: Sequence[EntryRow], progress: RunEnd) -> None:
        """See `Journal.write`."""
        await self._store.journal(await self._right(), rows, progress)

    async def commit(self, rows: Sequence[EntryRow], head: int, end: RunEnd) -> None:
        """See `Journal.commit`."""
        await self._store.commit(await self._right(), rows, start=self._head, head=head, end=end)

    async def fail(self, end: RunEnd) -> bool:
        """See `Journal.fail`."""
        try:
            key = await self._right()
        except CauserieError:
            return True  # it never began
        return await self._store.fail(key, end)

    async def reserve(self, call: Reservation) -> Recorded | None:
        """See `Journal.reserve`."""
        return await self._store.reserve(await self._right(), call)

    async def settle(self, reservation: str, result: bytes) -> None:
        """See `Journal.settle`."""
        await self._store.settle(await self._right(), reservation, result)

    async def _right(self) -> RunKey:
        # A run that is given up while its beginning is under way may have become durable all the same.
        if self._key is None and self._beginning is not None:
            self._key = await asyncio.shield(self._beginning)
        if self._key is None:
            raise AssertionError("a stored run has a beginning or a key")
        return self._key


class NoJournal:
    """Keeps nothing: no lease, no rows, no trace (``store=false``)."""

    async def begin(self) -> int:
        """Nothing to begin."""
        return 0

    async def write(self, rows: Sequence[EntryRow], progress: RunEnd) -> None:
        """Nothing to keep."""

    async def commit(self, rows: Sequence[EntryRow], head: int, end: RunEnd) -> None:
        """Nothing to move."""

    async def fail(self, end: RunEnd) -> bool:  # noqa: ARG002  # as every journal takes it
        """Nothing to take back."""
        return True

    async def reserve(self, call: Reservation) -> Recorded | None:
        """Nothing was ever recorded."""

    async def settle(self, reservation: str, result: bytes) -> None:
        """Nothing to record."""
