"""Who has lost the right to write writes nothing more: the fencing number decides, never a clock (D2, D6)."""

from __future__ import annotations

from causerie.errors import Conflict, NotFound
from causerie.stores.base import RunKey

from .driving import Driver, lost
from .rows import END, ENDED, FAILED, HERE, began, branch, conversation, entries, next_run


def test_each_run_of_a_conversation_gets_a_higher_number(db: Driver) -> None:
    row, fences = db.made(), list[int]()
    for turn in range(3):
        key: RunKey = db.begin(next_run(row, run=f"run_{turn}"))
        assert (key.workspace, key.conversation_id, key.run_id) == (HERE, "conv_a", f"run_{turn}")
        fences.append(key.fence)
        db.fail(key, FAILED)
    assert fences == sorted(set(fences))


def test_a_run_that_failed_writes_nothing_more(db: Driver) -> None:
    row = db.made()
    key = db.begin(next_run(row, entries(2, 3)))
    db.fail(key, FAILED)

    for message in lost(db, key, start=2, kind=Conflict):
        assert key.run_id in message
    assert db.load(HERE, "conv_a") == row
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]


def test_a_run_that_was_overtaken_changes_nothing_of_its_successor(db: Driver) -> None:
    row = db.made()
    old = db.begin(next_run(row, entries(2, 3), run="run_old"))
    db.fail(old, FAILED)
    new = db.begin(next_run(row, entries(2, 3), run="run_new"))

    lost(db, old, start=2, kind=Conflict)
    db.fail(old, FAILED)

    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2", "conv_a-3"]
    assert db.load(HERE, "conv_a").run_id == "run_new"
    db.commit(new, [], start=2, head=3, end=END)
    assert db.load(HERE, "conv_a").head == 3


def test_an_old_number_counts_for_nothing_even_under_the_same_run(db: Driver) -> None:
    row = db.made()
    key = db.begin(next_run(row, entries(2, 3)))
    for fence in (key.fence - 1, key.fence + 1):
        forged = key._replace(fence=fence)
        lost(db, forged, start=2, kind=Conflict)
        db.fail(forged, FAILED)
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2", "conv_a-3"]
    assert db.load(HERE, "conv_a").run_id == key.run_id


def test_another_run_cannot_use_the_number(db: Driver) -> None:
    row = db.made()
    key = db.begin(next_run(row, entries(2, 3)))
    forged = key._replace(run_id="run_other")
    lost(db, forged, start=2, kind=Conflict)
    db.fail(forged, FAILED)
    assert db.load(HERE, "conv_a").run_id == key.run_id


def test_another_workspace_cannot_use_the_key(db: Driver) -> None:
    key = db.begin(next_run(db.made(), entries(2, 3)))
    lost(db, key._replace(workspace="elsewhere"), start=2, kind=Conflict)
    assert db.load(HERE, "conv_a").run_id == key.run_id


def test_a_run_commits_once(db: Driver) -> None:
    key = db.begin(next_run(db.made(), entries(2, 3)))
    db.commit(key, [], start=2, head=3, end=END)

    lost(db, key, start=3, kind=Conflict)
    db.fail(key, FAILED)

    row = db.load(HERE, "conv_a")
    assert (row.head, db.read(row)) == (3, ["conv_a-1", "conv_a-2", "conv_a-3"])


def test_the_head_moves_only_from_where_the_run_started(db: Driver) -> None:
    key = db.begin(next_run(db.made(), entries(2, 3)))
    db.refusal(Conflict, lambda: db.commit(key, entries(3, 4), start=1, head=4, end=END))

    assert db.load(HERE, "conv_a").head == 2
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2", "conv_a-3"]
    db.commit(key, entries(3, 4), start=2, head=4, end=END)


def test_deleting_wins_over_a_run(db: Driver) -> None:
    key = db.begin(next_run(db.made(), entries(2, 3)))
    db.journal(key, entries(3, 4))
    db.delete(HERE, "conv_a", ENDED)

    lost(db, key, start=2, kind=Conflict)
    db.fail(key, FAILED)
    db.refusal(NotFound, lambda: db.load(HERE, "conv_a"))
    assert db.kept("conv_a") == []


def test_deleting_wins_over_a_run_whose_beginning_a_branch_stands_on(db: Driver) -> None:
    parent = db.made(count=3)
    child = db.wrote(branch(parent, 2, written=entries(2, 3, "conv_b")))
    key = db.begin(next_run(parent, entries(3, 4)))
    db.delete(HERE, "conv_a", ENDED)

    lost(db, key, start=3, kind=Conflict)
    db.fail(key, FAILED)
    assert db.kept("conv_a") == ["conv_a-1", "conv_a-2"]
    assert db.read(child) == ["conv_a-1", "conv_a-2", "conv_b-3"]


def test_deleting_wins_over_a_streamed_start(db: Driver) -> None:
    key = db.begin(began(conversation(), entries(0, 1), announced=True))
    db.delete(HERE, "conv_a", ENDED)
    lost(db, key, start=0, kind=Conflict)
    db.fail(key, FAILED)
    assert db.kept("conv_a") == []
    assert db.page(HERE, offset=0, limit=10, metadata={}) == []
