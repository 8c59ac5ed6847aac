"""``causerie``, but careless: ``careless.py OFF|NORMAL|LATE ARGUMENTS``.

`OFF` and `NORMAL` are what SQLite calls them: no commit is synced. `LATE` answers first and commits a moment later.
"""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Sequence

from causerie import cli
from causerie.engine.journal import StoredJournal
from causerie.stores import sqlite
from causerie.stores.base import EntryRow, RunEnd

_connect, _commit = sqlite.connect, StoredJournal.commit
_LATE = 0.25
_late = set[asyncio.Task[None]]()


def main(mode: str, *arguments: str) -> None:
    """Become careless, and go on as `causerie`."""

    def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
        connection = _connect(path, read_only=read_only)
        connection.execute(f"PRAGMA synchronous = {mode}")
        return connection

    if mode == "LATE":
        StoredJournal.commit = commit_late  # type: ignore[method-assign]
    else:
        sqlite.connect = connect
    cli.main(arguments)


async def commit_late(self: StoredJournal, rows: Sequence[EntryRow], head: int, end: RunEnd) -> None:
    """Say that it is done, and do it a moment later."""
    loop = asyncio.get_running_loop()
    loop.call_later(_LATE, lambda: _late.add(loop.create_task(_commit(self, rows, head, end))))


if __name__ == "__main__":
    main(*sys.argv[1:])
