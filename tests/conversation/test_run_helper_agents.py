"""The official SDK's own loop with agents: it reads the agent, gives it the functions, and runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.library import OFFICIAL
from tests.support.raw import Raw
from tests.support.scripted import Script

if not OFFICIAL:
    pytest.skip("it is the official SDK's loop", allow_module_level=True)

from mistralai.extra.exceptions import DeferredToolCallsException
from mistralai.extra.run.context import RunContext

from .test_run_helper import Loop, Rate, registered, types

pytestmark = pytest.mark.client
GOOD = '{"percent": 2.5, "day": "x"}'


@pytest.fixture(params=[False, True], ids=["run_async", "run_stream_async"])
def loop(request: pytest.FixtureRequest, server_url: str) -> Loop:
    """The loop in each of its forms."""
    return Loop(server_url, streams=request.param)


def agent(raw: Raw, model: Script, **members: Any) -> dict[str, Any]:
    """Make an agent that the test's model speaks for."""
    answer = raw.post("/v1/agents", {"model": model.name, "name": "rates", "instructions": "Be brief."} | members)
    assert answer.status == 200, answer.body
    made: dict[str, Any] = answer.json
    return made


@pytest.mark.requirement("C-301", "C-310")
def test_an_agent_is_given_the_functions_and_run(loop: Loop, raw: Raw, model: Script) -> None:
    """Its PATCH blocks the loop that the run is on: the server has others."""
    own = {"type": "function", "function": {"name": "other", "parameters": {"type": "object", "properties": {}}}}
    made = agent(raw, model, tools=[own])
    context = RunContext(agent_id=made["id"])
    called = registered(context)
    model.call("get_rate", {"date": "x"})
    model.say("It is 2.5%.")
    found = loop.run(context, "Which rate?")

    assert (found.output_as_text, called) == ("It is 2.5%.", ["x"])
    assert types(found.output_entries) == ["function.call", "function.result", "message.output"]
    assert {message["content"] for message in model.last.messages if message["role"] == "system"} == {"Be brief."}
    assert sorted(tool["function"]["name"] for tool in model.last.tools) == ["get_rate", "get_time", "other"]
    now = raw.get(f"/v1/agents/{made['id']}").json
    assert (now["version"], now["versions"]) == (1, [0, 1])


@pytest.mark.requirement("C-301")
def test_each_run_makes_a_version_that_the_next_runs_see(loop: Loop, raw: Raw, model: Script) -> None:
    made = agent(raw, model)
    model.say("One.")
    first = RunContext(agent_id=made["id"])
    loop.run(first, "Count.")
    again = RunContext(agent_id=made["id"], conversation_id=first.conversation_id)
    registered(again)
    model.say("Two.")
    assert loop.run(again, "Go on.").output_as_text == "Two."
    assert (model.requests[0].tools, len(model.requests[1].tools)) == ([], 2), "the conversation floats with its agent"
    assert raw.get(f"/v1/agents/{made['id']}").json["version"] == 2


@pytest.mark.requirement("C-301", "C-302")
def test_an_agent_answers_in_a_form(loop: Loop, raw: Raw, model: Script) -> None:
    made = agent(raw, model, completion_args={"temperature": 0.5})
    context = RunContext(agent_id=made["id"], output_format=Rate)
    registered(context)
    model.call("get_rate", {"date": "x"})
    model.say("Two and a half.")
    model.say(GOOD)
    assert loop.run(context, "Which rate?").output_as_model == Rate(percent=2.5, day="x")
    assert ["response_format" in request.json for request in model.requests] == [False, False, True]


@pytest.mark.requirement("C-301", "C-304")
def test_a_call_of_an_agent_waits_and_is_taken_up_later(loop: Loop, raw: Raw, model: Script) -> None:
    made = agent(raw, model)
    context = RunContext(agent_id=made["id"])
    registered(context, confirm=True)
    model.call("get_rate", {"date": "x"})
    model.say("So it is.")
    with pytest.raises(DeferredToolCallsException) as caught:
        loop.run(context, "Which rate?")
    waiting = DeferredToolCallsException.from_dict(json.loads(json.dumps(caught.value.to_dict())))
    again = RunContext(agent_id=made["id"], conversation_id=waiting.conversation_id)
    called = registered(again, confirm=True)
    found = loop.run(again, [call.confirm() for call in waiting.deferred_calls])
    assert (found.output_as_text, called) == ("So it is.", ["x"])


@pytest.mark.requirement("C-301")
def test_a_function_is_called_for_the_agent_that_was_handed_over_to(loop: Loop, raw: Raw, model: Script) -> None:
    """The second agent asks for the function; what it came to goes back to it."""
    second = agent(raw, model, name="figures", instructions="Be exact.")
    first = agent(raw, model, handoffs=[second["id"]])
    context = RunContext(agent_id=second["id"])
    registered(context)
    loop.run(context, "Get ready.")  # which gives the second agent its functions

    context = RunContext(agent_id=first["id"])
    called = registered(context)
    (handoff,) = [name for name in _offered(raw, model, first) if name not in ("get_rate", "get_time")]
    model.call(handoff, {})
    model.call("get_rate", {"date": "x"})
    model.say("It is 2.5%.")
    found = loop.run(context, "Which rate?")
    assert (found.output_as_text, called) == ("It is 2.5%.", ["x"])
    history = raw.get(f"/v1/conversations/{found.conversation_id}/history").json["entries"]
    assert [entry["type"] for entry in history] == [
        "message.input", "agent.handoff", "function.call", "function.result", "message.output",
    ]  # fmt: skip
    assert {entry["agent_id"] for entry in history if "agent_id" in entry} == {second["id"]}
    assert model.last.messages[0]["content"] == "Be exact."


def _offered(raw: Raw, model: Script, first: dict[str, Any]) -> list[str]:
    """Return the names of the tools that an agent is offered."""
    model.say("Hello.")
    raw.post("/v1/conversations", {"inputs": "Hello?", "agent_id": first["id"]})
    return [tool["function"]["name"] for tool in model.last.tools]
