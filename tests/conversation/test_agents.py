"""Agents: made, read, changed into new versions, and deleted."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.replies import PATIENCE
from tests.support.samples import GET_RATE
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

REQUIRED = {
    "id", "object", "version", "versions", "created_at", "updated_at", "model", "name", "deployment_chat", "source",
}  # fmt: skip
ARGUMENTS = {
    "stop", "presence_penalty", "frequency_penalty", "temperature", "top_p", "max_tokens", "random_seed",
    "prediction", "response_format", "tool_choice", "reasoning_effort",
}  # fmt: skip
FULL: dict[str, Any] = {
    "instructions": "Be brief.",
    "tools": [GET_RATE],
    "completion_args": {"temperature": 0.5, "stop": ["."]},
    "description": "Knows rates.",
    "metadata": {"team": "a", "deep": {"n": [1, 2.5, None]}},
    "version_message": "The first.",
}


def raw_agent(raw: Raw, agent_id: str, query: str = "") -> dict[str, Any]:
    """Return an agent exactly as it is sent."""
    answer = raw.get(f"/v1/agents/{agent_id}{query}")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    found: dict[str, Any] = answer.json
    return found


def kept(agent: dict[str, Any]) -> dict[str, Any]:
    """Return of an agent what a caller gave, with only the arguments that were."""
    arguments = {name: value for name, value in agent["completion_args"].items() if value not in (None, "auto")}
    return {name: agent[name] for name in FULL} | {"completion_args": arguments}


@pytest.mark.requirement("C-240")
def test_a_new_agent_has_version_0_and_all_defaults(sdk: SDK, raw: Raw, model: Script) -> None:
    made = sdk.agents.create(model=model.name, name="Rates")
    assert (made.version, made.versions, made.name, made.model) == (0, [0], "Rates", model.name)
    assert re.fullmatch(r"ag_[0-9a-f]{32}", made.id)
    assert made.created_at == made.updated_at

    sent = raw_agent(raw, made.id)
    assert {name: value for name, value in sent.items() if name not in ("id", "created_at", "updated_at")} == {
        "object": "agent", "model": model.name, "name": "Rates", "version": 0, "versions": [0], "source": "api",
        "deployment_chat": False, "instructions": None, "tools": [], "guardrails": None, "description": None,
        "handoffs": None, "metadata": None, "version_message": None, "owner_id": None,
        "completion_args": dict.fromkeys(ARGUMENTS) | {"tool_choice": "auto"},
    }  # fmt: skip


KINDS: dict[str, dict[str, Any]] = {
    "web_search": {},
    "web_search_premium": {"tool_configuration": {"include": ["news"]}},
    "code_interpreter": {"tool_configuration": None},
    "image_generation": {"tool_configuration": {"exclude": ["other"]}},
    "document_library": {"library_ids": ["5b1c0e7e-8a3f-4d2a-9f53-0d4e2a7f9f3c"]},
    "connector": {
        "connector_id": "mail", "authorization": {"type": "api-key", "value": "secret"},
        "tool_configuration": {"include": ["connector"], "requires_confirmation": ["connector"]},
    },
}  # fmt: skip
"""Everything that a server can run."""


@pytest.mark.requirement("C-242")
def test_an_agent_can_have_every_kind_of_tool(
    serve: Callable[..., str], connect: Callable[[str], SDK], model: Script
) -> None:
    toolsets = {kind: ScriptedToolset(kind) for kind in KINDS}
    url = serve(toolsets=toolsets)
    sdk, raw = connect(url), Raw(url)
    tools = [GET_RATE, *({"type": kind, **more} for kind, more in KINDS.items())]
    made = sdk.agents.create(model=model.name, name="All", tools=tools)

    assert raw_agent(raw, made.id)["tools"] == tools
    assert [tool.type for tool in sdk.agents.get(agent_id=made.id).tools] == ["function", *KINDS]
    assert as_json(sdk.agents.update(agent_id=made.id, tools=tools[::-1]))["version"] == 1
    assert raw_agent(raw, made.id)["tools"] == tools[::-1]
    offered = {"get_rate", *KINDS} - {"web_search_premium"}  # which has no such sub-tool
    model.calls(*((kind, {}) for kind in sorted(offered)))
    outputs = sdk.start(inputs="All.", agent_id=made.id).outputs
    assert {tool["function"]["name"] for tool in model.last.tools} == offered
    assert {kind for kind, toolset in toolsets.items() if toolset.calls} == offered - {"get_rate", "connector"}
    waiting = {output.name: output.confirmation_status for output in outputs if output.type == "function.call"}
    assert waiting.pop("connector") == "pending"
    assert [*waiting] == ["get_rate"]


@pytest.mark.requirement("C-241")
def test_an_agent_always_has_what_either_sdk_requires(sdk: SDK, raw: Raw) -> None:
    made = sdk.agents.create(**FULL)
    sdk.agents.update(agent_id=made.id, instructions="More.")
    sdk.agents.create_version_alias(agent_id=made.id, alias="prod", version=0)
    path = f"/v1/agents/{made.id}"
    for answer in (
        raw.get(path), raw.get(f"{path}?agent_version=prod"), raw.get(f"{path}/versions/0"),
        raw.request("PATCH", path, {}), raw.request("PATCH", f"{path}/version?version=0"),
        raw.post("/v1/agents", {"model": "m", "name": "n"}),
    ):  # fmt: skip
        assert answer.status == 200
        assert answer.json.keys() >= REQUIRED
    listed = [*raw.get("/v1/agents").json, *raw.get("/v1/agents/pages").json["data"], *raw.get(f"{path}/versions").json]
    assert len(listed) > 3
    assert [one for one in listed if not one.keys() >= REQUIRED] == []


@pytest.mark.requirement("C-245", "C-265")
def test_an_agent_is_read_as_it_was_made(sdk: SDK, raw: Raw) -> None:
    made = sdk.agents.create(**FULL)
    assert as_json(sdk.agents.get(agent_id=made.id)) == as_json(made)
    sent = raw_agent(raw, made.id)
    assert kept(sent) == FULL
    assert sent["metadata"]["deep"] == {"n": [1, 2.5, None]}


def test_an_agent_can_have_tools_that_the_server_runs(serve: Callable[..., str], connect: Callable[[str], SDK]) -> None:
    kinds = ["web_search", "web_search_premium", "code_interpreter", "image_generation", "document_library"]
    url = serve(toolsets={kind: ScriptedToolset(kind) for kind in kinds})
    sdk, raw = connect(url), Raw(url)
    tools: list[dict[str, Any]] = [
        GET_RATE, {"type": "web_search"}, {"type": "web_search_premium", "tool_configuration": {"include": ["news"]}},
        {"type": "code_interpreter", "tool_configuration": None}, {"type": "image_generation"},
        {"type": "document_library", "library_ids": ["lib-1", "lib-2"]},
    ]  # fmt: skip
    made = sdk.agents.create(tools=tools)
    assert raw_agent(raw, made.id)["tools"] == tools
    changed = sdk.agents.update(agent_id=made.id, tools=made.tools[1:])
    assert raw_agent(raw, changed.id)["tools"] == tools[1:]


@pytest.mark.requirement("C-247", "C-245")
def test_an_update_makes_the_next_version_which_is_current(sdk: SDK, raw: Raw) -> None:
    made = sdk.agents.create(**FULL)
    first = raw_agent(raw, made.id)
    changed = sdk.agents.update(agent_id=made.id, instructions="Be long.", model="other")
    assert (changed.id, changed.version, changed.versions) == (made.id, 1, [0, 1])
    assert (changed.instructions, changed.model) == ("Be long.", "other")
    assert changed.created_at == made.created_at
    assert changed.updated_at > made.updated_at
    assert as_json(sdk.agents.get(agent_id=made.id)) == as_json(changed)
    again = sdk.agents.update(agent_id=made.id)
    assert (again.version, again.versions, again.instructions) == (2, [0, 1, 2], "Be long.")
    # What was is as it was, but that the agent has more versions now.
    assert raw_agent(raw, made.id, "?agent_version=0") == first | {"versions": [0, 1, 2]}


@pytest.mark.requirement("C-248")
@pytest.mark.parametrize("name", ["name", "model", *FULL, "deployment_chat"])
def test_an_update_keeps_what_it_does_not_name(sdk: SDK, raw: Raw, name: str) -> None:
    new: dict[str, Any] = {
        "name": "New", "model": "new", "instructions": "New.", "tools": [], "completion_args": {"top_p": 0.5},
        "description": "New.", "metadata": {"new": True}, "version_message": "New.", "deployment_chat": True,
    }  # fmt: skip
    made = sdk.agents.create(**FULL)
    before = raw_agent(raw, made.id)
    sdk.agents.update(agent_id=made.id, **{name: new[name]})
    after = raw_agent(raw, made.id)

    moved = {"version": 1, "versions": [0, 1], "updated_at": after["updated_at"]}
    if name == "completion_args":
        moved["completion_args"] = dict.fromkeys(ARGUMENTS) | {"tool_choice": "auto", "top_p": 0.5}
    else:
        moved[name] = new[name]
    assert after == before | moved


@pytest.mark.requirement("C-249")
@pytest.mark.parametrize(
    "name", ["instructions", "guardrails", "description", "handoffs", "metadata", "version_message"]
)
def test_null_clears(sdk: SDK, raw: Raw, name: str) -> None:
    other = sdk.agents.create()
    made = sdk.agents.create(**FULL, handoffs=[other.id])
    before = raw_agent(raw, made.id)
    cleared = sdk.agents.update(agent_id=made.id, **{name: None})
    assert not getattr(cleared, name)
    after = raw_agent(raw, made.id)
    assert after == before | {name: None, "version": 1, "versions": [0, 1], "updated_at": after["updated_at"]}


@pytest.mark.requirement("C-249")
def test_null_changes_nothing_that_an_agent_is_never_without(sdk: SDK, raw: Raw, model: Script) -> None:
    made = sdk.agents.create(name="Rates")
    sdk.agents.update(agent_id=made.id, deployment_chat=True)
    changed = sdk.agents.update(agent_id=made.id, name=None, model=None, deployment_chat=None)
    assert (changed.name, changed.model, changed.deployment_chat, changed.version) == ("Rates", model.name, True, 2)
    for name in ("tools", "completion_args"):
        for method, path in (("PATCH", f"/v1/agents/{made.id}"), ("POST", "/v1/agents")):
            answer = raw.request(method, path, {"model": "m", "name": "n", name: None})
            assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", name])


@pytest.mark.requirement("C-250")
def test_post_updates_as_patch_does(sdk: SDK, raw: Raw) -> None:
    made = sdk.agents.create(**FULL)
    answer = raw.post(f"/v1/agents/{made.id}", {"instructions": "By POST."})
    assert (answer.status, answer.json["version"], answer.json["instructions"]) == (200, 1, "By POST.")
    assert sdk.agents.get(agent_id=made.id).instructions == "By POST."


@pytest.mark.requirement("C-243")
def test_a_version_can_have_a_message(sdk: SDK, raw: Raw) -> None:
    longest = "é" * 500
    made = sdk.agents.create(version_message=longest)
    changed = sdk.agents.update(agent_id=made.id, version_message="Second.", instructions="Be brief.")
    assert (made.version_message, changed.version_message) == (longest, "Second.")
    assert [one.version_message for one in sdk.agents.list_versions(agent_id=made.id)] == ["Second.", longest]
    for call in (
        lambda: sdk.agents.create(version_message=longest + "e"),
        lambda: sdk.agents.update(agent_id=made.id, version_message=longest + "e"),
    ):
        with sdk.refuses(422) as refusal:
            call()
        assert refusal.loc == ["body", "version_message"]
    assert raw_agent(raw, made.id)["version"] == 1


def test_two_updates_at_once_are_two_versions(sdk: SDK, raw: Raw, meanwhile: Callable[..., Future[Any]]) -> None:
    made = sdk.agents.create()
    names = ["instructions", "description", "version_message"] * 4
    updates = [
        meanwhile(raw.request, "PATCH", f"/v1/agents/{made.id}", {name: f"{number} {name}"})
        for number, name in enumerate(names)
    ]
    answers = [update.result(PATIENCE).json for update in updates]
    assert sorted(answer["version"] for answer in answers) == [*range(1, len(names) + 1)]
    # None has overwritten what another has changed.
    last = sdk.agents.get(agent_id=made.id)
    assert all(getattr(last, name).endswith(name) for name in names)
    for answer in answers:
        assert raw_agent(raw, made.id, f"/versions/{answer['version']}")["instructions"] == answer["instructions"]


@pytest.mark.requirement("C-264")
def test_a_deleted_agent_is_gone(sdk: SDK, raw: Raw) -> None:
    made = sdk.agents.create(metadata={"of": "deletion"})
    sdk.agents.update(agent_id=made.id, instructions="More.")
    sdk.agents.create_version_alias(agent_id=made.id, alias="prod", version=0)
    answer = raw.delete(f"/v1/agents/{made.id}")
    assert (answer.status, answer.body, "content-type" in answer.headers) == (204, b"", False)

    one: dict[str, Any] = {"agent_id": made.id}
    for call in (
        lambda: sdk.agents.get(**one), lambda: sdk.agents.get(**one, agent_version=0),
        lambda: sdk.agents.get(**one, agent_version="prod"), lambda: sdk.agents.get_version(**one, version="1"),
        lambda: sdk.agents.update(**one, name="x"), lambda: sdk.agents.update_version(**one, version=0),
        lambda: sdk.agents.list_versions(**one), lambda: sdk.agents.list_version_aliases(**one),
        lambda: sdk.agents.create_version_alias(**one, alias="prod", version=0),
        lambda: sdk.agents.delete_version_alias(**one, alias="prod"), lambda: sdk.agents.delete(**one),
    ):  # fmt: skip
        with sdk.refuses(404) as refusal:
            call()
        assert refusal.message == f"Agent not found: {made.id}"
    assert [one for one in raw.get("/v1/agents?page_size=1000").json if one["id"] == made.id] == []
    assert sdk.agents.list(metadata={"of": "deletion"}) == []


def test_agents_outlive_the_server(connect: Callable[[str], SDK], tmp_path: Path) -> None:
    with serving(data=str(tmp_path)) as url:
        sdk = connect(url)
        made = sdk.agents.create(**FULL)
        changed = as_json(sdk.agents.update(agent_id=made.id, instructions="More."))
        sdk.agents.create_version_alias(agent_id=made.id, alias="prod", version=0)
    with serving(data=str(tmp_path)) as url:
        again = connect(url)
        assert as_json(again.agents.get(agent_id=made.id)) == changed
        assert again.agents.get(agent_id=made.id, agent_version="prod").instructions == "Be brief."
        assert [one.id for one in again.agents.list(metadata={"team": "a"})] == [made.id]
