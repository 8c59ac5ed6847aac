"""The writer thread: what waits goes into one transaction, and a job that fails takes nothing else with it (D14)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from causerie.errors import NotFound, StoreUnavailable
from causerie.stores.writer import Job, Writer

from .driving import PATIENCE


class Table:
    """A table in a file, and a writer on it that can be held while jobs queue up behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refusals: list[Exception] = []
        self.statements: list[str] = []
        self.connected = 0
        self._gate, self._reached = threading.Event(), threading.Event()
        self.writer = Writer(self._connect)

    def _connect(self) -> sqlite3.Connection:
        if self.refusals:
            raise self.refusals.pop()
        self.connected += 1
        connection = sqlite3.connect(self.path, isolation_level=None)
        connection.execute("CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY)")
        connection.set_trace_callback(self.statements.append)
        return connection

    def hold(self) -> None:
        """Keep the writer busy with a transaction of one job until `release`: what comes now has to wait together."""

        def job(_: sqlite3.Connection) -> None:
            self._reached.set()
            assert self._gate.wait(PATIENCE)

        self.writer.submit(job)
        assert self._reached.wait(PATIENCE)

    def release(self) -> None:
        self._gate.set()

    def kept(self) -> list[str]:
        with sqlite3.connect(self.path) as connection:
            found = [name for (name,) in connection.execute("SELECT name FROM kept ORDER BY name")]
        connection.close()
        return found

    def count(self, statement: str) -> int:
        """Return how often a statement was carried out that begins with these words."""
        return sum(line.startswith(statement) for line in self.statements)


Test = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """A table that is still empty."""
    return Table(tmp_path / "table.db")


