"""Agents: a row and its versions, what leads to one of them, and what a deletion leaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from causerie.errors import NotFound
from causerie.stores.base import AgentQuery, AgentRow, Store

from .conftest import Opening
from .driving import Driver, Place
from .rows import BEGAN, END, FAILED, HERE, began, conversation, entries

LATER = BEGAN + timedelta(minutes=1)
LATEST = BEGAN + timedelta(minutes=2)
EVERYTHING = AgentQuery(limit=100)


def agent(id_: str = "ag_a", **fields: Any) -> AgentRow:
    """Return a new agent; its body says its name, and metadata where it is given."""
    name, metadata = fields.pop("name", id_), fields.pop("metadata", None)
    given = {"workspace": HERE, "id": id_, "source": "api", "created_at": BEGAN, "updated_at": BEGAN, "made_at": BEGAN}
    return AgentRow(**(given | fields | {"name": name, "body": body(name, metadata)}))


def body(name: str, metadata: Any = None) -> bytes:
    return json.dumps({"name": name, "metadata": metadata}).encode()


def renamed(name: str, metadata: Any = None) -> Callable[[AgentRow], AgentRow]:
    """Return a change that gives an agent another name and other metadata."""
    return lambda row: msgspec.structs.replace(
        row, name=name, body=body(name, metadata), made_at=LATER, updated_at=LATER
    )


def found(db: Driver, **fields: Any) -> list[str]:
    """Return the ids of the agents that a query finds."""
    return [row.id for row in db.agents(HERE, EVERYTHING._replace(**fields))]


def no_such(db: Driver, *asked: Any, **fields: Any) -> str:
    return db.refusal(NotFound, lambda: db.agent(*asked, **fields))


def test_an_agent_is_read_as_it_was_written(db: Driver) -> None:
    row = agent(deployment_chat=True, source="playground")
    db.add_agent(row)
    assert db.agent(HERE, "ag_a") == row
    assert db.agent(HERE, "ag_a", 0) == row
    assert db.agents(HERE, EVERYTHING) == [row]


def test_a_change_makes_a_version_that_is_current(db: Driver) -> None:
    db.add_agent(agent(name="one"))
    changed = db.change_agent(HERE, "ag_a", renamed("two"))
    assert (changed.version, changed.latest, changed.current, changed.name) == (1, 1, 1, "two")
    assert db.agent(HERE, "ag_a") == changed
    old = db.agent(HERE, "ag_a", 0)
    assert (old.version, old.latest, old.current, old.name, old.body) == (0, 1, 1, "one", body("one"))
    assert (old.created_at, old.made_at, old.updated_at) == (BEGAN, BEGAN, LATER)
    assert [row.version for row in db.agent_versions(HERE, "ag_a", offset=0, limit=9)] == [1, 0]
    assert [row.version for row in db.agent_versions(HERE, "ag_a", offset=1, limit=1)] == [0]
    assert db.agent_versions(HERE, "ag_a", offset=2, limit=1) == []


def test_changes_that_meet_build_on_each_other(db: Driver) -> None:
    db.add_agent(agent(name=""))

    def longer(row: AgentRow) -> AgentRow:
        return renamed(f"{row.name}x")(row)

    def change(store: Store) -> Any:
        return store.change_agent(HERE, "ag_a", longer)

    rows = db.together(*[change] * 20)
    assert sorted((row.version, len(row.name)) for row in rows) == [(n, n) for n in range(1, 21)]
    assert (db.agent(HERE, "ag_a").name, db.agent(HERE, "ag_a", 7).name) == ("x" * 20, "x" * 7)


def test_a_change_that_fails_leaves_nothing(db: Driver) -> None:
    db.add_agent(agent())

    def fails(row: AgentRow) -> AgentRow:
        raise LookupError(row.id)

    assert db.refusal(LookupError, lambda: db.change_agent(HERE, "ag_a", fails)) == "ag_a"
    assert db.agent(HERE, "ag_a").latest == 0


def test_a_switch_back_is_no_new_version(db: Driver) -> None:
    db.add_agent(agent(name="one"))
    db.change_agent(HERE, "ag_a", renamed("two"))
    switched = db.switch_agent(HERE, "ag_a", 0, LATEST)
    assert (switched.version, switched.current, switched.latest) == (0, 0, 1)
    assert (switched.name, switched.updated_at, switched.made_at) == ("one", LATEST, BEGAN)
    assert db.agent(HERE, "ag_a") == switched
    third = db.change_agent(HERE, "ag_a", lambda row: renamed(f"{row.name}!")(row))
    assert (third.version, third.name) == (2, "one!")
    missing = db.refusal(NotFound, lambda: db.switch_agent(HERE, "ag_a", 9, LATEST))
    assert missing == "Agent ag_a has no version 9"
    assert db.agent(HERE, "ag_a").current == 2


def test_an_alias_leads_to_its_version_until_it_moves(db: Driver) -> None:
    db.add_agent(agent(name="one"))
    db.change_agent(HERE, "ag_a", renamed("two"))
    assert tuple(db.set_alias(HERE, "ag_a", "prod", 0, BEGAN)) == ("prod", 0, BEGAN, BEGAN)
    db.set_alias(HERE, "ag_a", "beta", 1, BEGAN)
    assert db.agent(HERE, "ag_a", "prod").name == "one"
    db.switch_agent(HERE, "ag_a", 0, LATER)
    db.change_agent(HERE, "ag_a", renamed("three"))
    assert db.agent(HERE, "ag_a", "prod").name == "one"
    assert tuple(db.set_alias(HERE, "ag_a", "prod", 1, LATER)) == ("prod", 1, BEGAN, LATER)
    assert db.agent(HERE, "ag_a", "prod").name == "two"
    assert [(one.alias, one.version) for one in db.aliases(HERE, "ag_a")] == [("beta", 1), ("prod", 1)]
    db.drop_alias(HERE, "ag_a", "prod")
    assert [one.alias for one in db.aliases(HERE, "ag_a")] == ["beta"]
    assert no_such(db, HERE, "ag_a", "prod") == "Agent ag_a has no version with the alias 'prod'"


def test_what_is_missing_is_named(db: Driver) -> None:
    db.add_agent(agent())
    assert no_such(db, HERE, "ag_x") == no_such(db, HERE, "ag_x", 3) == no_such(db, HERE, "ag_x", "prod")
    assert no_such(db, HERE, "ag_x") == "Agent not found: ag_x"
    assert no_such(db, HERE, "ag_a", 1) == "Agent ag_a has no version 1"
    assert no_such(db, HERE, "ag_a", -1) == "Agent ag_a has no version -1"
    assert no_such(db, HERE, "ag_a", "prod") == "Agent ag_a has no version with the alias 'prod'"
    for call in (
        lambda: db.change_agent(HERE, "ag_x", renamed("x")),
        lambda: db.switch_agent(HERE, "ag_x", 0, LATER),
        lambda: db.set_alias(HERE, "ag_x", "prod", 0, LATER),
        lambda: db.drop_alias(HERE, "ag_x", "prod"),
        lambda: db.aliases(HERE, "ag_x"),
        lambda: db.agent_versions(HERE, "ag_x", offset=0, limit=1),
        lambda: db.delete_agent(HERE, "ag_x", LATER),
    ):
        assert db.refusal(NotFound, call) == "Agent not found: ag_x"
    named = "Agent ag_a has no version with the alias 'prod'"
    assert db.refusal(NotFound, lambda: db.drop_alias(HERE, "ag_a", "prod")) == named
    assert db.refusal(NotFound, lambda: db.set_alias(HERE, "ag_a", "prod", 1, LATER)) == "Agent ag_a has no version 1"
    assert db.missing_agents(HERE, ["ag_y", "ag_a", "ag_x"]) == ["ag_y", "ag_x"]


def test_a_workspace_sees_its_own(db: Driver) -> None:
    db.add_agent(agent(name="ours"))
    db.add_agent(agent(name="theirs", workspace="there"))
    assert db.agent(HERE, "ag_a").name == "ours"
    db.change_agent("there", "ag_a", renamed("moved"))
    db.set_alias("there", "ag_a", "prod", 1, LATER)
    assert (db.agent(HERE, "ag_a").latest, db.aliases(HERE, "ag_a")) == (0, [])
    assert [row.name for row in db.agents(HERE, EVERYTHING)] == ["ours"]
    db.delete_agent("there", "ag_a", LATER)
    assert db.agent(HERE, "ag_a").name == "ours"
    assert db.missing_agents("there", ["ag_a"]) == ["ag_a"]


def test_agents_are_found_by_what_their_current_version_has(db: Driver) -> None:
    db.add_agent(agent("ag_1", name="Élan", metadata={"team": "a", "n": 1}))
    db.add_agent(agent("ag_2", name="plan", metadata={"team": "a"}, source="playground"))
    db.add_agent(agent("ag_3", name="other", deployment_chat=True))
    assert found(db) == ["ag_3", "ag_2", "ag_1"]
    assert found(db, search="éLAN") == ["ag_1"]
    assert found(db, search="LAN") == ["ag_2", "ag_1"]
    assert found(db, search="ag_2") == ["ag_2"]
    assert found(db, name="plan") == ["ag_2"]
    assert found(db, name="pla") == []
    assert found(db, id="ag_3") == ["ag_3"]
    assert found(db, sources=["api"]) == ["ag_3", "ag_1"]
    assert found(db, sources=["api", "playground"]) == ["ag_3", "ag_2", "ag_1"]
    assert found(db, sources=[]) == []
    assert found(db, deployment_chat=True) == ["ag_3"]
    assert found(db, deployment_chat=False) == ["ag_2", "ag_1"]
    assert found(db, metadata={"team": "a"}) == ["ag_2", "ag_1"]
    assert found(db, metadata={"team": "a", "n": 1.0}) == ["ag_1"]
    db.change_agent(HERE, "ag_1", renamed("new", {"team": "b"}))
    assert (found(db, metadata={"team": "a"}), found(db, metadata={"n": 1})) == (["ag_2"], [])
    assert (found(db, metadata={"team": "b"}), found(db, name="Élan")) == (["ag_1"], [])
    db.switch_agent(HERE, "ag_1", 0, LATER)
    assert found(db, metadata={"team": "a", "n": 1}) == found(db, name="Élan") == ["ag_1"]


def test_pages_of_agents(db: Driver) -> None:
    for number in range(5):
        db.add_agent(agent(f"ag_{number}"))
    assert found(db, limit=2) == ["ag_4", "ag_3"]
    assert found(db, limit=2, offset=4) == ["ag_0"]
    assert found(db, limit=2, before="ag_3") == ["ag_2", "ag_1"]
    assert found(db, limit=2, before="ag_0") == []


def test_a_deleted_agent_is_gone(db: Driver) -> None:
    db.add_agent(agent(metadata={"team": "a"}))
    db.set_alias(HERE, "ag_a", "prod", 0, BEGAN)
    db.delete_agent(HERE, "ag_a", LATER)
    for version in (None, 0, "prod"):
        assert no_such(db, HERE, "ag_a", version) == "Agent not found: ag_a"
        assert no_such(db, HERE, "ag_a", version, deleted=True) == "Agent not found: ag_a"
    assert found(db) == found(db, metadata={"team": "a"}) == []
    assert db.refusal(NotFound, lambda: db.delete_agent(HERE, "ag_a", LATER)) == "Agent not found: ag_a"
    assert db.refusal(NotFound, lambda: db.change_agent(HERE, "ag_a", renamed("x"))) == "Agent not found: ag_a"


def test_its_versions_stay_while_a_run_may_stand_on_them(db: Driver) -> None:
    for id_ in ("ag_a", "ag_b"):
        db.add_agent(agent(id_))
        db.change_agent(HERE, id_, renamed("two"))
    start = began(conversation(), entries(0, 1))
    key = db.begin(start)
    db.delete_agent(HERE, "ag_a", LATER)
    assert no_such(db, HERE, "ag_a") == "Agent not found: ag_a"
    assert [db.agent(HERE, "ag_a", version, deleted=True).name for version in (0, 1)] == ["ag_a", "two"]
    db.fail(key, FAILED)
    db.delete_agent(HERE, "ag_b", LATER)
    for id_ in ("ag_a", "ag_b"):
        assert no_such(db, HERE, id_, 1, deleted=True) == f"Agent not found: {id_}"


def test_what_a_deletion_left_goes_when_the_store_opens(durable: Place, opened: Opening) -> None:
    with opened(durable) as db:
        db.add_agent(agent())
        db.add_agent(agent("ag_b", name="stays"))
        start = began(conversation(), entries(0, 1), announced=True)
        key = db.begin(start)
        db.delete_agent(HERE, "ag_a", LATER)
    with opened(durable) as db:
        assert db.agent(HERE, "ag_a", 0, deleted=True).name == "ag_a"
        (run,) = db.unfinished()
        key = db.adopt(run)
        db.commit(key, [], start=0, head=1, end=END)
    with opened(durable) as db:
        assert no_such(db, HERE, "ag_a", 0, deleted=True) == "Agent not found: ag_a"
        assert db.agent(HERE, "ag_b").name == "stays"


@pytest.mark.parametrize("text", ["Ünïcode", "line\nbreak", "nul\0", "", "😀"])
def test_names_are_kept_to_the_letter(db: Driver, text: str) -> None:
    db.add_agent(agent(name=text))
    assert db.agent(HERE, "ag_a").name == text
    assert found(db, name=text) == found(db, search=text) == ["ag_a"]
