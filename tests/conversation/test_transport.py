"""What all operations have in common on the wire: content types, statuses, headers, ids, times, nulls."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.requirements.checklist import load
from tests.support.library import VERSION
from tests.support.raw import Answer, Raw
from tests.support.samples import FOREIGN_HISTORY, GET_RATE, MOMENT, TOOL_CALL_ID, result
from tests.support.scripted import Script
from tests.support.sdk import SDK
from tests.support.toolset import ScriptedToolset

PATHS = ("", "/history", "/messages")
NULLABLE = (
    *("store", "handoff_execution", "instructions", "tools", "completion_args", "guardrails"),
    *("name", "description", "metadata", "agent_id", "agent_version"),
)
"""What a start may have and may leave out, `model` and `stream` aside."""


@pytest.fixture
def tour(raw: Raw, model: Script) -> dict[str, Answer]:
    """One answer of every operation, and of three kinds of refusal."""
    start = {"inputs": "Good morning", "model": model.name}
    stream = {"stream": True}
    answers = {"start": raw.post("/v1/conversations", start)}
    path = "/v1/conversations/" + answers["start"].json["conversation_id"]
    branch = {"from_entry_id": answers["start"].json["outputs"][0]["id"], "inputs": "Good evening"}
    return answers | {
        "append": raw.post(path, {"inputs": "Good evening"}),
        "restart": raw.post(f"{path}/restart", branch),
        "start_stream": raw.post("/v1/conversations", start | stream),
        "append_stream": raw.post(path, {"inputs": "Good night"} | stream),
        "restart_stream": raw.post(f"{path}/restart", branch | stream),
        "list": raw.get("/v1/conversations"),
        "get": raw.get(path),
        "get_history": raw.get(f"{path}/history"),
        "get_messages": raw.get(f"{path}/messages"),
        "refused 422": raw.post(path, {"inputs": []}),
        "refused 400": raw.post(path, b"{"),
        "delete": raw.delete(path),
        "refused 404": raw.get(path),
    }


@pytest.mark.requirement("C-003", "C-004")
def test_answers_are_declared_as_what_they_are(tour: dict[str, Answer]) -> None:
    for name, answer in tour.items():
        if name.endswith("_stream"):
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8", name
            assert answer.events[-1]["type"] == "conversation.response.done", name
        elif name != "delete":
            assert answer.headers["content-type"].partition(";")[0] == "application/json", name
            answer.body.decode()
            assert isinstance(answer.json, dict | list), name


@pytest.mark.requirement("C-005")
def test_success_is_200_and_deletion_an_empty_204(tour: dict[str, Answer]) -> None:
    statuses = {name: answer.status for name, answer in tour.items() if not name.startswith("refused")}
    assert statuses.pop("delete") == 204
    assert set(statuses.values()) == {200}, statuses
    assert tour["delete"].body == b""


@pytest.mark.requirement("C-009")
def test_no_answer_has_the_header_that_breaks_the_sdk(tour: dict[str, Answer]) -> None:
    assert [name for name, answer in tour.items() if "x-model-deprecation-timestamp" in answer.headers] == []


@pytest.mark.requirement("C-010")
def test_every_answer_has_a_correlation_id_of_its_own(tour: dict[str, Answer]) -> None:
    ids = [uuid.UUID(answer.headers["mistral-correlation-id"]) for answer in tour.values()]
    assert {one.version for one in ids} == {7}
    assert len(set(ids)) == len(tour)


@pytest.mark.requirement("C-006")
@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", None])
@pytest.mark.parametrize("stream", [True, False, None])
def test_the_body_alone_decides_between_json_and_events(
    raw: Raw, model: Script, accept: str | None, stream: bool | None
) -> None:
    body = {"inputs": "Hello", "model": model.name} | ({} if stream is None else {"stream": stream})
    answer = raw.post("/v1/conversations", body, {"Accept": accept} if accept else None)

    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream" if stream else "application/json")


@pytest.mark.requirement("C-007")
def test_one_path_serves_both_forms_of_an_operation(raw: Raw, model: Script) -> None:
    start = {"inputs": "Hello", "model": model.name}
    plain = raw.post("/v1/conversations", start).json
    streamed = raw.post("/v1/conversations", start | {"stream": True}).events
    assert streamed[0]["conversation_id"] != plain["conversation_id"]

    path = f"/v1/conversations/{plain['conversation_id']}"
    append = {"inputs": "More"}
    restart = append | {"from_entry_id": plain["outputs"][0]["id"]}
    for where, body in ((path, append), (f"{path}/restart", restart)):
        assert raw.post(where, body).json["object"] == "conversation.response"
        assert raw.post(where, body | {"stream": True}).events[0]["type"] == "conversation.response.started"


@pytest.mark.requirement("C-008")
def test_null_means_absent_in_a_start(raw: Raw, model: Script) -> None:
    nullable = ("stream", *NULLABLE)
    bare = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name})
    nulls = raw.post("/v1/conversations", dict.fromkeys(nullable) | {"inputs": "Hello", "model": model.name})

    assert nulls.status == 200, nulls.json
    assert model.requests[0].body == model.requests[1].body
    shown = [raw.get(f"/v1/conversations/{answer.json['conversation_id']}").json for answer in (bare, nulls)]
    for entity in shown:
        for name in ("id", "created_at", "updated_at"):
            del entity[name]
    assert {key: value for key, value in shown[1].items() if value is not None} == {
        key: value for key, value in shown[0].items() if value is not None
    }


@pytest.mark.requirement("C-008")
def test_the_sdk_may_send_null_for_whatever_it_may_leave_out(sdk: SDK) -> None:
    first = sdk.start(inputs="Hello", model=sdk.model, **dict.fromkeys(NULLABLE))
    conversation = {"conversation_id": first.conversation_id}
    second = sdk.append(**conversation, inputs="Hello", tool_confirmations=None)
    third = sdk.restart(
        **conversation, inputs="Hello", from_entry_id=second.outputs[0].id, guardrails=None, agent_version=None
    )
    assert [output.content for output in third.outputs] == ["Answer 3"]


@pytest.mark.requirement("C-008")
def test_null_is_accepted_in_entries_and_completion_args(raw: Raw, model: Script) -> None:
    common = {"completed_at": None}
    maker = {"agent_id": None, "model": None}
    inputs = [
        {"type": "message.input", "role": "user", "content": "Hello"} | common,
        {"type": "message.output", "content": "Hello."} | common | maker,
        {"type": "function.call", "tool_call_id": "a1B2c3D4e", "name": "f", "arguments": "{}"}
        | common | maker | {"confirmation_status": None},
        {"type": "function.result", "tool_call_id": "a1B2c3D4e", "result": "1"} | common,
        {"type": "tool.execution", "name": "web_search", "arguments": "{}"} | common | maker,
        {"type": "message.input", "role": "user", "content": "And now?"},
    ]  # fmt: skip
    members = ("stop", "presence_penalty", "frequency_penalty", "temperature", "top_p", "max_tokens", "random_seed")
    args = dict.fromkeys((*members, "prediction", "response_format", "reasoning_effort"))
    answer = raw.post("/v1/conversations", {"inputs": inputs, "model": model.name, "completion_args": args})

    assert answer.status == 200, answer.json
    assert {name: model.last.json.get(name) for name in members} == dict.fromkeys(members)


@pytest.mark.requirement("C-012")
def test_ids_have_their_prefix_and_sort_by_time(serve: Callable[..., str], model: Script) -> None:
    raw = Raw(serve(toolsets={"web_search": ScriptedToolset()}))
    model.call("web_search", {"query": "x"}, call_id="callAAAA1")
    model.call("get_rate", {"date": "x"}, call_id="callAAAA2")
    without_ids = [{key: value for key, value in entry.items() if key != "id"} for entry in FOREIGN_HISTORY]
    body = {"inputs": without_ids, "model": model.name, "tools": [{"type": "web_search"}, GET_RATE]}
    made = raw.post("/v1/conversations", body).json["conversation_id"]
    entries = raw.get(f"/v1/conversations/{made}/history").json["entries"]

    prefixes = ("msg", "fc", "fr", "msg", "tool_exec", "handoff", "msg", "tool_exec", "fc")
    assert [entry["id"].rpartition("_")[0] for entry in entries] == list(prefixes)
    numbers = [made.removeprefix("conv_"), *(entry["id"].rpartition("_")[2] for entry in entries)]
    assert {(len(number), uuid.UUID(number).version, number.lower()) for number in numbers} == {
        (32, 7, number) for number in numbers
    }
    assert len(set(numbers)) == len(numbers)
    # Everything a run reads comes before everything it makes.
    assert max(numbers[1:8]) < min(numbers[8:])
    later = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name}).json["conversation_id"]
    assert made < later


@pytest.mark.requirement("C-013")
@pytest.mark.parametrize(
    "conversation_id",
    ["5b1c0e7e-8a3f-4d2a-9f53-0d4e2a7f9f3c", "ag:1a2b3c4d:20250101:rates:5e6f7a8b", "conv_x", "%F0%9F%99%82", "0"],
)
def test_an_id_of_another_shape_is_looked_up_and_not_found(raw: Raw, conversation_id: str) -> None:
    path = f"/v1/conversations/{conversation_id}"
    answers = [raw.get(path + suffix) for suffix in PATHS]
    answers.append(raw.delete(path))
    answers.append(raw.post(path, {"inputs": "Hello"}))
    answers.append(raw.post(f"{path}/restart", {"from_entry_id": conversation_id, "inputs": "Hello"}))

    assert [(answer.status, answer.json["code"]) for answer in answers] == [(404, 3404)] * 6


@pytest.mark.requirement("C-014")
@pytest.mark.parametrize(
    "given", ["call_0123456789abcdefghijklmn", "0", "functions.get_rate:0", "chatcmpl-tool-8f2a", "a1B2c3D4e"]
)
def test_a_tool_call_id_goes_out_as_nine_alphanumerics(sdk: SDK, model: Script, given: str) -> None:
    model.call("get_rate", {"date": "x"}, call_id=given)
    first = sdk.start(inputs="Which rate?", tools=[GET_RATE])
    (call,) = first.outputs
    assert TOOL_CALL_ID.fullmatch(call.tool_call_id)

    sdk.append(conversation_id=first.conversation_id, inputs=[result(call.tool_call_id, "2.5%")])
    _, asked, told = model.last.messages
    assert asked["tool_calls"][0]["id"] == told["tool_call_id"] == given


@pytest.mark.requirement("C-015")
def test_times_are_utc_with_microseconds(tour: dict[str, Answer]) -> None:
    seen: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            seen.extend(value[name] for name in ("created_at", "updated_at", "completed_at") if value.get(name))
            value = list(value.values())
        for item in value if isinstance(value, list) else ():
            collect(item)

    for name, answer in tour.items():
        collect([] if name == "delete" else answer.events if name.endswith("_stream") else answer.json)
    assert len(seen) > len(tour)
    assert [moment for moment in seen if not MOMENT.fullmatch(moment)] == []


@pytest.mark.requirement("C-016")
def test_all_eleven_operations_work_through_the_sdk(sdk: SDK) -> None:
    assert VERSION is None or VERSION in load().generations
    plain = sdk.start(inputs="One")
    branch = sdk.restart(
        conversation_id=plain.conversation_id, from_entry_id=plain.outputs[0].id, inputs="Two"
    ).conversation_id
    sdk.append(conversation_id=branch, inputs="Three")
    last = sdk.get_history(branch).entries[-1]
    streams = [
        sdk.start_stream(inputs="Four"),
        sdk.append_stream(conversation_id=branch, inputs="Five"),
        sdk.restart_stream(conversation_id=branch, from_entry_id=last.id, inputs="Six"),
    ]
    assert [[event.type for event in (events[0], events[-1])] for events in streams] == [
        ["conversation.response.started", "conversation.response.done"]
    ] * 3
    messages = ["One", "Answer 1", "Two", "Answer 2", "Three", "Answer 3", "Five", "Answer 5"]
    assert [message.content for message in sdk.get_messages(branch).messages] == messages
    assert branch in [conversation.id for conversation in sdk.list(page_size=1000)]
    assert sdk.get(branch).id == branch
    assert sdk.delete(branch) is None
