"""What a run offers to the model: the caller's functions and what the toolsets have, in one order."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from causerie.engine.offer import Offer, offer
from causerie.errors import InvalidRequest
from causerie.tools.base import ToolContext, ToolDefinition, ToolResult
from causerie.types.tools import Function, FunctionTool, Tool, ToolConfiguration, WebSearchTool

PATIENCE = 10.0


class Two:
    """A toolset of two tools."""

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        schema: dict[str, Any] = {"type": "object", "properties": {"q": {}}}
        return [ToolDefinition(name="search", description="Searches.", parameters=schema), ToolDefinition(name="open")]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        raise AssertionError("nothing is called here")


TOOLSETS = {"web_search": Two()}


def function(name: str) -> FunctionTool:
    """A function of the caller's."""
    return FunctionTool(function=Function(name=name, parameters={}))


def offered(*tools: Tool) -> Offer:
    """Collect tools."""
    return asyncio.run(asyncio.wait_for(offer(tools, TOOLSETS), PATIENCE))


def names(found: Offer) -> list[str]:
    """Return the names as the model reads them."""
    return [tool["function"]["name"] for tool in json.loads(found.rendered or b"[]")]


def test_nothing_is_offered_as_nothing() -> None:
    assert offered() == Offer(None, {})


def test_functions_and_served_tools_stand_together_in_the_order_of_their_names() -> None:
    found = offered(function("rate"), WebSearchTool(), function("abc"))
    assert names(found) == ["abc", "open", "rate", "search"]
    assert {name: (one.name, one.toolset) for name, one in found.served.items()} == dict.fromkeys(
        ("open", "search"), ("web_search", TOOLSETS["web_search"])
    )
    search = json.loads(found.rendered or b"")[3]["function"]
    assert search == {
        "name": "search", "description": "Searches.", "parameters": {"type": "object", "properties": {"q": {}}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (None, ["open", "search"]),
        (ToolConfiguration(), ["open", "search"]),
        (ToolConfiguration(include=["open"]), ["open"]),
        (ToolConfiguration(include=["unknown"]), []),
        (ToolConfiguration(exclude=["open"]), ["search"]),
        (ToolConfiguration(include=None, exclude=None), ["open", "search"]),
    ],
)
def test_a_configuration_chooses(configuration: ToolConfiguration | None, expected: list[str]) -> None:
    found = offered(WebSearchTool(tool_configuration=configuration))
    assert names(found) == expected
    assert sorted(found.served) == expected


@pytest.mark.parametrize("tools", [(function("search"), WebSearchTool()), (WebSearchTool(), WebSearchTool())])
def test_two_tools_of_one_name_are_refused(tools: tuple[Tool, ...]) -> None:
    with pytest.raises(InvalidRequest, match="Two tools are called") as refusal:
        offered(*tools)
    assert refusal.value.loc == ("body", "tools")
