"""A branch copies nothing, and what it stands on stays as long as it does, in whatever order they go (D6)."""

from __future__ import annotations

from itertools import permutations

import pytest

from causerie.errors import NotFound
from causerie.stores.base import ConversationRow, Range, Segment

from .driving import Driver
from .rows import END, ENDED, FAILED, HERE, branch, entries, next_run

FAMILY = ("conv_a", "conv_b", "conv_c", "conv_d")


def family(db: Driver) -> dict[str, ConversationRow]:
    """A of four entries; B on two of A; C on four of B, so on A and B; D on three of A."""
    a = db.made("conv_a", 4)
    b = db.wrote(branch(a, 2, "conv_b", entries(2, 5, "conv_b"), run="run_b"))
    c = db.wrote(branch(b, 4, "conv_c", entries(4, 6, "conv_c"), run="run_c"))
    d = db.wrote(branch(a, 3, "conv_d", entries(3, 4, "conv_d"), run="run_d"))
    return {row.id: row for row in (a, b, c, d)}


READS = {
    "conv_a": ["conv_a-1", "conv_a-2", "conv_a-3", "conv_a-4"],
    "conv_b": ["conv_a-1", "conv_a-2", "conv_b-3", "conv_b-4", "conv_b-5"],
    "conv_c": ["conv_a-1", "conv_a-2", "conv_b-3", "conv_b-4", "conv_c-5", "conv_c-6"],
    "conv_d": ["conv_a-1", "conv_a-2", "conv_a-3", "conv_d-4"],
}
"""What each of the family reads: what a store that copied would have copied."""


def test_a_branch_reads_what_it_stands_on_and_then_its_own(db: Driver) -> None:
    rows = family(db)
    assert {id_: db.read(row) for id_, row in rows.items()} == READS
    assert rows["conv_c"].segments == (Segment("conv_a", 2), Segment("conv_b", 4))
    assert (rows["conv_c"].parent_id, rows["conv_c"].parent_entry_id) == ("conv_b", "conv_b-4")
    assert db.page(HERE, offset=0, limit=1, metadata={}) == [rows["conv_d"]]
    assert {id_: len(db.kept(id_)) for id_ in FAMILY} == {"conv_a": 4, "conv_b": 3, "conv_c": 2, "conv_d": 1}


def test_a_branch_of_a_branch_cut_in_the_common_part_stands_on_the_owner_alone(db: Driver) -> None:
    b = family(db)["conv_b"]
    again = db.wrote(branch(b, 1, "conv_e", entries(1, 2, "conv_e"), run="run_e"))
    assert again.segments == (Segment("conv_a", 1),)
    assert db.read(again) == ["conv_a-1", "conv_e-2"]


def test_neither_side_sees_what_the_other_appends(db: Driver) -> None:
    rows = family(db)
    db.grown(rows["conv_a"], run="run_more_a")
    db.grown(rows["conv_b"], run="run_more_b")

    assert db.read(db.load(HERE, "conv_a")) == [*READS["conv_a"], "conv_a-5"]
    assert db.read(db.load(HERE, "conv_b")) == [*READS["conv_b"], "conv_b-6"]
    assert db.read(db.load(HERE, "conv_c")) == READS["conv_c"]
    assert db.read(db.load(HERE, "conv_d")) == READS["conv_d"]


@pytest.mark.parametrize("order", [*permutations(FAMILY)], ids="-".join)
def test_whoever_goes_first_the_others_read_the_same(db: Driver, order: tuple[str, ...]) -> None:
    rows = family(db)
    for gone in order:
        db.delete(HERE, gone, ENDED)
        del rows[gone]
        db.refusal(NotFound, lambda gone=gone: db.load(HERE, gone))
        needed = {entry for id_ in rows for entry in READS[id_]}
        assert {id_: db.read(row) for id_, row in rows.items()} == {id_: READS[id_] for id_ in rows}
        assert {entry for id_ in FAMILY for entry in db.kept(id_)} == needed
    assert db.page(HERE, offset=0, limit=10, metadata={}) == []


