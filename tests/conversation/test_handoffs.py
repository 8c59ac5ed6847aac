"""Agents hand a conversation over to each other: in the server, or by way of the client (PROTOCOL §10.4, O1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import pytest

from causerie.engine.speaker import MOST_AGENTS
from causerie.tools.base import ToolDefinition
from causerie.types.tools import Tool
from tests.support.raw import Raw
from tests.support.replies import Text, call
from tests.support.samples import GET_RATE, GET_TIME, check_calls, result, user
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.staff import Staff
from tests.support.toolset import ScriptedToolset


@pytest.fixture
def staff(raw: Raw, model: Script) -> Staff:
    """Agents of the shared server."""
    return Staff(raw, model)


def kinds(entries: Sequence[Any]) -> list[str]:
    """Return the kinds of entries."""
    return [entry.type for entry in entries]


def system(model: Script, request: int = -1) -> str:
    """Return the instructions that the model was given."""
    text: str = model.requests[request].messages[0]["content"]
    return text


def offered(model: Script, request: int = -1) -> list[str]:
    """Return the names of what the model could call."""
    return [tool["function"]["name"] for tool in model.requests[request].tools]


@pytest.mark.requirement("C-116", "C-266")
@pytest.mark.parametrize("execution", [None, "server"])
def test_a_run_goes_on_as_the_agent_that_it_was_handed_over_to(
    sdk: SDK, staff: Staff, model: Script, execution: str | None
) -> None:
    rates, news = staff.chain("rates", "news")
    model.reply(Text("One moment."), *call("handoff_to_news", {}, call_id="callAAAA1"), usage=(10, 5))
    model.say("All is well.", usage=(20, 7))
    response = sdk.start(agent_id=rates, inputs="Any news?", handoff_execution=execution)

    said, handoff, answer = as_json(response.outputs)
    assert (said["content"], said["agent_id"]) == ("One moment.", rates)
    assert {name: handoff[name] for name in ("object", "type", "previous_agent_id", "next_agent_id")} == {
        "object": "entry", "type": "agent.handoff", "previous_agent_id": rates, "next_agent_id": news,
    }  # fmt: skip
    assert (handoff["previous_agent_name"], handoff["next_agent_name"]) == ("rates", "news")
    assert handoff["id"].startswith("handoff_")
    assert handoff["created_at"] <= handoff["completed_at"] <= answer["created_at"]
    assert (answer["content"], answer["agent_id"]) == ("All is well.", news)
    assert as_json(sdk.get_history(response.conversation_id))["entries"][1:] == [said, handoff, answer]
    assert (response.usage.prompt_tokens, response.usage.completion_tokens) == (30, 12)
    entity = as_json(sdk.get(response.conversation_id))
    assert entity["agent_id"] == rates, "it keeps the agent that it was started with"


@pytest.mark.requirement("C-219", "C-266")
def test_a_handoff_is_told_by_two_events(raw: Raw, sdk: SDK, staff: Staff, model: Script) -> None:
    rates, news = staff.chain("rates", "news")
    model.reply(Text("One moment."), *call("handoff_to_news", {}, call_id="callAAAA1"))
    model.say("All ", "is well.")
    start = {"agent_id": rates, "inputs": "Any news?", "stream": True}
    frames = raw.post("/v1/conversations", start).frames

    assert [frame.event for frame in frames] == [
        "conversation.response.started", "message.output.delta", "agent.handoff.started", "agent.handoff.done",
        "message.output.delta", "message.output.delta", "conversation.response.done",
    ]  # fmt: skip
    events = [frame.json for frame in frames]
    assert [event.get("output_index") for event in events[1:-1]] == [0, 1, 1, 2, 2]
    _, said, leaves, takes, *answer, _ = events
    assert leaves.keys() == {"type", "created_at", "output_index", "id", "previous_agent_id", "previous_agent_name"}
    assert takes.keys() == {"type", "created_at", "output_index", "id", "next_agent_id", "next_agent_name"}
    assert leaves["id"] == takes["id"]
    assert (leaves["previous_agent_id"], leaves["previous_agent_name"]) == (rates, "rates")
    assert (takes["next_agent_id"], takes["next_agent_name"]) == (news, "news")
    assert [event["agent_id"] for event in (said, *answer)] == [rates, news, news]
    entry = as_json(sdk.get_history(events[0]["conversation_id"]))["entries"][2]
    assert (entry["id"], entry["next_agent_id"]) == (takes["id"], news)


@pytest.mark.requirement("C-219")
def test_the_client_knows_the_events_of_a_handoff(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, news = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    _, leaves, takes, *_ = sdk.start_stream(agent_id=rates, inputs="Any news?")
    assert (leaves.type, takes.type) == ("agent.handoff.started", "agent.handoff.done")
    assert (leaves.previous_agent_id, takes.next_agent_id) == (rates, news)


@pytest.mark.requirement("C-267")
def test_a_run_can_be_handed_over_again_and_again(sdk: SDK, raw: Raw, staff: Staff, model: Script) -> None:
    agents = staff.chain("first", "second", "third", "fourth")
    model.call("handoff_to_second", {})
    model.reply(Text("Not me."), *call("handoff_to_third", {}, call_id="callAAAA1"))
    model.call("handoff_to_fourth", {})
    response = sdk.start(agent_id=agents[0], inputs="Who can help?")

    assert kinds(response.outputs) == [
        "agent.handoff", "message.output", "agent.handoff", "agent.handoff", "message.output"
    ]  # fmt: skip
    handoffs = [entry for entry in response.outputs if entry.type == "agent.handoff"]
    steps = list(pairwise(agents))
    assert [(entry.previous_agent_id, entry.next_agent_id) for entry in handoffs] == steps
    assert response.outputs[-1].agent_id == agents[-1]
    assert [system(model, request) for request in range(4)] == [
        "You are first.", "You are second.", "You are third.", "You are fourth."
    ]  # fmt: skip
    (run,) = raw.get(f"/v1/conversations/{response.conversation_id}/runs").json["data"]
    assert (run["bounds"]["handoffs"], run["bounds"]["max_handoffs"], run["bounds"]["model_calls"]) == (3, 16, 4)


@pytest.mark.requirement("C-268")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("setting", "calls"), [("max_handoffs", 4), ("max_model_calls", 3)])
def test_agents_that_go_in_circles_are_stopped(
    serve: Callable[..., str], model: Script, setting: str, calls: int, streamed: bool
) -> None:
    raw = Raw(serve(**{setting: 3}))
    staff = Staff(raw, model)
    (one, two) = staff.chain("one", "two")
    staff.change(two, handoffs=[one])
    made = raw.post("/v1/conversations", {"agent_id": one, "inputs": "Hello"}).json["conversation_id"]
    before = raw.get(f"/v1/conversations/{made}/history").body
    for number in range(6):
        model.call("handoff_to_two" if number % 2 == 0 else "handoff_to_one", {})
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": "Again", "stream": streamed})

    error = answer.events[-1] if streamed else answer.json
    assert answer.status == (200 if streamed else 400)
    assert error["code"] == (400 if streamed else 3000) or not streamed
    assert setting in error["message"]
    assert "3" in error["message"]
    assert len(model.requests) == 1 + calls
    assert raw.get(f"/v1/conversations/{made}/history").body == before
    run = raw.get(f"/v1/conversations/{made}/runs").json["data"][0]
    assert (run["state"], run["error"]["code"], run["bounds"]["handoffs"]) == ("failed", 400, 3)


@pytest.mark.requirement("C-268")
def test_as_many_handoffs_as_are_allowed_are_made(serve: Callable[..., str], model: Script) -> None:
    raw = Raw(serve(max_handoffs=1))
    first, _ = Staff(raw, model).chain("first", "second")
    model.call("handoff_to_second", {})
    answer = raw.post("/v1/conversations", {"agent_id": first, "inputs": "Hello"})
    assert [output["type"] for output in answer.json["outputs"]] == ["agent.handoff", "message.output"]


def test_a_run_looks_up_so_many_agents_and_no_more(raw: Raw, staff: Staff, model: Script) -> None:
    leaves = [staff.hire(f"leaf {number}") for number in range(MOST_AGENTS - 3)]
    branches = [staff.hire(f"branch {number}", handoffs=leaves[number::2]) for number in range(2)]
    root = staff.hire("root", handoffs=branches)
    answer = raw.post("/v1/conversations", {"agent_id": root, "inputs": "Hello"})
    assert answer.status == 200, answer.body

    staff.change(branches[0], handoffs=[*leaves[::2], staff.hire("one more")])
    path = f"/v1/conversations/{answer.json['conversation_id']}"
    refused = raw.post(path, {"inputs": "More", "stream": True})
    assert (refused.status, len(model.requests)) == (400, 1)
    assert "Name fewer agents as handoffs" in refused.json["message"]
    assert len(raw.get(f"{path}/history").json["entries"]) == 2


@pytest.mark.requirement("C-269")
def test_the_next_agent_brings_its_own(sdk: SDK, staff: Staff, model: Script, model_server: ScriptedServer) -> None:
    other = model_server.script()
    news = staff.hire(
        "news", model=other.name, tools=[GET_TIME], completion_args={"temperature": 0.9, "tool_choice": "any"},
        description="Reads the news.",
    )  # fmt: skip
    rates = staff.hire("rates", tools=[GET_RATE], handoffs=[news], completion_args={"temperature": 0.1, "top_p": 0.2})
    model.call("handoff_to_news", {})
    other.call("get_time", {})
    response = sdk.start(agent_id=rates, inputs="Any news?", completion_args={"max_tokens": 9})

    first, second = model.last, other.last
    assert offered(model) == ["get_rate", "handoff_to_news"]
    handing = first.tools[1]["function"]
    assert "Reads the news." in handing["description"]
    assert handing["parameters"] == {"type": "object", "properties": {}}
    assert (first.messages[0]["content"], second.messages[0]["content"]) == ("You are rates.", "You are news.")
    assert offered(other) == ["get_time"]
    told = [
        {name: request.json.get(name) for name in ("temperature", "top_p", "max_tokens", "tool_choice")}
        for request in (first, second)
    ]
    assert told == [
        {"temperature": 0.1, "top_p": 0.2, "max_tokens": 9, "tool_choice": "auto"},
        {"temperature": 0.9, "top_p": None, "max_tokens": 9, "tool_choice": "required"},
    ]
    assert [(one.agent_id, one.model) for one in response.outputs[1:]] == [(news, other.name)]


@pytest.mark.requirement("C-269")
def test_a_call_that_the_request_demands_is_demanded_once(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, _ = staff.chain("rates", "news", tools=[GET_RATE])
    model.call("handoff_to_news", {})
    sdk.start(agent_id=rates, inputs="Any news?", completion_args={"tool_choice": "any"})
    assert [request.json.get("tool_choice") for request in model.requests] == ["required", "auto"]


def test_the_next_agent_reads_what_was_said_and_the_handoff_as_a_call(sdk: SDK, staff: Staff, model: Script) -> None:
    """Nothing is copied or written anew: each agent's prompts begin with its own earlier ones, to the byte (D7)."""
    rates, news = staff.chain("rates", "news")
    staff.change(news, handoffs=[rates])
    model.reply(Text("One moment."), *call("handoff_to_news", {}, call_id="callAAAA1"))
    model.call("handoff_to_rates", {}, call_id="callAAAA2")
    made = sdk.start(agent_id=rates, inputs="Any news?").conversation_id
    model.call("handoff_to_news", {}, call_id="callAAAA3")
    sdk.append(conversation_id=made, inputs="And now?")

    _, *messages = model.requests[1].messages
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[1]["content"] == "One moment."
    assert messages[1]["tool_calls"][0] == {
        "id": "callAAAA1", "type": "function", "function": {"name": "handoff_to_news", "arguments": "{}"},
    }  # fmt: skip
    assert messages[2]["tool_call_id"] == "callAAAA1"
    assert "'news'" in messages[2]["content"]
    by_agent: dict[str, list[bytes]] = {}
    for request in model.requests:
        by_agent.setdefault(request.messages[0]["content"], []).append(request.messages_bytes)
    assert {name: len(prompts) for name, prompts in by_agent.items()} == {"You are rates.": 3, "You are news.": 2}
    for prompts in by_agent.values():
        for one, other in pairwise(prompts):
            assert other.startswith(one.removesuffix(b"]") + b",")


