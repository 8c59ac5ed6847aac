"""Runs of the caller's functions by agents, which have them from when they were made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from causerie.client.run import Defer, Function
from tests.support.scripted import Script

from .conftest import Side
from .runner import RATE, TIME, Runner, told


class Rate(msgspec.Struct):
    """A rate."""

    percent: float


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def runner(request: pytest.FixtureRequest, connect: Callable[..., Side], url: str, model: Script) -> Runner:
    """A client that runs functions, in each of its four ways."""
    return Runner(connect(url), model.name, streams=request.param)


def agent(runner: Runner, **members: Any) -> Any:
    """Make an agent with the runner's functions."""
    tools = [Function(one).tool for one in runner.functions]
    given = {"model": runner.model, "name": "rates", "instructions": "Be brief.", "tools": tools} | members
    return runner.side.mistral.beta.agents.create(**given)


def test_an_agent_runs_and_is_not_changed(runner: Runner, model: Script) -> None:
    made = agent(runner)
    model.calls(RATE, TIME)
    model.say("Two and a half.")
    model.say('{"percent": 2.5}')
    result = runner.run("Which rate?", agent_id=made.id, output=Rate)
    assert (result.output, sorted(runner.called)) == (Rate(2.5), ["UTC", "x"])
    assert told(model) == ["2.5% on x", '{"zone":"UTC"}']
    assert model.last.messages[0]["content"] == "Be brief."
    assert runner.side.mistral.beta.agents.get(agent_id=made.id).versions == [0]


def test_an_agents_run_stops_and_goes_on_by_the_conversations_id(runner: Runner, model: Script) -> None:
    made = agent(runner)
    model.calls(RATE)
    stopped = runner.run("Which rate?", agent_id=made.id, approve=lambda _: Defer())
    result = runner.run(conversation_id=stopped.conversation_id)
    assert (result.text, runner.called) == ("Answer 2", ["x"])


def test_agents_hand_over_and_call(runner: Runner, model: Script) -> None:
    second = agent(runner, name="figures", instructions="Be exact.")
    first = agent(runner, tools=[], handoffs=[second.id])
    runner.run("Hello?", agent_id=first.id)
    (handoff,) = [tool["function"]["name"] for tool in model.last.tools]
    model.call(handoff, {})
    model.calls(RATE)
    model.say("It is 2.5%.")
    result = runner.run("Which rate?", agent_id=first.id)
    assert (result.text, runner.called) == ("It is 2.5%.", ["x"])
    assert [one.type for one in result.entries] == [
        "agent.handoff", "function.call", "function.result", "message.output",
    ]  # fmt: skip
    assert model.last.messages[0]["content"] == "Be exact."
