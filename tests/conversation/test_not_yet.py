"""What this server does not do is refused by name, never accepted and ignored (D11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.scripted import Script
from tests.support.sdk import SDK

BLOCKING = {"block_on_error": True, "moderation_llm_v2": {"action": "block"}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guardrails", [BLOCKING]),
        ("guardrails", [{}]),
    ],
)
def test_a_start_that_needs_more_is_refused_by_field(
    raw: Raw, model: Script, field: str, value: object, stream: bool
) -> None:
    start = {"inputs": "Hello", "model": model.name, "stream": stream, field: value}
    answer = raw.post("/v1/conversations", start)

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", field]
    assert model.requests == []


@pytest.mark.parametrize(("field", "value"), [("guardrails", [BLOCKING]), ("agent_version", 1), ("agent_version", "a")])
def test_a_restart_that_needs_more_is_refused_by_field(sdk: SDK, model: Script, field: str, value: Any) -> None:
    first = sdk.start(inputs="Hello")
    with sdk.refuses(422) as refusal:
        sdk.restart(
            conversation_id=first.conversation_id, from_entry_id=first.outputs[0].id, inputs="More", **{field: value}
        )

    assert refusal.loc == ["body", field]
    assert len(model.requests) == 1


@pytest.mark.parametrize("value", [1, "production"])
def test_an_agent_version_without_an_agent_is_refused(sdk: SDK, model: Script, value: int | str) -> None:
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", agent_version=value)

    assert refusal.loc == ["body", "agent_version"]
    assert model.requests == []


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "web_search"},
        {"type": "web_search_premium"},
        {"type": "code_interpreter"},
        {"type": "image_generation"},
        {"type": "document_library", "library_ids": ["5b1c0e7e-8a3f-4d2a-9f53-0d4e2a7f9f3c"]},
        {"type": "connector", "connector_id": "mail"},
    ],
    ids=lambda tool: str(tool["type"]),
)
def test_a_tool_that_nobody_runs_is_refused_by_its_place(sdk: SDK, model: Script, tool: dict[str, Any]) -> None:
    function = {"type": "function", "function": {"name": "get_rate", "parameters": {}}}
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", tools=[function, tool])

    assert refusal.loc[:3] == ["body", "tools", 1]
    assert tool["type"] in refusal.message
    assert model.requests == []


def test_no_guardrails_are_no_reason_to_refuse(sdk: SDK) -> None:
    first = sdk.start(inputs="Hello", guardrails=[])
    cut = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[0].id, "inputs": "More"}

    assert sdk.restart(**cut, guardrails=[]).outputs[0].content == "Answer 2"
    assert sdk.restart(**cut, guardrails=None, agent_version=None).outputs[0].content == "Answer 3"
