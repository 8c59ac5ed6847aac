"""What is read: entries in order, messages alone, a single entry's place, pages of conversations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from causerie.stores.base import ConversationRow, Place, Range

from .driving import Driver
from .rows import ENDED, HERE, began, branch, conversation, entries, entry, next_run

KINDS = ("message.input", "message.output", "function.call", "function.result", "tool.execution", "agent.handoff")


def every_kind(db: Driver) -> ConversationRow:
    """A conversation with an entry of each kind."""
    written = [entry(position, kind=kind) for position, kind in enumerate(KINDS, 1)]
    return db.wrote(began(conversation(), written))


def pages(db: Driver, limit: int, wanted: dict[str, Any] | None = None) -> list[str]:
    """Return the ids of all pages of a list."""
    found, offset = list[str](), 0
    while page := db.page(HERE, offset=offset, limit=limit, metadata=wanted or {}):
        assert len(page) <= limit
        found += [row.id for row in page]
        offset += limit
    return found


def labelled(db: Driver, **metadata: Any) -> None:
    """Make a conversation for each keyword: its id, and its metadata."""
    for name, value in metadata.items():
        db.wrote(began(conversation(name, metadata=msgspec.json.encode(value)), entries(0, 1, name), run=f"run_{name}"))


def test_entries_come_in_the_order_of_their_positions(db: Driver) -> None:
    row = db.made(count=3)
    key = db.begin(next_run(row, [entry(5), entry(4)]))
    db.journal(key, [entry(6)])
    assert db.kept("conv_a") == [f"conv_a-{position}" for position in range(1, 7)]


def test_bodies_are_the_bytes_that_were_given(db: Driver) -> None:
    row = every_kind(db)
    assert db.bodies(HERE, row.ranges()) == [entry(position, kind=kind).body for position, kind in enumerate(KINDS, 1)]


def test_messages_are_those_of_either_side(db: Driver) -> None:
    row = every_kind(db)
    found = db.bodies(HERE, row.ranges(), messages_only=True)
    assert found == [entry(1, kind=KINDS[0]).body, entry(2, kind=KINDS[1]).body]


def test_several_ranges_are_read_one_after_the_other(db: Driver) -> None:
    db.made("conv_a", 4)
    db.made("conv_b", 4)
    ranges = [Range("conv_b", 2, 3), Range("conv_a", 0, 2), Range("conv_a", 9, 12), Range("conv_a", 3, 3)]
    assert [row.id for row in db.entries(HERE, ranges)] == ["conv_b-3", "conv_a-1", "conv_a-2"]
    assert db.bodies(HERE, []) == []


def test_one_workspace_reads_nothing_of_another(db: Driver) -> None:
    row = every_kind(db)
    assert db.entries("elsewhere", row.ranges()) == []
    assert db.bodies("elsewhere", row.ranges()) == []
    assert db.bodies("elsewhere", row.ranges(), messages_only=True) == []


def test_an_entry_is_found_with_its_owner_position_and_kind(db: Driver) -> None:
    parent = every_kind(db)
    child = db.wrote(branch(parent, 3, written=[entry(4, "conv_b")]))

    assert db.locate(HERE, child.ranges(), "conv_a-3") == Place("conv_a", 3, "function.call")
    assert db.locate(HERE, child.ranges(), "conv_b-4") == Place("conv_b", 4, "message.input")
    assert db.locate(HERE, child.ranges(), "conv_a-4") is None
    assert db.locate(HERE, parent.ranges(), "conv_b-4") is None
    assert db.locate("elsewhere", parent.ranges(), "conv_a-3") is None
    assert db.locate(HERE, parent.ranges(), "no-such-entry") is None
    assert db.locate(HERE, [], "conv_a-3") is None


def test_an_entry_that_is_not_committed_is_not_found(db: Driver) -> None:
    row = db.made()
    db.begin(next_run(row, entries(2, 3)))
    during = db.load(HERE, "conv_a")
    assert db.locate(HERE, during.ranges(), "conv_a-3") is None


def test_pages_go_from_the_newest_to_the_oldest(db: Driver) -> None:
    for id_ in ("conv_3", "conv_1", "conv_2", "conv_5", "conv_4"):
        db.made(id_, 1)
    newest_first = ["conv_5", "conv_4", "conv_3", "conv_2", "conv_1"]
    assert pages(db, 2) == newest_first
    assert pages(db, 5) == newest_first
    assert pages(db, 100) == newest_first
    assert db.page(HERE, offset=10**9 * 1000, limit=1000, metadata={}) == []


def test_appending_does_not_change_the_order(db: Driver) -> None:
    older = db.made("conv_1", 1)
    db.made("conv_2", 1)
    db.grown(older)
    assert pages(db, 1) == ["conv_2", "conv_1"]


def test_branches_are_listed_and_the_deleted_and_the_unfinished_are_not(db: Driver) -> None:
    first = db.made("conv_1", 2)
    db.wrote(branch(first, 1, "conv_2", run="run_branch"))
    db.made("conv_3", 1)
    db.begin(began(conversation("conv_4"), run="run_unfinished"))
    db.delete(HERE, "conv_1", ENDED)
    assert pages(db, 10) == ["conv_3", "conv_2"]


def test_a_filter_wants_every_pair(db: Driver) -> None:
    labelled(
        db,
        conv_1={"user": "ada", "topic": "rates"},
        conv_2={"user": "ada"},
        conv_3={"user": "bob", "topic": "rates", "more": None},
        conv_4={},
    )
    db.made("conv_5", 1)
    assert pages(db, 1, {"user": "ada"}) == ["conv_2", "conv_1"]
    assert pages(db, 1, {"user": "ada", "topic": "rates"}) == ["conv_1"]
    assert pages(db, 1, {"topic": "rates"}) == ["conv_3", "conv_1"]
    assert pages(db, 1, {"user": "carol"}) == []
    assert pages(db, 1, {"ada": "user"}) == []
    assert pages(db, 1, {"more": None}) == ["conv_3"]
    assert pages(db, 9, {}) == ["conv_5", "conv_4", "conv_3", "conv_2", "conv_1"]


@pytest.mark.parametrize(
    ("stored", "asked", "same"),
    [
        (1, 1.0, True),
        ([1.0, {"a": 2.0}], [1, {"a": 2}], True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ("é", "\u00e9", True),
        (1, True, False),
        (0, False, False),
        (1, "1", False),
        (None, "null", False),
        ([1, 2], [2, 1], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ("", None, False),
        (2**53, 2**53 + 1, False),
        ("a", "A", False),
    ],
)
def test_values_are_compared_whole_as_json(db: Driver, stored: Any, asked: Any, same: bool) -> None:
    labelled(db, conv_1={"key": stored})
    assert pages(db, 1, {"key": asked}) == (["conv_1"] if same else [])


def test_keys_may_be_anything(db: Driver) -> None:
    odd = {"": 1, "a.b": 2, "$[0]": 3, "k'\"%_": 4, "é": 5}
    labelled(db, conv_1=odd, conv_2={"a": {"b": 2}})
    for key, value in odd.items():
        assert pages(db, 1, {key: value}) == ["conv_1"]
    assert pages(db, 1, odd) == ["conv_1"]


def test_a_filter_stays_in_its_workspace_and_forgets_the_deleted(db: Driver) -> None:
    labelled(db, conv_1={"user": "ada"}, conv_2={"user": "ada"})
    db.wrote(began(conversation("conv_3", workspace="elsewhere", metadata=b'{"user":"ada"}'), run="run_elsewhere"))
    db.delete(HERE, "conv_1", ENDED)
    assert pages(db, 10, {"user": "ada"}) == ["conv_2"]


def test_a_branch_is_found_by_its_own_metadata(db: Driver) -> None:
    labelled(db, conv_1={"user": "ada"})
    parent = db.load(HERE, "conv_1")
    db.wrote(branch(parent, 1, "conv_2", metadata=b'{"user":"bob"}'))
    assert pages(db, 10, {"user": "ada"}) == ["conv_1"]
    assert pages(db, 10, {"user": "bob"}) == ["conv_2"]
