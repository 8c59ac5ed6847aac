"""What was said of calls: written with a commit, told with the conversation, seen by branches that are cut behind."""

from __future__ import annotations

import msgspec
import pytest

from causerie.errors import Conflict
from causerie.stores.base import WAITED, Recorded, Reservation, Settlement

from .driving import Driver
from .rows import END, FAILED, HERE, PROGRESS, branch, entries, next_run

ALLOWED, DENIED = Settlement(3, "conv_a-1", "allowed"), Settlement(3, "conv_a-2", "denied")
SAID = msgspec.structs.replace(END, settlements=[DENIED, ALLOWED])


def test_settlements_come_with_their_conversation(db: Driver) -> None:
    row = db.made("conv_a", 2)
    assert row.settlements == ()
    key = db.begin(next_run(row, run="run_b"))
    db.journal(key, entries(2, 3), msgspec.structs.replace(PROGRESS, settlements=[ALLOWED]))
    assert db.load(HERE, "conv_a").settlements == (), "only what is committed counts"
    db.commit(key, [], start=2, head=3, end=SAID)
    assert db.load(HERE, "conv_a").settlements == (ALLOWED, DENIED)
    assert [found.settlements for found in db.page(HERE, offset=0, limit=9, metadata={})] == [()]


def test_a_failed_run_settles_nothing(db: Driver) -> None:
    key = db.begin(next_run(db.made("conv_a", 2), run="run_b"))
    db.fail(key, msgspec.structs.replace(FAILED, settlements=[ALLOWED]))
    assert db.load(HERE, "conv_a").settlements == ()


def test_a_conversation_without_entries_of_its_own_has_settlements(db: Driver) -> None:
    db.made("conv_a", 2)
    b = db.wrote(branch(db.load(HERE, "conv_a"), 2, "conv_b", run="run_b"))
    db.wrote(next_run(b, run="run_c"), end=SAID)
    assert db.load(HERE, "conv_b").settlements == (ALLOWED, DENIED)
    assert db.load(HERE, "conv_a").settlements == ()


@pytest.mark.parametrize("deleted", [False, True])
def test_branches_see_what_stands_before_their_cut(db: Driver, deleted: bool) -> None:
    row = db.wrote(next_run(db.made("conv_a", 2), entries(2, 4), run="run_b"), end=SAID)
    db.wrote(branch(row, 2, "conv_b", entries(2, 3, "conv_b"), run="run_c"))
    db.wrote(branch(row, 3, "conv_c", entries(3, 4, "conv_c"), run="run_d"))
    db.wrote(branch(db.load(HERE, "conv_c"), 4, "conv_d", entries(4, 5, "conv_d"), run="run_e"))
    if deleted:
        db.delete(HERE, "conv_a", END.ended_at)
    assert db.load(HERE, "conv_b").settlements == ()
    assert db.load(HERE, "conv_c").settlements == db.load(HERE, "conv_d").settlements == (ALLOWED, DENIED)


def test_a_record_holds_as_long_as_its_call_waits(db: Driver) -> None:
    row = db.made("conv_a", 2)
    calls = [Reservation(key=key, tool="t", arguments=b"{}") for key in (f"{WAITED}conv_a-1", f"{WAITED}x", "2:d:1")]
    key = db.begin(next_run(row, run="run_b"))
    assert [db.reserve(key, call) for call in calls] == [None] * 3
    for call in calls:
        db.settle(key, call.key, b'"done"')
    db.fail(key, FAILED)
    key = db.begin(next_run(row, run="run_c"))
    assert [db.reserve(key, call) for call in calls] == [Recorded(b'"done"')] * 3
    db.commit(key, [], start=2, head=2, end=msgspec.structs.replace(END, settlements=[ALLOWED]))
    key = db.begin(next_run(row, run="run_d"))
    assert [db.reserve(key, call) for call in calls] == [None, Recorded(b'"done"'), None]


def test_a_run_does_not_begin_on_a_call_that_was_spoken_of_since(db: Driver) -> None:
    """A denial that other calls are left of moves no head."""
    row = db.made("conv_a", 2)
    late = msgspec.structs.replace(next_run(row, run="run_c"), waiting=["conv_a-1", "conv_a-2"])
    key = db.begin(next_run(row, run="run_b"))
    db.commit(key, [], start=2, head=2, end=msgspec.structs.replace(END, settlements=[DENIED]))
    assert "just ended" in db.refusal(Conflict, lambda: db.begin(late))
    db.begin(msgspec.structs.replace(late, waiting=["conv_a-1"]))
