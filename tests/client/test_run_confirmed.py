"""Runs of a client beside tools that the server makes once it is allowed: one loop sees to both kinds of call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from causerie import Causerie
from causerie.client.run import Defer, Deny
from tests.support.running import serving
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import Portal
from tests.support.toolset import ScriptedToolset

from .conftest import Side
from .runner import RATE, Runner, told
from .test_run_local import Inside

SEARCH = ("web_search", {"query": "x"})
ASKING = {"type": "web_search", "tool_configuration": {"requires_confirmation": ["web_search"]}}


@pytest.fixture(scope="module")
def toolset() -> ScriptedToolset:
    """A tool of the server's."""
    return ScriptedToolset()


@pytest.fixture(scope="module")
def searching(toolset: ScriptedToolset, model_server: ScriptedServer) -> Iterator[str]:
    """A server with that tool."""
    with serving(upstream=model_server.url, toolsets={"web_search": toolset}) as url:
        yield url


@pytest.fixture(params=["over HTTP", "over HTTP, streamed", "in process", "in process, streamed"])
def runner(
    request: pytest.FixtureRequest, connect: Callable[..., Side], searching: str, toolset: ScriptedToolset,
    portal: Portal, model_server: ScriptedServer, model: Script,
) -> Iterator[Runner]:  # fmt: skip
    """A client that runs functions, in each of its ways."""
    where, _, how = request.param.partition(", ")
    toolset.calls.clear()
    side = connect(searching)
    if where == "over HTTP":
        yield Runner(side, model.name, streams=bool(how))
        return
    with Causerie(upstream=model_server.url, toolsets={"web_search": toolset}) as causerie:
        yield Runner(Inside(causerie, side._portal), model.name, streams=bool(how))


@pytest.mark.parametrize(("word", "made"), [(True, 1), (False, 0), (Deny("No."), 0)])
def test_who_approves_decides_about_both(
    runner: Runner, toolset: ScriptedToolset, model: Script, word: Any, made: int
) -> None:
    model.calls(SEARCH, RATE)
    result = runner.run("Look.", tools=[ASKING], approve=lambda call: word if call.name == "web_search" else True)

    assert (result.text, result.waiting) == ("Answer 2", [])
    assert (len(toolset.calls), runner.called) == (made, ["x"])
    assert "2.5% on x" in told(model)
    assert ("Result 1" in told(model)) == bool(made)
    statuses = [getattr(entry, "confirmation_status", None) or None for entry in runner.history(result)]
    assert statuses[1:3] == ["allowed" if made else "denied", None]


@pytest.mark.parametrize("allow", [True, False])
@pytest.mark.parametrize("by", ["state", "id"])
def test_a_word_can_come_later(runner: Runner, toolset: ScriptedToolset, model: Script, by: str, allow: bool) -> None:
    model.calls(SEARCH, RATE)
    stopped = runner.run("Look.", tools=[ASKING], approve=lambda _: Defer())
    assert [call.name for call in stopped.waiting] == ["web_search", "get_rate"]
    decisions = {call.tool_call_id: allow for call in stopped.waiting}
    kept = json.loads(json.dumps(stopped.to_dict()))
    where = {"resume": kept} if by == "state" else {"conversation_id": stopped.conversation_id}
    result = runner.run(decisions=decisions, **where)

    assert result.text == "Answer 2"
    assert (len(toolset.calls), len(runner.called)) == (allow, allow)
    assert [call.function for call in result.entries if call.type == "tool.execution"] == ["web_search"] * allow
