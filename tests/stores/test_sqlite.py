"""What only a SQLite file has: a lock, a schema, a disk that may refuse, and tables that must not fill up."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from causerie.errors import Conflict, NotFound, SchemaMismatch, StoreInUse, StoreUnavailable
from causerie.stores.sqlite import SQLiteStore
from causerie.stores.sqlite_file import connect
from causerie.stores.statements import migrations

from .conftest import Opening
from .driving import PATIENCE, ROOT, Driver, File
from .rows import END, ENDED, FAILED, HERE, began, branch, conversation, entries, next_run

HOLDS_THE_LOCK = """
import asyncio, sys
from causerie.stores.sqlite import SQLiteStore
from causerie.stores.sqlite_file import connect
async def hold():
    store = SQLiteStore(sys.argv[1])
    await store.open("own_other")
    print("open", flush=True)
    sys.stdin.read()
asyncio.run(hold())
"""
WRITES_AS_NOBODY = """
import asyncio, os, sys
from causerie.errors import StoreError
from causerie.stores.statements import migrations
from tests.stores.driving import SQLiteStore, began
from tests.stores.rows import conversation
migrations("sqlite")  # whatever has to be read is read before the right to read it goes
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
async def write():
    store = SQLiteStore(sys.argv[1])
    await store.open("own_nobody")
    try:
        await store.begin(began(conversation("conv_new")))
    finally:
        await store.close()
try:
    asyncio.run(write())
except StoreError as error:
    print(type(error).__name__, error)
"""
"""What root may do says nothing: root may write what is read-only."""
LASTING = {"workspace": 1, "migration": 1, "owner": 1}
"""The rows that an empty database has."""


@pytest.fixture
def file(tmp_path: Path) -> File:
    """A place for a database."""
    return File(tmp_path)


def run_code(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in another process."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=False,
    )  # fmt: skip


def row_counts(path: Path) -> dict[str, int]:
    """Return how many rows each table has that has any."""
    with closing(sqlite3.connect(path)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        counts = {name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}  # noqa: S608  # ours
    return {name: count for name, count in counts.items() if count}


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """Let no file of this process grow beyond what the database's log has now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name(path.name + "-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_second_store_is_refused_and_told_who_has_the_file(file: File, opened: Opening) -> None:
    with opened(file) as db:
        message = db.refusal(StoreInUse, lambda: Driver(file.store(), db.runner).open())
        assert str(os.getpid()) in message
        assert str(file.path) in message
        db.made()


