"""What a run offers to the model: the caller's functions and what the toolsets have, in one order."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from causerie.engine.emit import Pending
from causerie.engine.offer import Offer, offer
from causerie.errors import InvalidRequest
from causerie.tools.base import ToolContext, ToolDefinition, ToolResult
from causerie.types.agents import Agent
from causerie.types.tools import ConnectorTool, Function, FunctionTool, Tool, ToolConfiguration, WebSearchTool

PATIENCE = 10.0


def agent(name: str, id_: str, **more: Any) -> Agent:
    """An agent that may be handed over to."""
    at = datetime(2025, 3, 1, tzinfo=UTC)
    given = {"version": 0, "versions": [0], "created_at": at, "updated_at": at, "deployment_chat": False}
    return Agent(id=id_, name=name, model="m", source="api", **(given | more))


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


def test_handoffs_stand_among_the_other_tools_and_lead_to_agents() -> None:
    ann, bob = agent("Ann", "ag_1", description="Knows rates."), agent("Bob", "ag_2")
    found = asyncio.run(asyncio.wait_for(offer([function("abc"), function("rate")], TOOLSETS, [bob, ann]), PATIENCE))
    assert names(found) == ["abc", "handoff_to_Ann", "handoff_to_Bob", "rate"]
    assert found.handoffs == {"handoff_to_Ann": ann, "handoff_to_Bob": bob}
    to_ann, to_bob = (tool["function"] for tool in json.loads(found.rendered or b"")[1:3])
    assert "'Ann'" in to_ann["description"]
    assert to_ann["description"].endswith("Knows rates.")
    assert "None" not in to_bob["description"]
    assert to_bob["parameters"] == {"type": "object", "properties": {}}
    assert set(found.held) == {"handoff_to_Ann", "handoff_to_Bob"}


@pytest.mark.parametrize("tools", [(function("search"), WebSearchTool()), (WebSearchTool(), WebSearchTool())])
def test_two_tools_of_one_name_are_refused(tools: tuple[Tool, ...]) -> None:
    with pytest.raises(InvalidRequest, match="Two tools are called") as refusal:
        offered(*tools)
    assert refusal.value.loc == ("body", "tools")


def test_what_asks_first_is_served_but_not_at_once() -> None:
    asking = ToolConfiguration(requires_confirmation=["open", "rate", "unknown"])
    found = offered(function("rate"), WebSearchTool(tool_configuration=asking))
    assert (set(found.at_once), set(found.asking), set(found.held)) == ({"search"}, {"open"}, {"search"})
    call = Pending()
    for name, waited_as, runs in (
        ("search", "", True), ("open", "", False), ("open", "fc_1", True), ("rate", "", False), ("none", "fc_1", False),
    ):  # fmt: skip
        call.name, call.waited_as = name, waited_as
        assert found.runs(call) is runs


def test_the_tools_of_a_connector_are_shown_under_its_name() -> None:
    tool = ConnectorTool(connector_id="mail", tool_configuration=ToolConfiguration(exclude=["search"]))
    found = asyncio.run(asyncio.wait_for(offer([tool], {"connector": Two()}), PATIENCE))
    assert {name: one.name for name, one in found.served.items()} == {"open": "mail"}
