"""A SQLite database as a file: its lock, its schema, its connections. What is in it is not known here."""

from __future__ import annotations

import os
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from weakref import WeakSet

from causerie.errors import SchemaMismatch, StoreInUse, StoreUnavailable

from .statements import migrations

try:
    import fcntl
except ImportError:  # pragma: no cover  # Windows
    fcntl = None  # type: ignore[assignment]

MEMORY = ":memory:"
# What SQLite says of a damaged file can hold bytes of it: then reading the message is what fails.
TROUBLE = (sqlite3.Error, UnicodeDecodeError)
_DONE = """CREATE TABLE IF NOT EXISTS migration (
    number INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT"""


class FileLock:
    """Keeps a second process out of a database; who holds it is written inside (D14)."""

    def __init__(self, database: Path) -> None:
        """Lock beside `database`, not in it: SQLite's own locks live there."""
        self._path = database.with_name(database.name + ".lock")
        self._file: int | None = None

    def take(self) -> None:
        """Take the lock, or say who has it.

        Raises:
            StoreInUse: another process holds it.
            StoreUnavailable: the folder cannot be written.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path.parent} cannot be the database's folder ({error.strerror}): it has to be a directory "
                "that this process may write to. Another one can be named (a server's is --data)."
            ) from error
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(file, 32).decode().strip() or "unknown"
            os.close(file)
            advice = (
                ", which is this one. Go on with the Causerie that has it, or close() that first."
                if holder == str(os.getpid())
                else ". Stop that process, or use another database here (a server's is --data)."
            )
            raise StoreInUse(
                f"{self._path.with_suffix('')} is open in process {holder}{advice} One SQLite database has one owner."
            ) from None
        os.ftruncate(file, 0)
        os.write(file, str(os.getpid()).encode())
        self._file = file
        _HELD.add(self)

    def release(self) -> None:
        """Give the lock back. The file stays: removing it would race with the next taker."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _leave_to_parent() -> None:
    # A lock is held as long as any copy of its file is open, and a fork has one.
    for lock in list(_HELD):
        lock.release()
    _HELD.clear()


_HELD: WeakSet[FileLock] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


def connect(path: str, *, read_only: bool = False) -> sqlite3.Connection:
    """Open a connection: durable at every commit, readers never in the writer's way."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    if path != MEMORY:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    # SQLite's own lower() knows ASCII only.
    connection.create_function("casefold", 1, str.casefold, deterministic=True)
    connection.execute("PRAGMA cache_size = -8192")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def unavailable(error: BaseException) -> StoreUnavailable:
    """Return what a caller is told when the database refuses: what it said, and what helps."""
    said = "unreadable bytes" if isinstance(error, UnicodeDecodeError) else str(error)
    damaged = isinstance(error, UnicodeDecodeError) or "malformed" in said or "not a database" in said
    help_ = "The file is damaged: `causerie check` names what is wrong" if damaged else "Try again, and see to its disk"
    return StoreUnavailable(
        f"The database could not be written or read ({said}). Nothing was stored. {help_}.",
        headers={"Retry-After": "1"},
    )


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the schema up to date, a transaction a migration.

    Raises:
        SchemaMismatch: the database has migrations that this version does not know.
    """
    connection.execute(_DONE)
    done = {number for (number,) in connection.execute("SELECT number FROM migration")}
    known = migrations("sqlite")
    if unknown := done - {number for number, _, _ in known}:
        raise SchemaMismatch(
            f"The database has schema version {max(unknown)}; this version of Causerie knows up to "
            f"{known[-1][0]}. Use the version that wrote it, or a newer one."
        )
    for number, name, script in known:
        if number not in done:
            connection.executescript(f"BEGIN IMMEDIATE; {script}")
            stamp = datetime.now(UTC).isoformat()
            connection.execute("INSERT INTO migration VALUES (?, ?, ?)", (number, name, stamp))
            connection.execute("COMMIT")
