"""Disks that can be full on demand, each with a server whose database lies on it.

FileSize    a real `causerie serve` whose files may not grow (RLIMIT_FSIZE), as with a quota
PageCount   a server in this process whose writer may not take another page (SQLITE_FULL)
SmallDisk   a real `causerie serve` on a file system of 4 MiB; only root can make one
"""

from __future__ import annotations

import resource
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from causerie.stores import sqlite
from tests.support.raw import Raw
from tests.support.running import serving
from tests.support.spawned import causerie

DATABASE = "causerie.db"


class Disk(Protocol):
    """A disk, and a server on it."""

    data: Path
    raw: Raw

    def fill(self) -> None:
        """Leave no space."""
        ...

    def free(self) -> None:
        """Give the space back."""
        ...


class FileSize:
    """Files that may not grow."""

    def __init__(self, data: Path, raw: Raw, server: int) -> None:
        self.data, self.raw, self._server = data, raw, server
        self._before = resource.prlimit(server, resource.RLIMIT_FSIZE)

    @classmethod
    @contextmanager
    def ready(cls, folder: Path, upstream: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
        """Start a server."""
        data = folder / "data"
        with causerie("--data", data, "--upstream", upstream, cwd=folder) as (program, url):
            yield cls(data, Raw(url), program.pid)

    def fill(self) -> None:
        size = (self.data / f"{DATABASE}-wal").stat().st_size
        resource.prlimit(self._server, resource.RLIMIT_FSIZE, (size, self._before[1]))

    def free(self) -> None:
        resource.prlimit(self._server, resource.RLIMIT_FSIZE, self._before)


class PageCount:
    """A database that may not take another page."""

    def __init__(self, data: Path, raw: Raw, connections: list[sqlite3.Connection]) -> None:
        self.data, self.raw, self._connections = data, raw, connections

    @classmethod
    @contextmanager
    def ready(cls, folder: Path, upstream: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
        """Start a server, and keep its connections at hand."""
        connect, connections = sqlite.connect, list[sqlite3.Connection]()

        def connecting(path: str, *, read_only: bool = False) -> sqlite3.Connection:
            connections.append(connect(path, read_only=read_only))
            return connections[-1]

        monkeypatch.setattr(sqlite, "connect", connecting)
        with serving(data=str(folder), upstream=upstream) as url:
            yield cls(folder, Raw(url), connections)

    def fill(self) -> None:
        self._limit(1)  # less than there are: no more than there are

    def free(self) -> None:
        self._limit(2**30)

    def _limit(self, pages: int) -> None:
        for connection in self._connections:
            connection.execute(f"PRAGMA max_page_count = {pages}")


class SmallDisk:
    """A file system of its own."""

    def __init__(self, data: Path, raw: Raw) -> None:
        self.data, self.raw = data, raw

    @classmethod
    @contextmanager
    def ready(cls, folder: Path, upstream: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
        """Mount a file system and start a server on it."""
        data = folder / "data"
        data.mkdir()
        mounted = _ran("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", data)
        if mounted is not None:
            pytest.skip(f"a small file system cannot be mounted here: {mounted}")
        try:
            with causerie("--data", data, "--upstream", upstream, cwd=folder) as (_, url):
                yield cls(data, Raw(url))
        finally:
            assert _ran("umount", data) is None

    def fill(self) -> None:
        with (self.data / "filler").open("wb", buffering=0) as file:
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                return

    def free(self) -> None:
        (self.data / "filler").unlink()


def _ran(*command: str | Path) -> str | None:
    """Run a command; return what it complained of, None where it worked."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or f"code {done.returncode}" if done.returncode else None


DISKS = (FileSize, PageCount, SmallDisk)
