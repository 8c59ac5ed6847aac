"""What this server does not do is refused by name, never accepted and ignored (D11)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.scripted import Script
from tests.support.sdk import SDK


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
