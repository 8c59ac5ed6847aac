"""What outlives the process: everything that was awaited, a run that did not end included (D1, D4)."""

from __future__ import annotations

from causerie.errors import NotFound

from .conftest import Opening
from .driving import Driver, Place
from .rows import END, ENDED, FAILED, HERE, branch, entries


def left(db: Driver) -> list[str]:
    """Return the ids of all conversations there are."""
    return [row.id for row in db.page(HERE, offset=0, limit=100, metadata={})]


def test_what_was_written_is_there_after_closing(durable: Place, opened: Opening) -> None:
    with opened(durable) as db:
        before = db.made(count=3, name="Kept", metadata=b'{"user":"ada"}')
        child = db.wrote(branch(before, 2, written=entries(2, 3, "conv_b")))
    with opened(durable) as db:
        assert db.load(HERE, "conv_a") == before
        assert db.load(HERE, "conv_b") == child
        assert db.read(child) == ["conv_a-1", "conv_a-2", "conv_b-3"]
        assert [row.id for row in db.page(HERE, offset=0, limit=9, metadata={"user": "ada"})] == ["conv_a"]
        assert db.read(db.grown(before)) == ["conv_a-1", "conv_a-2", "conv_a-3", "conv_a-4"]


def test_what_was_done_survives_a_crash(durable: Place, opened: Opening) -> None:
    durable.crash("after_a_start")
    with opened(durable) as db:
        row = db.load(HERE, "conv_a")
        assert (row.head, row.run_id, row.updated_at) == (2, None, ENDED)
        assert db.read(row) == ["conv_a-1", "conv_a-2"]


def test_a_start_that_crashed_never_was(durable: Place, opened: Opening) -> None:
    durable.crash("in_a_start")
    with opened(durable) as db:
        assert left(db) == []
        assert db.kept("conv_a") == []
        db.refusal(NotFound, lambda: db.load(HERE, "conv_a"))


def test_a_streamed_start_that_crashed_waits_for_whoever_carries_it_on(durable: Place, opened: Opening) -> None:
    durable.crash("in_a_streamed_start")
    with opened(durable) as db:
        row = db.load(HERE, "conv_a")
        assert (row.head, row.run_id) == (0, "run_1")
        assert db.read(row) == []
        assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]
        assert [found.id for found in db.unfinished()] == ["run_1"]


def test_an_append_that_crashed_leaves_history_as_it_was_and_is_carried_on(durable: Place, opened: Opening) -> None:
    durable.crash("in_an_append")
    with opened(durable) as db:
        row = db.load(HERE, "conv_a")
        assert (row.head, row.run_id) == (2, "run_2")
        assert db.read(row) == ["conv_a-1", "conv_a-2"]
        (found,) = db.unfinished()
        assert (found.id, found.head, found.model_calls, found.usage) == ("run_2", 2, 1, b'{"prompt_tokens":1}')
        key = db.adopt(found)
        assert db.kept("conv_a") == [f"conv_a-{position}" for position in range(1, 6)]
        db.commit(key, entries(5, 6), start=2, head=6, end=END)
        assert db.read(db.load(HERE, "conv_a")) == [f"conv_a-{position}" for position in range(1, 7)]


def test_an_append_that_crashed_can_be_taken_back(durable: Place, opened: Opening) -> None:
    durable.crash("in_an_append")
    with opened(durable) as db:
        db.fail(db.adopt(db.unfinished()[0]), FAILED)
        row = db.load(HERE, "conv_a")
        assert (row.head, row.run_id) == (2, None)
        assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]
        assert db.read(db.grown(row)) == ["conv_a-1", "conv_a-2", "conv_a-3"]


def test_a_restart_that_crashed_leaves_no_branch(durable: Place, opened: Opening) -> None:
    durable.crash("in_a_restart")
    with opened(durable) as db:
        assert left(db) == ["conv_a"]
        assert db.kept("conv_b") == []
        assert db.read(db.load(HERE, "conv_a")) == ["conv_a-1", "conv_a-2"]


def test_a_restart_that_crashed_lets_go_of_ground_that_was_deleted(durable: Place, opened: Opening) -> None:
    durable.crash("in_a_restart_of_what_was_deleted")
    with opened(durable) as db:
        assert left(db) == []
        assert db.kept("conv_a") == []


def test_an_append_to_what_was_deleted_leaves_the_ground_of_its_branch(durable: Place, opened: Opening) -> None:
    durable.crash("in_an_append_to_what_was_deleted")
    with opened(durable) as db:
        assert left(db) == ["conv_b"]
        assert db.kept("conv_a") == ["conv_a-1"]
        assert db.read(db.load(HERE, "conv_b")) == ["conv_a-1", "conv_b-2"]


def test_one_crash_after_another(durable: Place, opened: Opening) -> None:
    durable.crash("in_an_append")
    with opened(durable) as db:
        db.delete(HERE, "conv_a", ENDED)
    durable.crash("in_a_restart")
    with opened(durable) as db:
        assert left(db) == ["conv_a"]
