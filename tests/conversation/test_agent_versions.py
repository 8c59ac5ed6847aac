"""Versions of an agent, and the names that lead to them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.raw import Raw
from tests.support.sdk import SDK, as_json


@pytest.fixture
def three(sdk: SDK) -> str:
    """Make an agent whose versions 0 to 2 have the instructions "0" to "2"; return its id."""
    made = sdk.agents.create(instructions="0")
    for number in "12":
        sdk.agents.update(agent_id=made.id, instructions=number)
    agent_id: str = made.id
    return agent_id


@pytest.mark.requirement("C-246")
def test_an_agent_is_read_at_any_version(sdk: SDK, raw: Raw, three: str) -> None:
    sdk.agents.create_version_alias(agent_id=three, alias="prod", version=1)
    for version, shown in ((0, "0"), (1, "1"), ("1", "1"), ("prod", "1"), (2, "2"), (None, "2")):
        found = sdk.agents.get(agent_id=three, agent_version=version)
        assert (found.instructions, found.version, found.versions) == (shown, int(shown), [0, 1, 2])
    assert sdk.agents.get(agent_id=three).instructions == "2"
    assert raw.get(f"/v1/agents/{three}?agent_version=00").json["version"] == 0


@pytest.mark.parametrize(
    "version", [3, -1, 10**17, 10**30, "3", "-1", "9" * 5000, "prod", "Prod", "latest", "", "é", "1.0"]
)
def test_a_version_that_is_not_there_is_not_found(sdk: SDK, raw: Raw, three: str, version: int | str) -> None:
    text = quote(str(version), safe="")
    answer = raw.get(f"/v1/agents/{three}?agent_version={text}")
    assert (answer.status, answer.json["code"]) == (404, 3404)
    assert answer.json["message"].startswith(f"Agent {three} has no version ")
    with sdk.refuses(404):
        sdk.agents.get(agent_id=three, agent_version=version)
    if version != "":
        assert raw.get(f"/v1/agents/{three}/versions/{text}").status == 404


@pytest.mark.requirement("C-255")
def test_one_version_is_read_by_its_number(sdk: SDK, three: str) -> None:
    found = sdk.agents.get_version(agent_id=three, version="1")
    assert as_json(found) == as_json(sdk.agents.get(agent_id=three, agent_version=1))
    assert (found.id, found.version, found.instructions) == (three, 1, "1")
    sdk.agents.create_version_alias(agent_id=three, alias="prod", version=0)
    assert sdk.agents.get_version(agent_id=three, version="prod").version == 0


@pytest.mark.requirement("C-251")
def test_the_current_version_is_switched(sdk: SDK, raw: Raw, three: str) -> None:
    before = sdk.agents.get(agent_id=three)
    answer = raw.request("PATCH", f"/v1/agents/{three}/version?version=0")
    assert (answer.status, answer.json["version"], answer.json["instructions"]) == (200, 0, "0")
    switched = sdk.agents.update_version(agent_id=three, version=1)
    assert (switched.version, switched.versions, switched.instructions) == (1, [0, 1, 2], "1")
    assert (switched.created_at, switched.updated_at > before.updated_at) == (before.created_at, True)
    assert as_json(sdk.agents.get(agent_id=three)) == as_json(switched)
    assert sdk.agents.get(agent_id=three, agent_version=2).instructions == "2"


@pytest.mark.requirement("C-252")
def test_the_version_may_be_in_the_body(raw: Raw, three: str) -> None:
    path = f"/v1/agents/{three}/version"
    for method, version in (("POST", 0), ("PATCH", 1)):
        answer = raw.request(method, path, {"version": version})
        assert (answer.status, answer.json["version"]) == (200, version)
        assert raw.get(f"/v1/agents/{three}").json["version"] == version


@pytest.mark.parametrize(
    ("query", "body", "loc"),
    [
        ("", None, ["query", "version"]), ("", {}, ["body", "version"]), ("?version=x", None, ["query", "version"]),
        ("?version=", None, ["query", "version"]), ("?version=1.5", None, ["query", "version"]),
        ("", {"version": "1"}, ["body", "version"]), ("", {"version": None}, ["body", "version"]),
        ("?version=1&other=2", None, ["query", "other"]), ("", {"version": 1, "other": 2}, ["body", "other"]),
        ("?version=1", {"version": 1}, ["body", "version"]),
    ],
)  # fmt: skip
def test_a_switch_says_which_version_and_nothing_else(
    raw: Raw, three: str, query: str, body: Any, loc: list[str]
) -> None:
    answer = raw.request("PATCH", f"/v1/agents/{three}/version{query}", body)
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, loc)
    assert raw.get(f"/v1/agents/{three}").json["version"] == 2


@pytest.mark.parametrize("version", [3, -1, 10**30])
def test_only_a_version_that_is_there_becomes_current(sdk: SDK, three: str, version: int) -> None:
    with sdk.refuses(404) as refusal:
        sdk.agents.update_version(agent_id=three, version=version)
    assert refusal.message == f"Agent {three} has no version {version}"
    assert sdk.agents.get(agent_id=three).version == 2


@pytest.mark.requirement("C-253")
def test_after_a_switch_back_the_next_version_is_the_highest_plus_one(sdk: SDK, three: str) -> None:
    sdk.agents.update_version(agent_id=three, version=0)
    changed = sdk.agents.update(agent_id=three, description="From 0.")
    assert (changed.version, changed.versions, changed.instructions) == (3, [0, 1, 2, 3], "0")
    assert sdk.agents.get(agent_id=three).version == 3


@pytest.mark.requirement("C-254")
def test_versions_are_listed_in_pages(sdk: SDK, raw: Raw, three: str) -> None:
    listed = sdk.agents.list_versions(agent_id=three)
    assert [one.version for one in listed] == [2, 1, 0]
    assert [as_json(one) for one in listed] == [
        as_json(sdk.agents.get(agent_id=three, agent_version=number)) for number in (2, 1, 0)
    ]
    pages = [sdk.agents.list_versions(agent_id=three, page=page, page_size=2) for page in range(3)]
    assert [[one.version for one in page] for page in pages] == [[2, 1], [0], []]
    for _ in range(19):
        sdk.agents.update(agent_id=three)
    assert len(raw.get(f"/v1/agents/{three}/versions").json) == 20
    assert len(sdk.agents.list_versions(agent_id=three, page_size=100)) == 22
    for query in ({"page": -1}, {"page_size": 0}, {"page_size": 101}):
        with sdk.refuses(422) as refusal:
            sdk.agents.list_versions(agent_id=three, **query)
        assert refusal.loc == ["query", *query]


@pytest.mark.requirement("C-256")
def test_an_alias_is_made_and_moved(sdk: SDK, raw: Raw, three: str) -> None:
    made = sdk.agents.create_version_alias(agent_id=three, alias="prod", version=0)
    assert (made.alias, made.version, made.created_at) == ("prod", 0, made.updated_at)
    sdk.agents.update_version(agent_id=three, version=1)
    assert sdk.agents.get(agent_id=three, agent_version="prod").version == 0

    answer = raw.request("PUT", f"/v1/agents/{three}/aliases?alias=prod&version=2")
    assert answer.status == 200
    assert answer.json.keys() == {"alias", "version", "created_at", "updated_at"}
    (moved,) = sdk.agents.list_version_aliases(agent_id=three)
    assert (moved.version, moved.created_at, moved.updated_at > made.updated_at) == (2, made.created_at, True)
    assert sdk.agents.get(agent_id=three, agent_version="prod").version == 2


@pytest.mark.requirement("C-257")
@pytest.mark.parametrize(
    "alias", ["", "1", "1a", "A", "Prod", "-a", "_a", "a-", "a_", "a b", "a.b", "é", "a\n", "a" * 65]
)
def test_an_alias_has_a_certain_form(sdk: SDK, raw: Raw, three: str, alias: str) -> None:
    text = quote(alias, safe="")
    for method, query in (("PUT", f"alias={text}&version=0"), ("DELETE", f"alias={text}")):
        answer = raw.request(method, f"/v1/agents/{three}/aliases?{query}")
        assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["query", "alias"])
    with sdk.refuses(422) as refusal:
        sdk.agents.create_version_alias(agent_id=three, alias=alias, version=0)
    assert refusal.loc == ["query", "alias"]
    assert sdk.agents.list_version_aliases(agent_id=three) == []


def test_an_alias_stands_for_a_version_that_is_there(sdk: SDK, raw: Raw, three: str) -> None:
    for version in (3, -1, 10**30):
        with sdk.refuses(404) as refusal:
            sdk.agents.create_version_alias(agent_id=three, alias="prod", version=version)
        assert refusal.message == f"Agent {three} has no version {version}"
    for query, missing in (("version=0", "alias"), ("alias=prod", "version"), ("alias=prod&version=x", "version")):
        answer = raw.request("PUT", f"/v1/agents/{three}/aliases?{query}")
        assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["query", missing])
    assert sdk.agents.list_version_aliases(agent_id=three) == []


@pytest.mark.requirement("C-258")
def test_aliases_are_listed_as_a_bare_array(sdk: SDK, raw: Raw, three: str) -> None:
    assert raw.get(f"/v1/agents/{three}/aliases").json == []
    names = ["a", "a-b_c9", "prod", "z" * 64]
    for number, alias in enumerate(reversed(names)):
        sdk.agents.create_version_alias(agent_id=three, alias=alias, version=number % 3)
    assert [one.alias for one in sdk.agents.list_version_aliases(agent_id=three)] == names
    assert [one["version"] for one in raw.get(f"/v1/agents/{three}/aliases").json] == [0, 2, 1, 0]


@pytest.mark.requirement("C-259")
def test_an_alias_is_deleted_once(sdk: SDK, raw: Raw, three: str) -> None:
    for alias in ("prod", "beta"):
        sdk.agents.create_version_alias(agent_id=three, alias=alias, version=0)
    answer = raw.delete(f"/v1/agents/{three}/aliases?alias=prod")
    assert (answer.status, answer.body) == (204, b"")
    for alias in ("prod", "never"):
        with sdk.refuses(404) as refusal:
            sdk.agents.delete_version_alias(agent_id=three, alias=alias)
        assert refusal.message == f"Agent {three} has no version with the alias '{alias}'"
    assert [one.alias for one in sdk.agents.list_version_aliases(agent_id=three)] == ["beta"]
    sdk.agents.delete_version_alias(agent_id=three, alias="beta")
    assert sdk.agents.list_version_aliases(agent_id=three) == []