@pytest.mark.requirement("C-270")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_result_goes_to_the_agent_that_asked(sdk: SDK, staff: Staff, model: Script, streamed: bool) -> None:
    third = staff.hire("third")
    second = staff.hire("second", tools=[GET_RATE], handoffs=[third])
    first = staff.hire("first", handoffs=[second])
    model.call("handoff_to_second", {})
    model.call("get_rate", {}, call_id="callAAAA2")
    made = sdk.start(agent_id=first, inputs="Which rate?").conversation_id
    model.call("handoff_to_third", {}, call_id="callAAAA3")
    told = {"conversation_id": made, "inputs": [result("callAAAA2", "2.5%")]}
    if streamed:
        sdk.append_stream(**told)
    else:
        sdk.append(**told)

    entries = sdk.get_history(made).entries
    assert kinds(entries) == [
        "message.input", "agent.handoff", "function.call", "function.result", "agent.handoff", "message.output"
    ]  # fmt: skip
    assert (entries[2].agent_id, entries[4].previous_agent_id, entries[5].agent_id) == (second, second, third)
    assert [system(model, request) for request in (1, 2, 3)] == ["You are second.", "You are second.", "You are third."]
    assert model.requests[2].messages[-1]["content"] == "2.5%"


@pytest.mark.requirement("C-271")
def test_the_last_agent_answers_what_comes_next(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, news = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    made = sdk.start(agent_id=rates, inputs="Any news?").conversation_id
    for stored in (True, False, True):
        response = sdk.append(conversation_id=made, inputs="More", store=stored)
        assert response.outputs[0].agent_id == news
        assert (system(model), offered(model)) == ("You are news.", [])
    assert as_json(sdk.get(made))["agent_id"] == rates


@pytest.mark.requirement("C-271")
def test_a_branch_runs_as_who_acted_where_it_was_cut(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, news = staff.chain("rates", "news")
    model.say("One.")
    first = sdk.start(agent_id=rates, inputs="Hello")
    model.reply(Text("One moment."), *call("handoff_to_news", {}, call_id="callAAAA1"))
    sdk.append(conversation_id=first.conversation_id, inputs="Any news?")
    entries = sdk.get_history(first.conversation_id).entries
    assert kinds(entries)[-3:] == ["message.output", "agent.handoff", "message.output"]

    acting = {}
    for entry in entries[1:]:
        branch = sdk.restart(conversation_id=first.conversation_id, from_entry_id=entry.id, inputs="Once more")
        acting[entry.id] = branch.outputs[0].agent_id
        again = sdk.append(conversation_id=branch.conversation_id, inputs="And again")
        assert again.outputs[0].agent_id == branch.outputs[0].agent_id
    assert list(acting.values()) == [rates, rates, rates, news, news]


@pytest.mark.requirement("C-271")
def test_a_branch_that_ends_with_a_handoff_has_something_to_answer(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, news = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    first = sdk.start(agent_id=rates, inputs="Any news?")
    branch = sdk.restart(conversation_id=first.conversation_id, from_entry_id=first.outputs[0].id)
    assert [output.agent_id for output in branch.outputs] == [news]
    assert model.requests[2].messages_bytes == model.requests[1].messages_bytes, "the same is asked again"


@pytest.mark.requirement("C-077")
def test_a_branch_names_a_version_that_is_there_also_where_another_agent_acts(
    sdk: SDK, staff: Staff, model: Script
) -> None:
    rates, _ = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    first = sdk.start(agent_id=rates, inputs="Any news?")
    cut = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[-1].id, "inputs": "More"}
    with sdk.refuses(404) as refusal:
        sdk.restart(**cut, agent_version=1)
    assert rates in refusal.message
    branch = sdk.restart(**cut, agent_version=0)
    assert as_json(sdk.get(branch.conversation_id))["agent_version"] == 0
    assert system(model) == "You are news."


@pytest.mark.requirement("C-272")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_client_handoff_stops_the_run(sdk: SDK, raw: Raw, staff: Staff, model: Script, streamed: bool) -> None:
    rates, news = staff.chain("rates", "news")
    model.reply(Text("One moment."), *call("handoff_to_news", {}, call_id="callAAAA1"), usage=(10, 5))
    start = {"agent_id": rates, "inputs": "Any news?", "handoff_execution": "client"}
    if streamed:
        started, *events, done = sdk.start_stream(**start)
        made, usage = started.conversation_id, done.usage
        assert [event.type for event in events][1:] == ["agent.handoff.started", "agent.handoff.done"]
    else:
        response = sdk.start(**start)
        made, usage = response.conversation_id, response.usage
        assert kinds(response.outputs) == ["message.output", "agent.handoff"]
    assert len(model.requests) == 1
    assert (usage.prompt_tokens, usage.completion_tokens) == (10, 5)
    handoff = sdk.get_history(made).entries[-1]
    assert (handoff.previous_agent_id, handoff.next_agent_id) == (rates, news)
    (run,) = raw.get(f"/v1/conversations/{made}/runs").json["data"]
    assert (run["state"], run["bounds"]["handoffs"]) == ("done", 1)


@pytest.mark.requirement("C-273")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("how", ["a message", "the handoff", "the handoff without its id", "both"])
def test_the_next_agent_answers_what_is_appended(
    sdk: SDK, staff: Staff, model: Script, how: str, streamed: bool
) -> None:
    rates, news = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    first = sdk.start(agent_id=rates, inputs="Any news?", handoff_execution="client")
    (handoff,) = as_json(first.outputs)
    without_id = {name: value for name, value in handoff.items() if name not in ("id", "created_at", "completed_at")}
    inputs: Any = {
        "a message": "Go on", "the handoff": [handoff], "the handoff without its id": [without_id],
        "both": [handoff, user("Go on")],
    }[how]  # fmt: skip
    more = {"conversation_id": first.conversation_id, "inputs": inputs}
    if streamed:
        sdk.append_stream(**more)
    else:
        sdk.append(**more)

    entries = sdk.get_history(first.conversation_id).entries
    said = ["message.input"] if how in ("a message", "both") else []
    assert kinds(entries) == ["message.input", "agent.handoff", *said, "message.output"]
    assert entries[-1].agent_id == news
    assert system(model) == "You are news."
    roles = [message["role"] for message in model.last.messages]
    assert roles[:4] == ["system", "user", "assistant", "tool"]
    assert roles[4:] == (["assistant", "user"] if said else []), "some servers refuse a user right after a result"
    check_calls(model.last.messages)


@pytest.mark.requirement("C-273")
def test_nothing_is_no_way_to_go_on(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, _ = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    first = sdk.start(agent_id=rates, inputs="Any news?", handoff_execution="client")
    with sdk.refuses(422):
        sdk.append(conversation_id=first.conversation_id, inputs=[])
    assert len(model.requests) == 1


@pytest.mark.requirement("C-273")
def test_only_the_handoff_that_it_stopped_at_is_taken_for_going_on(
    raw: Raw, sdk: SDK, staff: Staff, model: Script
) -> None:
    rates, news = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    first = sdk.start(agent_id=rates, inputs="Any news?", handoff_execution="client")
    made = first.conversation_id
    (handoff,) = as_json(first.outputs)
    sdk.append(conversation_id=made, inputs="Go on")

    answer = raw.post(f"/v1/conversations/{made}", {"inputs": [handoff, user("More")]})
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "inputs", 0, "id"])
    told = {"type": "agent.handoff", "previous_agent_id": news, "previous_agent_name": "news"}
    told |= {"next_agent_id": rates, "next_agent_name": "rates"}
    response = sdk.append(conversation_id=made, inputs=[told, user("More")])
    assert response.outputs[0].agent_id == news, "a handoff that a caller tells of is text"
    assert model.last.messages[-2]["content"] == "[news handed over to rates.]"
    assert sdk.append(conversation_id=made, inputs="And more").outputs[0].agent_id == news


@pytest.mark.requirement("C-272", "C-273")
def test_a_client_handoff_can_start_another_conversation(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, news = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    first = sdk.start(agent_id=rates, inputs="Any news?", handoff_execution="client")
    entries = as_json(sdk.get_history(first.conversation_id))["entries"]
    second = sdk.start(agent_id=first.outputs[0].next_agent_id, inputs=[*entries, user("Go on")])
    assert second.outputs[0].agent_id == news
    assert system(model) == "You are news."


@pytest.mark.requirement("C-274")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("how", "status"), [("no such model", 400), ("its model fails", 502), ("its toolset breaks", 500)]
)
def test_a_handoff_that_breaks_is_a_clear_error(
    serve: Callable[..., str], model: Script, model_server: ScriptedServer, how: str, status: int, streamed: bool
) -> None:
    other = model_server.script()
    raw = Raw(serve(toolsets={"web_search": Broken()}))
    staff = Staff(raw, model)
    name = "nobody-has-this" if how == "no such model" else other.name
    tools = [{"type": "web_search"}] if how == "its toolset breaks" else []
    rates = staff.hire("rates", handoffs=[staff.hire("news", model=name, tools=tools)])
    made = raw.post("/v1/conversations", {"agent_id": rates, "inputs": "One"}).json["conversation_id"]
    before = raw.get(f"/v1/conversations/{made}/history").body
    model.call("handoff_to_news", {})
    other.fail(500, "out of order")
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": "Two", "stream": streamed})

    error = answer.events[-1] if streamed else answer.json
    assert (answer.status, error["code"] if streamed else answer.status) == (200 if streamed else status, status)
    assert "a secret of the toolset" not in answer.body.decode()
    if not streamed:
        assert error["object"] == "Error"
        assert status != 500 or error["code"] == 3000
    assert raw.get(f"/v1/conversations/{made}/history").body == before
    assert raw.post(f"/v1/conversations/{made}", {"inputs": "Two"}).json["outputs"][0]["agent_id"] == rates


class Broken(ScriptedToolset):
    """A toolset that breaks when it is asked what it has."""

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        """Break."""
        raise RuntimeError("a secret of the toolset")


@pytest.fixture
def searching(serve: Callable[..., str], model: Script) -> tuple[Raw, Staff, ScriptedToolset]:
    """A server that searches the web, its agents, and what was searched."""
    toolset = ScriptedToolset(name="search")
    raw = Raw(serve(toolsets={"web_search": toolset}))
    return raw, Staff(raw, model), toolset


@pytest.mark.requirement("C-275")
@pytest.mark.parametrize("streamed", [False, True])
def test_handing_over_after_a_search_works(
    searching: tuple[Raw, Staff, ScriptedToolset], connect: Callable[[str], SDK], model: Script, streamed: bool
) -> None:
    raw, staff, toolset = searching
    sdk = connect(f"http://{raw.host}")
    news = staff.hire("news", tools=[{"type": "web_search"}])
    rates = staff.hire("rates", tools=[{"type": "web_search"}], handoffs=[news])
    model.call("search", {"query": "x"})
    model.call("handoff_to_news", {}, call_id="callAAAA2")
    model.call("search", {"query": "y"}, call_id="callAAAA3")
    start = {"agent_id": rates, "inputs": "Any news?"}
    if streamed:
        started, *events, _ = sdk.start_stream(**start)
        made = started.conversation_id
        assert [event.output_index for event in events] == sorted(event.output_index for event in events)
    else:
        made = sdk.start(**start).conversation_id

    entries = as_json(sdk.get_history(made))["entries"]
    assert [(entry["type"], entry.get("agent_id")) for entry in entries[1:]] == [
        ("tool.execution", rates), ("agent.handoff", None), ("tool.execution", news), ("message.output", news),
    ]  # fmt: skip
    assert [arguments for _, arguments, _ in toolset.calls] == ['{"query": "x"}', '{"query": "y"}']
    check_calls(model.last.messages)


@pytest.mark.requirement("C-275")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_search_beside_a_handoff_is_made_and_told(
    searching: tuple[Raw, Staff, ScriptedToolset], model: Script, streamed: bool
) -> None:
    raw, staff, _ = searching
    news = staff.hire("news")
    rates = staff.hire("rates", tools=[{"type": "web_search"}], handoffs=[news])
    model.calls(("search", {"query": "x"}), ("handoff_to_news", {}), ("search", {"query": "y"}))
    answer = raw.post("/v1/conversations", {"agent_id": rates, "inputs": "Any news?", "stream": streamed})
    made = (answer.events[0] if streamed else answer.json)["conversation_id"]

    entries = raw.get(f"/v1/conversations/{made}/history").json["entries"][1:]
    assert [entry["type"] for entry in entries] == [
        "tool.execution", "tool.execution", "agent.handoff", "message.output"
    ]  # fmt: skip
    if streamed:
        indexes = [event["output_index"] for event in answer.events[1:-1]]
        assert indexes == sorted(indexes)
    assert entries[-1]["agent_id"] == news
    assert check_calls(model.last.messages)[0] == "Result 1"
    assert [len(message.get("tool_calls", [])) for message in model.last.messages] == [0, 0, 3, 0, 0, 0]


def test_the_first_of_two_handoffs_is_made(sdk: SDK, staff: Staff, model: Script) -> None:
    news, sport = staff.hire("news"), staff.hire("sport")
    rates = staff.hire("rates", handoffs=[news, sport])
    model.calls(("handoff_to_sport", {}), ("handoff_to_news", {}))
    response = sdk.start(agent_id=rates, inputs="Any news?")

    assert offered(model, 0) == ["handoff_to_news", "handoff_to_sport"]
    assert kinds(response.outputs) == ["agent.handoff", "message.output"]
    assert response.outputs[0].next_agent_id == response.outputs[1].agent_id == sport
    made, left = check_calls(model.last.messages)
    assert made.startswith("Done: 'sport'")
    assert left.startswith("Not done: ")


@pytest.mark.requirement("C-270")
@pytest.mark.parametrize("execution", ["server", "client"])
@pytest.mark.parametrize("first", ["handoff", "function"])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_function_beside_a_handoff_is_answered_first(
    sdk: SDK, staff: Staff, model: Script, first: str, execution: Any, streamed: bool
) -> None:
    """Its result belongs to the agent that asked; that agent can hand over when it has read it."""
    news = staff.hire("news")
    rates = staff.hire("rates", tools=[GET_RATE], handoffs=[news])
    both: list[tuple[str, Any]] = [("handoff_to_news", {}), ("get_rate", {"date": "2024-06-06"})]
    model.calls(*(both if first == "handoff" else both[::-1]))
    start = {"agent_id": rates, "inputs": "Which rate?", "handoff_execution": execution}
    if streamed:
        started, *events, _ = sdk.start_stream(**start)
        made = started.conversation_id
        assert {event.type for event in events} == {"function.call.delta"}
    else:
        made = sdk.start(**start).conversation_id
    _, asked = sdk.get_history(made).entries
    assert (asked.type, asked.agent_id) == ("function.call", rates)

    model.call("handoff_to_news", {}, call_id="callAAAA3")
    sdk.append(conversation_id=made, inputs=[result(asked.tool_call_id, "2.5%")])
    assert system(model, 1) == "You are rates."
    told = check_calls(model.requests[1].messages)
    assert "2.5%" in told
    assert any(one.startswith("Not done: ") for one in told)
    assert kinds(sdk.get_history(made).entries)[-2:] == ["agent.handoff", "message.output"]


def test_a_branch_cut_beside_a_handoff_that_was_not_made_is_valid(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, _ = staff.chain("rates", "news", tools=[GET_RATE, GET_TIME])
    model.calls(("get_rate", {}), ("handoff_to_news", {}), ("get_time", {}))
    first = sdk.start(agent_id=rates, inputs="Which rate?")
    assert kinds(first.outputs) == ["function.call", "function.call"]
    call_ = first.outputs[0]
    sdk.restart(
        conversation_id=first.conversation_id, from_entry_id=call_.id, inputs=[result(call_.tool_call_id, "2.5%")]
    )
    assert check_calls(model.last.messages) == ["2.5%"]
    assert system(model) == "You are rates."


def test_functions_and_agents_of_one_name_are_told_apart(sdk: SDK, staff: Staff, model: Script) -> None:
    function = {"type": "function", "function": {"name": "handoff_to_news", "parameters": {}}}
    news = staff.hire("news")
    rates = staff.hire("rates", tools=[function], handoffs=[news])
    model.call("handoff_to_news", {})
    assert kinds(sdk.start(agent_id=rates, inputs="Any news?").outputs) == ["function.call"]
    mine, theirs = offered(model)
    assert mine == "handoff_to_news"
    model.call(theirs, {})
    assert kinds(sdk.start(agent_id=rates, inputs="Any news?").outputs) == ["agent.handoff", "message.output"]


def test_nobody_is_handed_over_to_who_was_deleted(sdk: SDK, staff: Staff, model: Script) -> None:
    news, sport = staff.hire("news"), staff.hire("sport")
    rates = staff.hire("rates", handoffs=[news, sport])
    staff.dismiss(news)
    sdk.start(agent_id=rates, inputs="Any news?")
    assert offered(model) == ["handoff_to_sport"]


def test_who_was_handed_over_to_is_missed_by_name(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, news = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    made = sdk.start(agent_id=rates, inputs="Any news?").conversation_id
    staff.dismiss(news)
    with sdk.refuses(404) as refusal:
        sdk.append(conversation_id=made, inputs="More")
    assert news in refusal.message


def test_a_pinned_agent_comes_back_in_its_version(sdk: SDK, staff: Staff, model: Script) -> None:
    """The conversation's own agent has one version throughout, also where it is handed back to."""
    rates, news = staff.chain("rates", "news")
    staff.change(news, handoffs=[rates])
    staff.change(rates, instructions="Version 1.")
    model.call("handoff_to_news", {})
    model.call("handoff_to_rates", {}, call_id="callAAAA2")
    sdk.start(agent_id=rates, agent_version=0, inputs="Any news?")
    assert [system(model, request) for request in range(3)] == ["You are rates.", "You are news.", "You are rates."]


def test_arguments_of_a_handoff_are_read_past(sdk: SDK, staff: Staff, model: Script) -> None:
    rates, _ = staff.chain("rates", "news")
    model.reply(*call("handoff_to_news", '{"reason": "it is', call_id="callAAAA1"))
    assert kinds(sdk.start(agent_id=rates, inputs="Any news?").outputs) == ["agent.handoff", "message.output"]
    check_calls(model.last.messages)
