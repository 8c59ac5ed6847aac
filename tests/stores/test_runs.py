"""A run in the store: it begins, writes beyond the head, moves the head or takes back; one at a time (D1, D2, D3)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from causerie.errors import Conflict, NotFound
from causerie.stores.base import Range, Segment

from .driving import Driver
from .rows import BEGAN, END, ENDED, FAILED, HERE, began, branch, conversation, entries, entry, ids, next_run


def test_a_conversation_is_there_once_its_first_run_is_done(db: Driver) -> None:
    key = db.begin(began(conversation(), entries(0, 1)))
    db.refusal(NotFound, lambda: db.load(HERE, "conv_a"))
    assert db.page(HERE, offset=0, limit=10, metadata={}) == []

    db.commit(key, entries(1, 2), start=0, head=2, end=END)

    row = db.load(HERE, "conv_a")
    assert (row.head, row.run_id) == (2, None)
    assert db.read(row) == ["conv_a-1", "conv_a-2"]
    assert [found.id for found in db.page(HERE, offset=0, limit=10, metadata={})] == ["conv_a"]


def test_a_conversation_whose_id_has_left_is_there_at_once_and_empty(db: Driver) -> None:
    db.begin(began(conversation(), entries(0, 1), announced=True))

    row = db.load(HERE, "conv_a")
    assert (row.head, row.run_id) == (0, "run_1")
    assert db.read(row) == []
    assert [found.run_id for found in db.page(HERE, offset=0, limit=10, metadata={})] == ["run_1"]


def test_everything_of_a_conversation_is_kept(db: Driver) -> None:
    created = datetime(2024, 2, 29, 23, 59, 59, 1, UTC)
    asked = conversation(
        created_at=created, updated_at=created, settings=b'{"model":"\xc3\xa9"}', name="Été", description="",
        metadata=b'{"a":{"b":[1]}}',
    )  # fmt: skip
    row = db.wrote(began(asked, entries(0, 1)))

    assert row.created_at == created
    assert row.updated_at == ENDED
    assert row.updated_at.utcoffset() == timedelta()
    assert (row.settings, row.name, row.description) == (b'{"model":"\xc3\xa9"}', "Été", "")
    assert row.metadata == b'{"a":{"b":[1]}}'
    assert (row.segments, row.parent_id, row.parent_entry_id) == ((), None, None)
    assert db.page(HERE, offset=0, limit=1, metadata={}) == [row]


def test_a_time_without_microseconds_and_one_from_elsewhere_come_back_the_same(db: Driver) -> None:
    paris = datetime(2025, 3, 1, 14, 0, 0, 0, timezone(timedelta(hours=2)))
    row = db.wrote(began(conversation(created_at=paris, updated_at=paris), entries(0, 1)))
    assert row.created_at == paris


def test_everything_of_an_entry_is_kept(db: Driver) -> None:
    plain = entry(1)
    full = entry(
        2, kind="function.call", tool_call_id="callAAAA1", prompt=b'{"role":"assistant"}', covers=2,
        private=b'{"upstream_id":"call_1"}', body='{"a":"\u2028é\\u0000"}'.encode(),
    )  # fmt: skip
    row = db.wrote(began(conversation(), [plain, full]))

    assert db.entries(HERE, row.ranges()) == [plain, full]
    assert db.bodies(HERE, row.ranges()) == [plain.body, full.body]


def test_an_append_moves_the_head_when_it_is_done_and_not_before(db: Driver) -> None:
    row = db.made(count=2)
    key = db.begin(next_run(row, entries(2, 3)))
    during = db.load(HERE, "conv_a")
    assert (during.head, during.run_id, during.updated_at) == (2, "run_2", row.updated_at)

    db.journal(key, entries(3, 4))
    assert db.load(HERE, "conv_a").head == 2
    assert db.read(during) == ["conv_a-1", "conv_a-2"]
    assert ids(db.entries(HERE, [Range("conv_a", 2, 9)])) == ["conv_a-3", "conv_a-4"]

    db.commit(key, entries(4, 5), start=2, head=5, end=END)
    after = db.load(HERE, "conv_a")
    assert (after.head, after.run_id, after.created_at) == (5, None, row.created_at)
    assert db.read(after) == [f"conv_a-{position}" for position in range(1, 6)]


def test_a_commit_says_when_the_conversation_changed(db: Driver) -> None:
    row = db.made()
    key = db.begin(next_run(row, entries(2, 3)))
    later = ENDED + timedelta(days=1)
    db.commit(key, [], start=2, head=3, end=type(END)(ended_at=later))
    assert db.load(HERE, "conv_a").updated_at == later


def test_nothing_at_all_can_be_journaled(db: Driver) -> None:
    key = db.begin(next_run(db.made(), entries(2, 3)))
    db.journal(key, [])
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2", "conv_a-3"]


def test_a_second_run_is_refused_and_told_which_is_in_the_way(db: Driver) -> None:
    row = db.made()
    db.begin(next_run(row, entries(2, 3), run="run_first"))

    message = db.refusal(Conflict, lambda: db.begin(next_run(row, entries(2, 3, "second"), run="run_second")))

    assert "run_first" in message
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2", "conv_a-3"]
    assert db.load(HERE, "conv_a").run_id == "run_first"


def test_of_runs_that_begin_at_once_one_begins(db: Driver) -> None:
    row = db.made()
    starts = [next_run(row, [entry(3, f"by{n}")], run=f"run_{n}") for n in range(6)]
    found = db.together(*(lambda store, start=start: store.begin(start) for start in starts))

    won = [key for key in found if not isinstance(key, Exception)]
    assert len(won) == 1
    assert [type(other) for other in found if other is not won[0]] == [Conflict] * 5
    assert won[0].run_id == db.load(HERE, "conv_a").run_id
    assert len(db.kept("conv_a")) == 3


def test_a_run_that_read_an_older_head_does_not_begin(db: Driver) -> None:
    stale = db.made()
    db.grown(stale)
    db.refusal(Conflict, lambda: db.begin(next_run(stale, entries(2, 3, "stale"), run="run_stale")))

    row = db.load(HERE, "conv_a")
    assert (row.head, row.run_id) == (3, None)
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2", "conv_a-3"]


def test_the_conversation_is_free_the_instant_its_run_is_done(db: Driver) -> None:
    row = db.made()
    for turn in range(3):
        row = db.grown(row, run=f"run_{turn}")
    assert row.head == 5


@pytest.mark.parametrize("id_", ["conv_unknown", "", "' OR 1=1 --"])
def test_what_is_not_there_is_not_found(db: Driver, id_: str) -> None:
    db.made()
    db.refusal(NotFound, lambda: db.load(HERE, id_))
    db.refusal(NotFound, lambda: db.begin(next_run(conversation(id_))))
    db.refusal(NotFound, lambda: db.delete(HERE, id_, ENDED))
    assert db.kept(id_) == []


def test_a_start_that_has_not_ended_can_be_neither_appended_to_nor_deleted(db: Driver) -> None:
    key = db.begin(began(conversation(), entries(0, 1)))
    db.refusal(NotFound, lambda: db.begin(next_run(conversation(), entries(0, 1, "b"))))
    db.refusal(NotFound, lambda: db.delete(HERE, "conv_a", ENDED))
    db.commit(key, [], start=0, head=1, end=END)
    assert db.read(db.load(HERE, "conv_a")) == ["conv_a-1"]


def test_a_failed_append_leaves_history_as_it_was(db: Driver) -> None:
    row = db.made()
    key = db.begin(next_run(row, entries(2, 3)))
    db.journal(key, entries(3, 6))
    db.fail(key, FAILED)

    assert db.load(HERE, "conv_a") == row
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]
    again = db.grown(row, count=2, run="run_again")
    assert db.read(again) == ["conv_a-1", "conv_a-2", "conv_a-3", "conv_a-4"]


def test_a_failed_start_never_was(db: Driver) -> None:
    key = db.begin(began(conversation(metadata=b'{"a":1}'), entries(0, 1)))
    db.journal(key, entries(1, 2))
    db.fail(key, FAILED)

    db.refusal(NotFound, lambda: db.load(HERE, "conv_a"))
    assert db.kept("conv_a") == []
    assert db.read(db.made("conv_a", 1)) == ["conv_a-1"]  # so that even its id is free


def test_a_failed_start_whose_id_has_left_exists_and_is_empty(db: Driver) -> None:
    key = db.begin(began(conversation(name="Kept"), entries(0, 1), announced=True))
    db.journal(key, entries(1, 2))
    db.fail(key, FAILED)

    row = db.load(HERE, "conv_a")
    assert (row.head, row.run_id, row.name) == (0, None, "Kept")
    assert db.kept("conv_a") == []
    assert db.read(db.grown(row, count=2)) == ["conv_a-1", "conv_a-2"]


def test_a_failed_restart_leaves_no_branch_and_its_ground_untouched(db: Driver) -> None:
    parent = db.made(count=3)
    key = db.begin(branch(parent, 2, written=entries(2, 3, "conv_b")))
    db.fail(key, FAILED)

    db.refusal(NotFound, lambda: db.load(HERE, "conv_b"))
    assert db.kept("conv_b") == []
    assert db.read(db.load(HERE, "conv_a")) == ["conv_a-1", "conv_a-2", "conv_a-3"]


def test_a_failed_restart_whose_id_has_left_is_the_branch_as_it_was_cut(db: Driver) -> None:
    parent = db.made(count=3)
    key = db.begin(branch(parent, 2, written=entries(2, 3, "conv_b"), announced=True))
    db.fail(key, FAILED)

    row = db.load(HERE, "conv_b")
    assert (row.head, row.segments, row.run_id) == (2, (Segment("conv_a", 2),), None)
    assert db.read(row) == ["conv_a-1", "conv_a-2"]
    assert db.kept("conv_b") == []


def test_one_workspace_sees_nothing_of_another(db: Driver) -> None:
    mine = db.made("conv_a", 2)
    theirs = db.made("conv_a", 1, workspace="elsewhere", name="Theirs")
    assert (mine.head, theirs.head) == (2, 1)

    db.refusal(NotFound, lambda: db.load("nowhere", "conv_a"))
    db.refusal(NotFound, lambda: db.delete("nowhere", "conv_a", ENDED))
    db.delete(HERE, "conv_a", ENDED)

    assert db.load("elsewhere", "conv_a").name == "Theirs"
    assert db.kept("conv_a") == []
    assert db.kept("conv_a", "elsewhere") == ["conv_a-1"]
    assert db.page(HERE, offset=0, limit=10, metadata={}) == []


def test_what_the_caller_passes_in_is_not_kept(db: Driver) -> None:
    written = entries(0, 1)

    async def changed_while_it_waits() -> None:
        waiting = db.store.begin(began(conversation(), tuple(written)))
        await waiting

    db.do(changed_while_it_waits)
    written.clear()
    assert db.kept("conv_a") == ["conv_a-1"]
    assert BEGAN < ENDED


def test_what_has_failed_unannounced_can_be_announced_no_more(db: Driver) -> None:
    key = db.begin(began(conversation()))
    db.fail(key, FAILED)
    with pytest.raises(NotFound, match="conv_a"):
        db.announce(HERE, "conv_a")
