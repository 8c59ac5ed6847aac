"""Opens a database that may be somebody else's: to read only, beside a running server, leaving nothing behind."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from causerie.errors import StoreUnavailable

from .sqlite_file import TROUBLE

T = TypeVar("T")
WAL, SHM = "-wal", "-shm"


def read_beside(path: Path, job: Callable[[sqlite3.Connection], T]) -> T:
    """Return what `job` makes of the database as it is at one moment, whoever else writes to it.

    Raises:
        StoreUnavailable: there is none, or it cannot be read.
    """
    if not path.is_file():
        raise StoreUnavailable(f"There is no database {path}.")
    try:
        before = _still(path)
        found = _read(path, job, still=before is not None)
        if before is not None and _still(path) != before:
            found = _read(path, job, still=False)  # a server has opened it in the meantime
    except TROUBLE as error:
        raise StoreUnavailable(f"{path} cannot be read: {error}.") from error
    return found


def beside(path: Path, suffix: str) -> Path:
    """Return the file that SQLite keeps beside a database."""
    return path.with_name(path.name + suffix)


def _read(path: Path, job: Callable[[sqlite3.Connection], T], *, still: bool) -> T:
    uri = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if still else ''}"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("BEGIN")
        connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()  # from here on it stands still
        return job(connection)


def _still(path: Path) -> tuple[int, int] | None:
    """What tells one state of a database that nobody has open from another; None where somebody may have it open.

    Opening it in the usual way would leave two files behind, which the server's user may not be allowed to write.
    """
    wal = beside(path, WAL)
    if wal.exists() and wal.stat().st_size:
        return None
    state = path.stat()
    return state.st_size, state.st_mtime_ns
