"""What an agent cannot be, and what is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.samples import GET_RATE, GET_TIME
from tests.support.sdk import SDK

UNKNOWN = "ag_019fce791e4b7c0d8f6b2a5c3d4e5f60"


class Refused:
    """Sends what should be refused, as a new agent and as a change of one, and sees that neither leaves anything."""

    def __init__(self, sdk: SDK, raw: Raw) -> None:
        self.raw = raw
        self.agent: str = sdk.agents.create(description="As it was.").id

    def by(self, status: int, body: dict[str, Any]) -> list[dict[str, Any]]:
        """Return what was answered to each."""
        newest = self.raw.get("/v1/agents?page_size=1").json
        answers = [
            self.raw.post("/v1/agents", {"model": "m", "name": "n"} | body),
            self.raw.request("PATCH", f"/v1/agents/{self.agent}", body),
        ]
        assert [answer.status for answer in answers] == [status] * 2, [answer.body for answer in answers]
        assert self.raw.get("/v1/agents?page_size=1").json == newest
        assert self.raw.get(f"/v1/agents/{self.agent}").json["versions"] == [0]
        return [answer.json for answer in answers]

    def at(self, loc: list[str | int], body: dict[str, Any]) -> str:
        """See that a field is refused; return why."""
        answers = self.by(422, body)
        assert [answer["detail"][0]["loc"] for answer in answers] == [loc] * 2
        message: str = answers[0]["message"]
        return message


@pytest.fixture
def refused(sdk: SDK, raw: Raw) -> Refused:
    """Give an agent that nothing changes."""
    return Refused(sdk, raw)


@pytest.mark.parametrize(
    "body", [{"name": "n"}, {"model": "m"}, {"model": None, "name": "n"}, {"model": "m", "name": None}]
)
def test_an_agent_needs_a_model_and_a_name(raw: Raw, body: dict[str, Any]) -> None:
    answer = raw.post("/v1/agents", body)
    (missing,) = {"model", "name"} - {name for name, value in body.items() if value}
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", missing])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", ""), ("name", ""), ("model", 1), ("name", ["n"]), ("instructions", 1), ("description", {}),
        ("tools", {}), ("completion_args", []), ("metadata", "text"), ("metadata", []), ("version_message", 5),
        ("handoffs", "ag_x"),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_kind_is_refused_by_name(refused: Refused, field: str, value: Any) -> None:
    assert refused.at(["body", field], {field: value})


@pytest.mark.parametrize(
    "field", ["id", "version", "versions", "source", "created_at", "object", "stream", "agent_version", "surprise"]
)
def test_a_field_that_is_not_there_is_refused_by_name(refused: Refused, field: str) -> None:
    assert "Extra inputs are not permitted" in refused.at(["body", field], {field: "x"})


def test_whether_it_is_in_a_chat_is_said_in_an_update(refused: Refused, raw: Raw) -> None:
    answer = raw.post("/v1/agents", {"model": "m", "name": "n", "deployment_chat": True})
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "deployment_chat"])
    changed = raw.request("PATCH", f"/v1/agents/{refused.agent}", {"deployment_chat": True})
    assert (changed.status, changed.json["deployment_chat"]) == (200, True)


@pytest.mark.requirement("C-244")
def test_handoffs_name_agents_that_are_there(sdk: SDK, refused: Refused) -> None:
    other, gone = (sdk.agents.create().id for _ in range(2))
    sdk.agents.delete(agent_id=gone)
    for unknown in (UNKNOWN, gone, "", "x", f"{other}\0x"):
        answers = refused.by(404, {"handoffs": [other, unknown]})
        assert {answer["message"] for answer in answers} == {f"Agent not found: {unknown}, which is among the handoffs"}
    made = sdk.agents.create(handoffs=[other, refused.agent])
    assert sdk.agents.get(agent_id=made.id).handoffs == [other, refused.agent]
    # What is gone later stays named: what a version says is not changed.
    sdk.agents.delete(agent_id=other)
    assert sdk.agents.update(agent_id=made.id, name="n").handoffs == [other, refused.agent]


@pytest.mark.requirement("C-244")
def test_handoffs_are_none_or_some(sdk: SDK, refused: Refused) -> None:
    refused.at(["body", "handoffs"], {"handoffs": []})
    refused.at(["body", "handoffs", 1], {"handoffs": [refused.agent, refused.agent]})
    assert "129" in refused.at(["body", "handoffs"], {"handoffs": [f"ag_{number}" for number in range(129)]})
    assert sdk.agents.update(agent_id=refused.agent, handoffs=[refused.agent]).handoffs == [refused.agent]


@pytest.mark.parametrize(
    ("tool", "loc"),
    [
        ({"type": "web_search"}, ["type"]), ({"type": "code_interpreter"}, ["type"]),
        ({"type": "document_library", "library_ids": ["a"]}, ["type"]),
        ({"type": "connector", "connector_id": "gmail"}, ["type"]), ({"type": "teleport"}, ["type"]),
        ({"type": "function", "function": {"name": "", "parameters": {}}}, ["function", "name"]),
    ],
)  # fmt: skip
def test_tools_are_those_that_a_conversation_can_have(refused: Refused, tool: dict[str, Any], loc: list[str]) -> None:
    answers = refused.by(422, {"tools": [GET_TIME, tool]})
    assert all(answer["detail"][0]["loc"][:3] == ["body", "tools", 1] for answer in answers)
    assert tool["type"] == "teleport" or all(answer["detail"][0]["loc"][3:] == loc for answer in answers)


def test_functions_are_told_apart_by_their_names(refused: Refused) -> None:
    refused.at(["body", "tools", 1, "function", "name"], {"tools": [GET_RATE, GET_RATE]})
    many = [{"type": "function", "function": {"name": f"f{number}", "parameters": {}}} for number in range(129)]
    assert "129" in refused.at(["body", "tools"], {"tools": many})


@pytest.mark.parametrize("name", ["temperature", "surprise", "random_seed"])
def test_arguments_are_those_that_a_conversation_can_have(refused: Refused, name: str) -> None:
    refused.at(["body", "completion_args", name], {"completion_args": {name: -1}})


def test_guardrails_are_refused_as_at_a_start(refused: Refused, raw: Raw) -> None:
    outside: Any = {"moderation_llm_v2": {"custom_category_thresholds": {"law": 2}}}
    assert refused.at(["body", "guardrails", 0], {"guardrails": [{}]})
    threshold = ["body", "guardrails", 0, "moderation_llm_v2", "custom_category_thresholds", "law"]
    assert refused.at(threshold, {"guardrails": [outside]})
    none: list[Any] = []
    assert raw.post("/v1/agents", {"model": "m", "name": "n", "guardrails": none}).json["guardrails"] == none


def test_metadata_has_the_bounds_of_a_conversations(refused: Refused) -> None:
    assert "65" in refused.at(["body", "metadata"], {"metadata": {str(key): 1 for key in range(65)}})
    assert "16385" in refused.at(["body", "metadata"], {"metadata": {"a": "x" * (16 * 1024 - 7)}})


@pytest.mark.parametrize("agent_id", [UNKNOWN, "x", "ag:1a2b3c4d:20250101:rates:5e6f7a8b", "conv_1", "é", "a" * 500])
def test_an_id_of_nobodys_is_not_found(sdk: SDK, agent_id: str) -> None:
    for call in (
        lambda: sdk.agents.get(agent_id=agent_id), lambda: sdk.agents.update(agent_id=agent_id, name="n"),
        lambda: sdk.agents.delete(agent_id=agent_id), lambda: sdk.agents.list_versions(agent_id=agent_id),
        lambda: sdk.agents.update_version(agent_id=agent_id, version=0),
        lambda: sdk.agents.get_version(agent_id=agent_id, version="0"),
        lambda: sdk.agents.create_version_alias(agent_id=agent_id, alias="a", version=0),
        lambda: sdk.agents.list_version_aliases(agent_id=agent_id),
        lambda: sdk.agents.delete_version_alias(agent_id=agent_id, alias="a"),
    ):  # fmt: skip
        with sdk.refuses(404) as refusal:
            call()
        assert (refusal.code, refusal.message) == (3404, f"Agent not found: {agent_id}")


def test_bodies_are_read_as_those_of_conversations(raw: Raw) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert raw.post("/v1/agents", b'{"model": "m", "name": "n"}', form).status == 415
    assert raw.post("/v1/agents", b"{").status == 400
    assert raw.post("/v1/agents", b'{"model": "m", "name": "\\ud800"}').status == 400
    assert raw.request("PATCH", "/v1/agents/x", b"[]").status == 422


def test_a_function_needs_no_type(raw: Raw) -> None:
    answer = raw.post("/v1/agents", {"model": "m", "name": "n", "tools": [{"function": GET_RATE["function"]}]})
    assert (answer.status, answer.json["tools"]) == (200, [GET_RATE])


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/agents", {"GET", "POST"}), ("/v1/agents/pages", {"GET"}),
        ("/v1/agents/x", {"GET", "PATCH", "POST", "DELETE"}), ("/v1/agents/x/version", {"PATCH", "POST"}),
        ("/v1/agents/x/versions", {"GET"}), ("/v1/agents/x/versions/0", {"GET"}),
        ("/v1/agents/x/aliases", {"GET", "PUT", "DELETE"}),
    ],
)  # fmt: skip
def test_a_method_that_a_path_does_not_take_is_a_405(raw: Raw, path: str, allowed: set[str]) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "PROPFIND"):
        if method not in allowed:
            answer = raw.request(method, path, {})
            assert answer.status == 405, (method, answer.body)
            assert {one.strip() for one in answer.headers["allow"].split(",")} - {"HEAD"} == allowed
