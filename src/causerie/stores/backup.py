"""Copies a database while it is used: the state of one moment, whole on disk and verified before it counts."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from causerie.errors import SchemaMismatch, StoreUnavailable

from .beside import SHM, WAL, beside, read_beside
from .checkup import Findings, Told, check
from .sqlite_file import TROUBLE, FileLock

PARTIAL, LOCK = ".partial", ".lock"
LARGE = 256 * 1024 * 1024  # bytes, from which on somebody who waits is told how far it is
PAGES = 4096  # pages at a time; the copied state stands still however many times that takes


class Backup(NamedTuple):
    """A backup that was made; where the checkup found faults it did not take the place of its target."""

    file: Path
    size: int
    findings: Findings


def back_up(source: Path, target: Path, *, force: bool = False, told: Told = lambda _: None) -> Backup:
    """Copy the database `source` to the file `target`.

    Args:
        force: replace a file that is there; never one that a server has open.
        told: is told how far it is, where that takes a while.

    Raises:
        StoreUnavailable: the source cannot be read, or the target not be written or not be replaced.
        StoreInUse: the target is open in a server.
        SchemaMismatch: another version of Causerie wrote the source.
    """
    partial = target.with_name(target.name + PARTIAL)
    try:
        _check_target(source, target, force=force)
        read_beside(source, lambda db: _copy(db, partial, told))
        shutil.copymode(source, partial)
        _sync(partial)
        made = Backup(partial, partial.stat().st_size, check(partial, told))
        if made.findings.faults:
            return made
        _put(partial, target)
    except OSError as error:
        raise StoreUnavailable(f"The backup cannot be written to {target}: {error.strerror}.") from error
    except SchemaMismatch:
        _clear(partial)
        raise
    return made._replace(file=target)


def _check_target(source: Path, target: Path, *, force: bool) -> None:
    if target.exists() and source.exists() and target.samefile(source):
        raise StoreUnavailable(f"{target} is the database itself; give the backup a place of its own.")
    for taken in (target, beside(target, WAL), beside(target, SHM)):
        if taken.exists() and not force:
            raise StoreUnavailable(f"{taken} is there already; --force replaces it.")


def _copy(source: sqlite3.Connection, partial: Path, told: Told) -> None:
    tenths = 0

    def progress(_: int, remaining: int, total: int) -> None:
        nonlocal tenths
        done = 10 * (total - remaining) // max(total, 1)
        if total * size >= LARGE and done > tenths:
            tenths = done
            told(f"{10 * done} % copied")

    (size,) = source.execute("PRAGMA page_size").fetchone()
    _clear(partial)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # the whole file is synced at the end, once
            source.backup(connection, pages=PAGES, progress=progress)
    except TROUBLE as error:
        _clear(partial)
        raise StoreUnavailable(f"The database cannot be copied to {partial}: {error}.") from error


def _put(partial: Path, target: Path) -> None:
    """Give the backup its name. What SQLite kept beside a file of that name belongs to that file and goes with it."""
    lock = FileLock(target) if beside(target, LOCK).exists() else None
    if lock is not None:
        lock.take()
    try:
        # In this order nothing can ever be read that is half of the one and half of the other.
        _clear(target)
        partial.replace(target)
        _sync(target.parent)
    finally:
        if lock is not None:
            lock.release()


def _clear(path: Path) -> None:
    for suffix in ("", WAL, SHM):
        beside(path, suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
