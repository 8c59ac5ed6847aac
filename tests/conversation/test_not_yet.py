"""What this server does not do is refused by name, never accepted and ignored (D11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.scripted import Script
from tests.support.sdk import SDK


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("agent_id", "ag_019fce791e4b7c0d8f6b2a5c3d4e5f60"),
        ("agent_id", "ag:1a2b3c4d:20250101:rates:5e6f7a8b"),
    ],
)
def test_a_start_that_needs_more_is_refused_by_field(
    raw: Raw, model: Script, field: str, value: object, stream: bool
) -> None:
    name = {} if field == "agent_id" else {"model": model.name}
    answer = raw.post("/v1/conversations", {"inputs": "Hello", "stream": stream, field: value} | name)

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", field]
    assert model.requests == []


@pytest.mark.parametrize(("field", "value"), [("agent_version", 1), ("agent_version", "a")])
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
