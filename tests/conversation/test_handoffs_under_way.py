"""A run that is handed over is a run like any other: killed, cancelled, read again, asked for again, kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.reading import Reading
from tests.support.replies import PATIENCE, CallPiece, Text, call
from tests.support.running import serving
from tests.support.samples import GET_RATE, check_calls, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.staff import Staff
from tests.support.toolset import HeldToolset

from .test_killed import Machine, follow, paths

SEARCHES = [{"type": "web_search"}]


@pytest.fixture
def machine(tmp_path: Path, model_server: ScriptedServer) -> Machine:
    """A machine on which nothing has run yet."""
    return Machine(tmp_path, model_server.url)


@pytest.fixture(scope="module")
def toolset() -> HeldToolset:
    """The tool of the server below, which gets stuck when it is told to."""
    return HeldToolset("search")


@pytest.fixture(scope="module")
def url(model_server: ScriptedServer, toolset: HeldToolset) -> Iterator[str]:
    """Run a server that searches."""
    with serving(upstream=model_server.url, toolsets={"web_search": toolset}) as url:
        yield url


def kinds(entries: list[dict[str, Any]]) -> list[str]:
    """Return the kinds of entries."""
    return [entry["type"] for entry in entries]


def system(model: Script, request: int = -1) -> str:
    """Return the instructions that the model was given."""
    text: str = model.requests[request].messages[0]["content"]
    return text


@pytest.mark.parametrize("change", ["nothing", "new versions", "deleted"])
def test_whoever_carries_a_run_on_speaks_as_the_agents_that_it_began_with(
    machine: Machine, model: Script, change: str
) -> None:
    model.reply(Text("One moment."), *call("web_search", {"query": "x"}, call_id="callAAAA1"))
    model.call("handoff_to_news", {}, call_id="callAAAA2")
    for _ in range(2):
        model.reply(Text("Fou"), Text("nd"), model.gate())
    model.call("handoff_to_last", {}, call_id="callAAAA3")
    with machine.server() as (raw, kill):
        staff = Staff(raw, model)
        rates, news, last = staff.chain("rates", "news", "last", tools=SEARCHES)
        body = {"agent_id": rates, "inputs": "Any news?", "stream": True}
        with raw.stream("/v1/conversations", body) as stream:
            frames = [stream.frame() for _ in range(9)]
            if change != "nothing":
                for agent in (rates, news, last):
                    staff.change(agent, instructions="Another.", name="another", handoffs=[rates])
            if change == "deleted":
                for agent in (rates, news, last):
                    staff.dismiss(agent)
            kill()
    conversation, path = paths(frames[0].json)
    with machine.server() as (_, kill):
        model.request(4)
        kill()
    with machine.server() as (raw, _):
        had = follow(raw, path, Reading(frames))
        outputs = raw.get(f"{conversation}/history").json["entries"][1:]
        had.check(outputs)
        for count in range(1, len(frames)):
            follow(raw, path, Reading(frames[:count])).check(outputs)
        (run,) = raw.get(f"{conversation}/runs").json["data"]

    assert kinds(outputs) == [
        "message.output", "tool.execution", "agent.handoff", "agent.handoff", "message.output"
    ]  # fmt: skip
    assert [outputs[3]["next_agent_name"], outputs[4]["agent_id"]] == ["last", last]
    assert [system(model, request) for request in range(6)] == [
        "You are rates.", "You are rates.", "You are news.", "You are news.", "You are news.", "You are last.",
    ]  # fmt: skip
    assert len({request.messages_bytes for request in model.requests[2:5]}) == 1, "each owner asks the same"
    assert len({str(request.tools) for request in model.requests[2:5]}) == 1
    assert (run["state"], run["bounds"]["handoffs"], run["bounds"]["model_calls"]) == ("done", 2, 6)
    assert machine.calls == ['{"query": "x"}']


def test_whoever_carries_a_run_on_leaves_its_handoffs_to_the_client(
    machine: Machine, model: Script, meanwhile: Any
) -> None:
    with machine.server() as (raw, kill):
        rates, news = Staff(raw, model).chain("rates", "news")
        made = raw.post("/v1/conversations", {"agent_id": rates, "inputs": "One"}).json["conversation_id"]
        conversation = f"/v1/conversations/{made}"
        model.say("Too late.", before=model.gate())
        asked = meanwhile(raw.post, conversation, {"inputs": "Two", "handoff_execution": "client"})
        model.request(2)
        raw.running(conversation)
        model.call("handoff_to_news", {})
        kill()
        assert asked.exception(PATIENCE) is not None
    with machine.server() as (raw, _):
        run = raw.get(f"{conversation}/runs").json["data"][0]
        follow(raw, f"{conversation}/runs/{run['id']}/events", Reading())
        entries = raw.get(f"{conversation}/history").json["entries"]
        assert (kinds(entries)[-1], entries[-1]["next_agent_id"]) == ("agent.handoff", news)
        assert len(model.requests) == 3
        answer = raw.post(conversation, {"inputs": [entries[-1]]})
        assert answer.json["outputs"][0]["agent_id"] == news


def test_a_demand_that_was_met_before_a_kill_is_not_made_again(machine: Machine, model: Script) -> None:
    model.call("handoff_to_news", {}, call_id="callAAAA2")
    model.reply(Text("Fou"), model.gate())
    with machine.server() as (raw, kill):
        rates, _ = Staff(raw, model).chain("rates", "news", tools=[GET_RATE])
        body = {"agent_id": rates, "inputs": "Any?", "stream": True, "completion_args": {"tool_choice": "any"}}
        with raw.stream("/v1/conversations", body) as stream:
            frames = [stream.frame() for _ in range(4)]
            kill()
    _, path = paths(frames[0].json)
    with machine.server() as (raw, _):
        follow(raw, path, Reading(frames))
    assert [request.json.get("tool_choice") for request in model.requests] == ["required", "auto", "auto"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_is_answered_with_the_handoff_that_was_made(raw: Raw, model: Script, stream: bool) -> None:
    staff = Staff(raw, model)
    rates, news = staff.chain("rates", "news")
    model.call("handoff_to_news", {})
    body = {"agent_id": rates, "inputs": "Any news?", "stream": stream}
    first = raw.post("/v1/conversations", body, {"Idempotency-Key": f"handoff {rates}"})
    staff.dismiss(news)
    staff.dismiss(rates)
    again = raw.post("/v1/conversations", body, {"Idempotency-Key": f"handoff {rates}"})

    assert again.status == 200
    if stream:
        assert Reading(again.frames).said == Reading(first.frames).said
    else:
        assert again.body == first.body
    assert len(model.requests) == 2


def test_a_cancel_keeps_the_handoff_and_what_the_next_agent_has_said(raw: Raw, model: Script, meanwhile: Any) -> None:
    rates, news = Staff(raw, model).chain("rates", "news")
    made = raw.post("/v1/conversations", {"agent_id": rates, "inputs": "One"}).json["conversation_id"]
    with model.gate() as gate:
        model.call("handoff_to_news", {})
        model.reply(Text("All is"), gate)
        asked = meanwhile(raw.post, f"/v1/conversations/{made}", {"inputs": "Two", "stream": True})
        gate.wait_reached()
        (run,) = raw.post(f"/v1/conversations/{made}/cancel", None).json["data"]
    entries = raw.get(f"/v1/conversations/{made}/history").json["entries"][3:]
    Reading(asked.result(PATIENCE).frames).check(entries)

    assert run["bounds"]["handoffs"] == 1
    assert kinds(entries)[0] == "agent.handoff"
    assert [entry["agent_id"] for entry in entries[1:]] in ([], [news])
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": "Three"})
    assert answer.json["outputs"][0]["agent_id"] == news
    assert system(model) == "You are news."
    check_calls(model.last.messages)


def test_a_cancel_beside_a_handoff_keeps_what_was_done_and_hands_nothing_over(
    url: str, model: Script, toolset: HeldToolset, meanwhile: Any
) -> None:
    raw = Raw(url)
    news = Staff(raw, model).hire("news")
    rates = Staff(raw, model).hire("rates", tools=SEARCHES, handoffs=[news])
    made = raw.post("/v1/conversations", {"agent_id": rates, "inputs": "One"}).json["conversation_id"]
    toolset.reached.clear()
    model.calls(("search", {"query": "x"}), ("handoff_to_news", {}), ("search", {"query": "stuck"}))
    asked = meanwhile(raw.post, f"/v1/conversations/{made}", {"inputs": "Two", "stream": True})
    assert toolset.reached.wait(PATIENCE)
    raw.post(f"/v1/conversations/{made}/cancel", None)
    entries = raw.get(f"/v1/conversations/{made}/history").json["entries"][3:]
    Reading(asked.result(PATIENCE).frames).check(entries)

    assert kinds(entries) == ["tool.execution", "tool.execution"]
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": "Three"})
    assert answer.json["outputs"][0]["agent_id"] == rates
    check_calls(model.last.messages)


def test_a_tool_that_took_effect_before_a_handoff_failed_is_not_run_again(
    url: str, model: Script, toolset: HeldToolset
) -> None:
    """The ledger outlives the run, whoever asks for the call (D5)."""
    raw = Raw(url)
    news = Staff(raw, model).hire("news", model="nobody-has-this")
    rates = Staff(raw, model).hire("rates", tools=SEARCHES, handoffs=[news])
    made = raw.post("/v1/conversations", {"agent_id": rates, "inputs": "One"}).json["conversation_id"]
    for status in (400, 400):
        model.calls(("search", {"query": f"once {made}"}), ("handoff_to_news", {}))
        assert raw.post(f"/v1/conversations/{made}", {"inputs": "Two"}).status == status
    assert [arguments for _, arguments, _ in toolset.calls].count(f'{{"query": "once {made}"}}') == 1
    assert len(raw.get(f"/v1/conversations/{made}/history").json["entries"]) == 2


def test_nothing_is_kept_of_a_handoff_without_store(raw: Raw, model: Script) -> None:
    rates, news = Staff(raw, model).chain("rates", "news")
    made = raw.post("/v1/conversations", {"agent_id": rates, "inputs": "One"}).json["conversation_id"]
    before = raw.get(f"/v1/conversations/{made}/history").body
    model.call("handoff_to_news", {})
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": "Two", "store": False})
    assert kinds(answer.json["outputs"]) == ["agent.handoff", "message.output"]
    assert answer.json["outputs"][1]["agent_id"] == news
    assert raw.get(f"/v1/conversations/{made}/history").body == before
    assert raw.post(f"/v1/conversations/{made}", {"inputs": "Two"}).json["outputs"][0]["agent_id"] == rates
    model.call("handoff_to_news", {})
    start = {"agent_id": rates, "inputs": "One", "store": False, "handoff_execution": "client"}
    assert kinds(raw.post("/v1/conversations", start).json["outputs"]) == ["agent.handoff"]


@pytest.mark.parametrize("stream", [False, True])
def test_calls_that_an_upstream_interleaves_with_a_handoff_come_out_in_order(
    raw: Raw, model: Script, stream: bool
) -> None:
    news = Staff(raw, model).hire("news")
    rates = Staff(raw, model).hire("rates", tools=[GET_RATE], handoffs=[news])
    model.reply(
        CallPiece(0, "callAAAA1", "get_rate"), CallPiece(1, "callAAAA2", "handoff_to_news"),
        CallPiece(2, "callAAAA3", "get_rate"), CallPiece(1, arguments="{"), CallPiece(0, arguments='{"date":'),
        Text("Well."), CallPiece(2, arguments='{"date": "2"}'), CallPiece(0, arguments=' "1"}'),
        CallPiece(1, arguments="}"),
    )  # fmt: skip
    answer = raw.post("/v1/conversations", {"agent_id": rates, "inputs": "Which?", "stream": stream})
    made = (answer.events[0] if stream else answer.json)["conversation_id"]
    entries = raw.get(f"/v1/conversations/{made}/history").json["entries"][1:]
    if stream:
        Reading(answer.frames).check(entries)
    assert sorted(kinds(entries)) == ["function.call", "function.call", "message.output"]
    calls = [entry for entry in entries if entry["type"] == "function.call"]
    assert [entry["arguments"] for entry in calls] == ['{"date": "1"}', '{"date": "2"}']
    told = [result(entry["tool_call_id"], "fine") for entry in calls]
    assert raw.post(f"/v1/conversations/{made}", {"inputs": told}).status == 200
    assert len(check_calls(model.last.messages)) == 3