def test_another_process_is_refused_and_told_who_has_the_file(file: File, opened: Opening) -> None:
    command = [sys.executable, "-c", HOLDS_THE_LOCK, str(file.path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as other:  # fmt: skip
        assert other.stdin is not None
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == b"open\n"
            with pytest.raises(StoreInUse, match=rf"\b{other.pid}\b"), opened(file):
                pass
        finally:
            other.send_signal(signal.SIGKILL)
            other.wait(PATIENCE)
    with opened(file) as db:  # what a dead process held is free
        db.made()


def test_closing_gives_the_file_back_and_a_refusal_does_not_take_it(file: File, opened: Opening) -> None:
    for _ in range(3):
        with opened(file) as db:
            db.refusal(StoreInUse, lambda db=db: Driver(file.store(), db.runner).open())


def test_a_folder_that_is_missing_is_made(tmp_path: Path, opened: Opening) -> None:
    deep = tmp_path / "not" / "there"
    with opened(File(deep)) as db:
        db.made()
    assert (deep / "chats.db").is_file()


def test_a_folder_that_cannot_be_made_is_an_unavailable_store(tmp_path: Path, opened: Opening) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StoreUnavailable), opened(File(tmp_path / "taken")):
        pass


def test_a_folder_in_the_place_of_the_file_is_an_unavailable_store(file: File, opened: Opening) -> None:
    file.path.mkdir()
    with pytest.raises(StoreUnavailable), opened(file):
        pass
    file.path.rmdir()
    with opened(file) as db:  # the lock was given back
        db.made()


@pytest.mark.parametrize(("folder", "database"), [(0o555, 0o666), (0o777, 0o444)], ids=["folder", "file"])
def test_what_is_read_only_is_an_unavailable_store(opened: Opening, folder: int, database: int) -> None:
    with TemporaryDirectory() as name:  # that anybody may enter, which a test's own folder is not
        file = File(Path(name))
        with opened(file) as db:
            before = db.made()
        for path in file.path.parent.iterdir():
            path.chmod(0o666)
        file.path.chmod(database)
        file.path.parent.chmod(folder)
        told = run_code(WRITES_AS_NOBODY, str(file.path))
        file.path.parent.chmod(0o755)
        file.path.chmod(0o644)
        assert told.stdout.startswith("StoreUnavailable"), told
        with opened(file) as db:
            assert db.page(HERE, offset=0, limit=9, metadata={}) == [before]


def test_a_file_of_something_else_is_refused_and_left_alone(file: File, opened: Opening) -> None:
    file.path.write_bytes(b"This is no database. " * 500)
    before = file.path.read_bytes()
    with pytest.raises(StoreUnavailable), opened(file):
        pass
    assert file.path.read_bytes() == before


def test_a_newer_schema_is_refused_and_left_alone(file: File, opened: Opening) -> None:
    with opened(file) as db:
        db.made()
    with closing(sqlite3.connect(file.path)) as raw:
        raw.execute("INSERT INTO migration VALUES (999, '999_from_the_future', '2099-01-01')")
        raw.commit()
    before = row_counts(file.path)

    with pytest.raises(SchemaMismatch, match=r"\b999\b"), opened(file):
        pass

    assert row_counts(file.path) == before
    with closing(sqlite3.connect(file.path)) as raw:
        raw.execute("DELETE FROM migration WHERE number = 999")
        raw.commit()
    with opened(file) as db:  # the lock was given back
        assert db.load(HERE, "conv_a").head == 2


def test_migrations_are_numbered_and_applied_once(file: File, opened: Opening) -> None:
    numbers = [number for number, _, _ in migrations("sqlite")]
    assert numbers == list(range(1, len(numbers) + 1))
    for _ in range(2):
        with opened(file):
            pass
    with closing(sqlite3.connect(file.path)) as raw:
        assert [number for (number,) in raw.execute("SELECT number FROM migration ORDER BY number")] == numbers


def test_commits_are_durable_and_readers_do_not_wait(file: File) -> None:
    with closing(connect(str(file.path))) as connection:
        modes = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert modes == ["wal", 2, 1]


def test_a_reader_cannot_write(file: File, opened: Opening) -> None:
    with opened(file) as db:
        db.made()
        with closing(connect(str(file.path), read_only=True)) as reader:
            assert reader.execute("SELECT count(*) FROM entry").fetchone() == (2,)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("DELETE FROM entry")


def test_a_full_disk_refuses_what_it_cannot_take_and_recovers(file: File, opened: Opening) -> None:
    with opened(file) as db:
        row = db.made()
        large = [*entries(2, 3)]
        large[0] = type(large[0])(position=3, id="large", kind="message.input", body=b"x" * 300_000)
        with full_disk(file.path):
            message = db.refusal(StoreUnavailable, lambda: db.begin(next_run(row, large)))
        assert "disk" in message
        assert db.load(HERE, "conv_a") == row
        assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]
        assert db.read(db.grown(row)) == ["conv_a-1", "conv_a-2", "conv_a-3"]
    with opened(file) as db:
        assert db.load(HERE, "conv_a").head == 3


def test_a_full_disk_refuses_all_that_went_together(file: File, opened: Opening) -> None:
    with opened(file) as db:
        db.made("conv_a")
        starts = [began(conversation(f"conv_{n}"), run=f"run_{n}") for n in range(20)]
        large = began(conversation("conv_large", settings=b"x" * 300_000), run="run_large")
        with full_disk(file.path):
            found = db.together(*(lambda store, start=start: store.begin(start) for start in [*starts, large]))
        assert isinstance(found[-1], StoreUnavailable)
        assert {type(one) for one in found} <= {StoreUnavailable, type(found[0])}
        stored = [n for n, one in enumerate(found) if not isinstance(one, Exception)]
        for n in stored:
            db.commit(found[n], [], start=0, head=0, end=END)
        assert len(db.page(HERE, offset=0, limit=100, metadata={})) == 1 + len(stored)