def test_what_is_beyond_the_last_branch_goes_at_once(db: Driver) -> None:
    rows = family(db)
    db.delete(HERE, "conv_a", ENDED)
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2", "conv_a-3"]
    db.delete(HERE, "conv_d", ENDED)
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]
    assert db.read(rows["conv_c"]) == READS["conv_c"]


def test_what_was_deleted_can_be_deleted_once(db: Driver) -> None:
    family(db)
    db.delete(HERE, "conv_a", ENDED)
    db.refusal(NotFound, lambda: db.delete(HERE, "conv_a", ENDED))
    assert db.read(db.load(HERE, "conv_b")) == READS["conv_b"]


def test_what_was_deleted_cannot_be_run(db: Driver) -> None:
    a = family(db)["conv_a"]
    db.delete(HERE, "conv_a", ENDED)
    db.refusal(NotFound, lambda: db.begin(next_run(a, entries(4, 5))))


def test_a_branch_is_refused_when_its_ground_went_meanwhile(db: Driver) -> None:
    parent = db.made(count=3)
    start = branch(parent, 2, written=entries(2, 3, "conv_b"))
    db.delete(HERE, "conv_a", ENDED)

    db.refusal(NotFound, lambda: db.begin(start))

    assert db.kept("conv_b") == []
    db.refusal(NotFound, lambda: db.load(HERE, "conv_b"))


def test_a_branch_is_refused_when_only_a_shorter_one_kept_its_ground(db: Driver) -> None:
    parent = db.made(count=4)
    start = branch(parent, 3, "conv_c", run="run_c")
    db.wrote(branch(parent, 2))
    db.delete(HERE, "conv_a", ENDED)
    db.refusal(NotFound, lambda: db.begin(start))
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]


@pytest.mark.parametrize("announced", [False, True])
def test_a_branch_still_being_made_holds_its_ground(db: Driver, announced: bool) -> None:
    parent = db.made(count=3)
    key = db.begin(branch(parent, 2, written=entries(2, 3, "conv_b"), announced=announced))
    db.delete(HERE, "conv_a", ENDED)
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]

    db.commit(key, entries(3, 4, "conv_b"), start=2, head=4, end=END)
    assert db.read(db.load(HERE, "conv_b")) == ["conv_a-1", "conv_a-2", "conv_b-3", "conv_b-4"]


def test_a_branch_that_fails_lets_go_of_ground_that_was_deleted(db: Driver) -> None:
    parent = db.made(count=3)
    key = db.begin(branch(parent, 2, written=entries(2, 3, "conv_b")))
    db.delete(HERE, "conv_a", ENDED)
    db.fail(key, FAILED)
    assert db.kept("conv_a") == []
    assert db.kept("conv_b") == []


def test_a_hundred_regenerations_stay_one_segment_deep(db: Driver) -> None:
    latest = db.made(count=2)
    for turn in range(100):
        cut = latest if turn == 0 else db.load(HERE, f"conv_{turn:03}")
        latest = db.wrote(
            branch(cut, 1, f"conv_{turn + 1:03}", entries(1, 2, f"conv_{turn + 1:03}"), run=f"run_{turn}")
        )
    assert latest.segments == (Segment("conv_a", 1),)
    assert db.read(latest) == ["conv_a-1", "conv_100-2"]


@pytest.mark.parametrize(
    ("upto", "expected"),
    [
        (0, []),
        (1, [Range("conv_a", 0, 1)]),
        (2, [Range("conv_a", 0, 2)]),
        (3, [Range("conv_a", 0, 2), Range("conv_b", 2, 3)]),
        (5, [Range("conv_a", 0, 2), Range("conv_b", 2, 4), Range("conv_c", 4, 5)]),
        (None, [Range("conv_a", 0, 2), Range("conv_b", 2, 4), Range("conv_c", 4, 6)]),
    ],
)
def test_a_conversation_can_be_read_up_to_a_position(db: Driver, upto: int | None, expected: list[Range]) -> None:
    row = family(db)["conv_c"]
    assert row.ranges(upto) == expected
    read = [found.id for found in db.entries(HERE, row.ranges(upto))]
    assert read == READS["conv_c"][: 6 if upto is None else upto]