@pytest.fixture
def run(table: Table) -> Iterator[Test]:
    """Run a test on a loop, with the writer started before it and closed after it."""

    def running(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def whole() -> None:
            table.writer.start()
            try:
                await test()
            finally:
                table.release()
                await table.writer.close()

        async def bounded() -> None:
            await asyncio.wait_for(whole(), PATIENCE)

        asyncio.run(bounded())

    return running


def add(name: str) -> Job[str]:
    """Add a row and return its name."""

    def job(connection: sqlite3.Connection) -> str:
        connection.execute("INSERT INTO kept VALUES (?)", (name,))
        return name

    return job


def add_and_fail(name: str, error: Exception) -> Job[None]:
    """Add a row, then fail."""

    def job(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO kept VALUES (?)", (name,))
        raise error

    return job


def test_what_waits_goes_into_one_transaction(table: Table, run: Test) -> None:
    async def test() -> None:
        table.hold()
        waiting = [table.writer.submit(add(f"{n:02}")) for n in range(40)]
        table.release()
        assert await asyncio.gather(*waiting) == [f"{n:02}" for n in range(40)]
        assert len(table.kept()) == 40

    run(test)
    assert table.count("COMMIT") == 2  # the job that held them up, and all of them


def test_a_job_that_fails_takes_nothing_else_with_it(table: Table, run: Test) -> None:
    async def test() -> None:
        table.hold()
        waiting = [
            table.writer.submit(job)
            for job in (
                add("a"),
                add_and_fail("lost 1", NotFound("Not there.")),
                add("b"),
                add("a"),
                add_and_fail("lost 2", ValueError("A defect.")),
                add("c"),
            )
        ]
        table.release()
        a, not_found, b, twice, defect, c = await asyncio.gather(*waiting, return_exceptions=True)
        assert (a, b, c) == ("a", "b", "c")
        assert isinstance(not_found, NotFound)
        assert not_found.message == "Not there."
        assert isinstance(twice, StoreUnavailable)
        assert isinstance(defect, ValueError)
        assert table.kept() == ["a", "b", "c"]

    run(test)
    assert table.count("COMMIT") == 2  # the job that held them up, and all of them


def test_a_job_that_fails_alone_stores_nothing(table: Table, run: Test) -> None:
    async def test() -> None:
        with pytest.raises(NotFound):
            await table.writer.submit(add_and_fail("lost", NotFound()))
        with pytest.raises(StoreUnavailable, match="no such table"):
            await table.writer.submit(lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)"))
        assert await table.writer.submit(add("kept")) == "kept"
        assert table.kept() == ["kept"]

    run(test)


def test_a_transaction_that_ends_by_itself_refuses_all_its_jobs(table: Table, run: Test) -> None:
    def disk_full(connection: sqlite3.Connection) -> None:
        connection.execute("ROLLBACK")  # as SQLite does by itself when the disk is full
        raise sqlite3.OperationalError("database or disk is full")

    async def test() -> None:
        table.hold()
        waiting = [table.writer.submit(job) for job in (add("a"), disk_full, add("b"))]
        table.release()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in found] == [StoreUnavailable] * 3
        assert "disk is full" in str(found[0])
        assert table.kept() == []
        assert await table.writer.submit(add("after")) == "after"

    run(test)


def test_a_commit_that_is_refused_refuses_all_its_jobs(table: Table, run: Test) -> None:
    def break_a_promise(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA defer_foreign_keys = ON")
        connection.execute("INSERT INTO child VALUES (1)")

    async def test() -> None:
        await table.writer.submit(lambda c: c.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)"))
        await table.writer.submit(lambda c: c.execute("CREATE TABLE child (id INTEGER REFERENCES parent (id))"))
        # The pragma does nothing inside a transaction, so it goes in before.
        await table.writer.submit(lambda c: [c.execute("COMMIT"), c.execute("PRAGMA foreign_keys = ON"),
                                             c.execute("BEGIN")])  # fmt: skip
        table.hold()
        waiting = [table.writer.submit(job) for job in (add("a"), break_a_promise, add("b"))]
        table.release()
        found = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in found] == [StoreUnavailable] * 3
        assert table.kept() == []
        assert await table.writer.submit(add("after")) == "after"
        assert table.kept() == ["after"]

    run(test)


def test_a_caller_that_left_does_not_undo_its_job(table: Table, run: Test) -> None:
    async def test() -> None:
        table.hold()
        left, stayed = table.writer.submit(add("a")), table.writer.submit(add("b"))
        left.cancel()
        table.release()
        assert await stayed == "b"
        assert table.kept() == ["a", "b"]

    run(test)


def test_a_connection_that_cannot_be_made_refuses_its_jobs_and_is_tried_again(table: Table, run: Test) -> None:
    table.refusals = [sqlite3.OperationalError("unable to open database file")]

    async def test() -> None:
        with pytest.raises(StoreUnavailable, match="unable to open"):
            await table.writer.submit(add("a"))
        assert await table.writer.submit(add("b")) == "b"
        assert table.kept() == ["b"]
        assert table.connected == 1

    run(test)


def test_a_connection_that_is_refused_for_a_reason_of_ours_says_the_reason(table: Table, run: Test) -> None:
    table.refusals = [NotFound("No such place.")]

    async def test() -> None:
        with pytest.raises(NotFound, match="No such place"):
            await table.writer.submit(add("a"))
        assert await table.writer.submit(add("b")) == "b"

    run(test)


def test_what_was_submitted_is_finished_before_closing_and_nothing_after(table: Table, run: Test) -> None:
    async def test() -> None:
        table.hold()
        waiting = [table.writer.submit(add(f"{n:03}")) for n in range(600)]  # more than one transaction takes
        closing = asyncio.ensure_future(table.writer.close())
        await asyncio.sleep(0)
        late = table.writer.submit(add("late"))
        table.release()
        await closing
        assert len(await asyncio.gather(*waiting)) == 600
        with pytest.raises(StoreUnavailable, match="closed"):
            await late
        assert len(table.kept()) == 600

    run(test)


def test_a_loop_that_is_gone_is_not_waited_for(table: Table, run: Test) -> None:
    async def submit() -> None:
        table.writer.submit(add("a"))

    async def test() -> None:
        table.hold()
        await asyncio.to_thread(asyncio.run, submit())
        table.release()
        assert await table.writer.submit(add("b")) == "b"
        assert table.kept() == ["a", "b"]

    run(test)