def test_a_closed_store_says_so(file: File, runner: asyncio.Runner) -> None:
    db = Driver(file.store(), runner)
    db.open()
    row = db.made()
    db.close()
    key = type("", (), {"workspace": HERE, "conversation_id": "conv_a", "run_id": "run_1", "fence": 1})
    for call in (
        lambda: db.load(HERE, "conv_a"),
        lambda: db.page(HERE, offset=0, limit=1, metadata={}),
        lambda: db.entries(HERE, row.ranges()),
        lambda: db.bodies(HERE, row.ranges()),
        lambda: db.locate(HERE, row.ranges(), "conv_a-1"),
        lambda: db.begin(next_run(row)),
        lambda: db.journal(key, []),
        lambda: db.fail(key, FAILED),
        lambda: db.delete(HERE, "conv_a", ENDED),
    ):
        db.refusal(StoreUnavailable, call)


def test_what_was_submitted_before_closing_is_finished(file: File, runner: asyncio.Runner, opened: Opening) -> None:
    db = Driver(file.store(), runner)
    db.open()
    row = db.made()

    async def submit_and_close() -> None:
        waiting = db.store.begin(next_run(row, entries(2, 3)))
        await db.store.close()
        await waiting

    db.do(submit_and_close)
    with opened(file) as again:  # and waits there for whoever carries it on
        assert (again.load(HERE, "conv_a").head, again.load(HERE, "conv_a").run_id) == (row.head, "run_2")
        assert again.kept("conv_a") == ["conv_a-1", "conv_a-2", "conv_a-3"]


def test_nothing_is_left_of_what_is_gone(file: File, opened: Opening) -> None:
    with opened(file) as db:
        parent = db.made(count=4, metadata=b'{"user":"ada"}')
        child = db.wrote(branch(parent, 2, "conv_b", entries(2, 4, "conv_b"), metadata=b'{"user":"bob"}'))
        db.wrote(branch(child, 3, "conv_c", entries(3, 4, "conv_c"), run="run_c"))
        running = db.begin(next_run(db.load(HERE, "conv_c"), entries(4, 5, "conv_c"), run="run_running"))
        failed = db.begin(next_run(parent, entries(4, 5), run="run_failed"))
        db.fail(failed, FAILED)
        db.begin(began(conversation("conv_d"), entries(0, 1, "conv_d"), run="run_d"))
        for id_ in ("conv_a", "conv_b", "conv_c"):
            db.delete(HERE, id_, ENDED)
        db.refusal(Conflict, lambda: db.journal(running, entries(5, 6, "conv_c")))
        db.refusal(NotFound, lambda: db.load(HERE, "conv_d"))
    with opened(file):  # clears the start that nobody carries any more
        pass
    assert row_counts(file.path) == LASTING


def test_a_buried_conversation_keeps_nothing_that_says_what_it_was(file: File, opened: Opening) -> None:
    with opened(file) as db:
        secret = b'{"model":"m","instructions":"a secret"}'
        parent = db.made(count=3, settings=secret, name="A secret", description="A secret", metadata=b'{"a":"secret"}')
        db.wrote(branch(parent, 1))
        db.delete(HERE, "conv_a", ENDED)
    with closing(sqlite3.connect(file.path)) as raw:
        rows = raw.execute("SELECT settings, name, description, metadata FROM conversation WHERE id = 'conv_a'")
        assert rows.fetchall() == [(b"{}", None, None, None)]
        assert raw.execute("SELECT count(*) FROM label").fetchone() == (0,)


def test_runs_leave_a_record(file: File, opened: Opening) -> None:
    with opened(file) as db:
        row = db.made()
        key = db.begin(next_run(row, run="run_failed"))
        db.fail(key, FAILED)
        db.fail(key, END)
    with closing(sqlite3.connect(file.path)) as raw:
        found = raw.execute("SELECT id, state, model_calls, usage, error, code, ended_at IS NULL FROM run ORDER BY id")
        assert found.fetchall() == [
            ("run_conv_a", "done", 2, b'{"prompt_tokens":1}', None, None, 0),
            ("run_failed", "failed", 1, None, "The model server is away.", 503, 0),
        ]


def test_a_database_in_memory_is_forgotten(runner: asyncio.Runner) -> None:
    for _ in range(2):
        db = Driver(SQLiteStore(":memory:"), runner)
        db.open()
        assert db.page(HERE, offset=0, limit=1, metadata={}) == []
        db.made()
        db.close()
