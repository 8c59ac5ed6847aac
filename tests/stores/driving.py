"""Where the stores under test live, and how plain functions drive them: each call bounded, on one loop.

A new store joins the suite with a `Place` of its own, in `PLACES` (and in `DURABLE` where it outlives its process).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from causerie.stores.base import ConversationRow, EntryRow, Range, RunEnd, RunKey, RunStart, Store
from causerie.stores.sqlite import SQLiteStore

from .rows import END, HERE, PROGRESS, began, entries, next_run

PATIENCE = 20.0
"""Seconds after which a wait gives up and says so."""
ROOT = Path(__file__).parents[2]
EVERYTHING = 1_000
_NUMBERS = itertools.count()


class Place(Protocol):
    """Where a store lives."""

    def store(self) -> Store:
        """Return a store here, not yet open; where the place lasts, the next one finds what this one wrote."""
        ...

    def crash(self, story: str) -> None:
        """Have another process tell one of the stories of `crashing.py` here, and die of it without warning."""
        ...


class File:
    """A SQLite file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "chats.db"

    def store(self) -> SQLiteStore:
        return SQLiteStore(self.path)

    def crash(self, story: str) -> None:
        child = subprocess.run(
            [sys.executable, "-m", "tests.stores.crashing", str(self.path), story],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert child.returncode == -signal.SIGKILL, child.stderr


class Memory:
    """A SQLite database in memory."""

    def __init__(self, folder: Path) -> None:
        """Need no folder."""

    def store(self) -> SQLiteStore:
        return SQLiteStore(":memory:")

    def crash(self, story: str) -> None:
        raise AssertionError("what is in memory does not outlive a crash")


PLACES = (File, Memory)
DURABLE = (File,)


class Driver:
    """A store and a loop to run it on: every method of the store as a plain, bounded call."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        self.store = store
        self.runner = runner

    def do(self, work: Callable[[], Awaitable[Any]]) -> Any:
        """Await what `work` returns; it is called on the loop."""

        async def bounded() -> Any:
            async with asyncio.timeout(PATIENCE):
                return await work()

        return self.runner.run(bounded())

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *args, **kwargs: self.do(lambda: getattr(self.store, name)(*args, **kwargs))

    def open(self) -> None:
        """Open the store for an owner that it never had."""
        self.do(lambda: self.store.open(f"own_{next(_NUMBERS)}"))

    def journal(self, key: RunKey, written: Sequence[EntryRow], progress: RunEnd = PROGRESS) -> None:
        """Write entries beyond the head."""
        self.do(lambda: self.store.journal(key, written, progress))

    def together(self, *jobs: Callable[[Store], Awaitable[Any]]) -> list[Any]:
        """Submit all of `jobs` before waiting for any; return what each came to, refusals included."""

        async def all_of_them() -> list[Any]:
            submitted = [asyncio.ensure_future(job(self.store)) for job in jobs]
            return await asyncio.gather(*submitted, return_exceptions=True)

        found: list[Any] = self.do(all_of_them)
        return found

    def wrote(self, start: RunStart, *, end: RunEnd = END) -> ConversationRow:
        """Carry a run to its end; return the conversation as it is then."""
        key = self.begin(start)
        self.commit(key, [], start=start.head, head=start.head + len(start.entries), end=end)
        found: ConversationRow = self.load(start.conversation.workspace, start.conversation.id)
        return found

    def made(self, id_: str = "conv_a", count: int = 2, **fields: Any) -> ConversationRow:
        """Make a conversation of `count` entries."""
        row = ConversationRow(
            **({"workspace": HERE, "id": id_, "created_at": END.ended_at, "updated_at": END.ended_at,
                "settings": b"{}"} | fields)
        )  # fmt: skip
        return self.wrote(began(row, entries(0, count, id_), run=f"run_{id_}"))

    def grown(self, row: ConversationRow, count: int = 1, run: str = "run_more") -> ConversationRow:
        """Append `count` entries to a conversation."""
        return self.wrote(next_run(row, entries(row.head, row.head + count, row.id), run=run))

    def read(self, row: ConversationRow) -> list[str]:
        """Return the ids of what a conversation reads."""
        return [found.id for found in self.entries(row.workspace, row.ranges())]

    def kept(self, owner: str, workspace: str = HERE) -> list[str]:
        """Return the ids of all entries that `owner` still owns, committed or not."""
        return [found.id for found in self.entries(workspace, [Range(owner, 0, EVERYTHING)])]

    def refusal(self, kind: type[Exception], call: Callable[[], Any]) -> str:
        """See that `call` is refused with exactly `kind`; return the message."""
        with pytest.raises(kind) as refusal:
            call()
        return str(refusal.value)


def lost(driver: Driver, key: RunKey, *, start: int, kind: type[Exception]) -> Sequence[str]:
    """See that a run may write no more, and return what it was told."""
    late = entries(start, start + 1, "late")
    return [
        driver.refusal(kind, lambda: driver.journal(key, late)),
        driver.refusal(kind, lambda: driver.commit(key, late, start=start, head=start + 1, end=END)),
    ]
