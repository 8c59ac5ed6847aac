"""Tools and a structured answer in one run: tools first, then one call for the answer, and nobody sees a draft."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw import Answer, Raw
from tests.support.reading import DONE, FAILED, STARTED, Reading
from tests.support.replies import PATIENCE, CallPiece, Reasoning, Text
from tests.support.running import serving
from tests.support.samples import GET_RATE, check_calls, result
from tests.support.scripted import Request, Script, ScriptedServer
from tests.support.sdk import SDK
from tests.support.searching import searching
from tests.support.toolset import ScriptedToolset

SCHEMA = {"type": "object", "properties": {"rate": {"type": "number"}}, "required": ["rate"]}
FORM = {"type": "json_schema", "json_schema": {"name": "rate", "schema": SCHEMA, "strict": True}}
ARGS = {"temperature": 0.5, "response_format": FORM}
DRAFT, GOOD, BAD = "It is two and a half.", '{"rate": 2.5}', '{"rate": "2.5"}'


def start(raw: Raw, model: Script, **more: Any) -> Answer:
    """Start a conversation with a function and a form."""
    body = {"inputs": "Which rate?", "model": model.name, "tools": [GET_RATE], "completion_args": ARGS}
    return raw.post("/v1/conversations", body | more)


def asked(request: Request) -> tuple[bool, str | None, bool]:
    """Return whether tools were offered, which choice among them there was, and whether the form was asked for."""
    return bool(request.tools), request.json.get("tool_choice"), "response_format" in request.json


FREE, BOUND, REPAIR = (True, None, False), (True, "none", True), (False, None, True)


@pytest.mark.requirement("C-179", "C-180")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("form", [FORM, {"type": "json_object"}], ids=lambda form: form["type"])
def test_tools_are_free_first_and_then_the_answer_is_asked_for(
    sdk: SDK, model: Script, streamed: bool, form: dict[str, Any]
) -> None:
    model.call("get_rate", {"date": "x"})
    model.say(*DRAFT)
    model.say(*GOOD)
    args = ARGS | {"response_format": form}
    (call,) = sdk.start(inputs="Which rate?", tools=[GET_RATE], completion_args=args).outputs
    made = {"conversation_id": None, "inputs": [result(call.tool_call_id, "2.5%")]}
    made["conversation_id"] = sdk.list(page_size=1)[0].id
    if streamed:
        started, *deltas, done = sdk.append_stream(**made)
        assert (started.type, done.type) == (STARTED, DONE)
        text, usage = "".join(delta.content for delta in deltas), done.usage
    else:
        response = sdk.append(**made)
        text, usage = response.outputs[0].content, response.usage

    assert text == GOOD
    assert (usage.prompt_tokens, usage.completion_tokens) == (32, 6), "what the draft used counts"
    assert [asked(request) for request in model.requests] == [FREE, FREE, BOUND]
    free, bound = model.requests[1:]
    assert bound.messages_bytes == free.messages_bytes, "the prompt is the same, so that it is read from the cache"
    assert bound.tools == free.tools
    assert bound.json["response_format"]["type"] == form["type"]
    assert {request.json["temperature"] for request in model.requests} == {0.5}
    entries = sdk.get_history(made["conversation_id"]).entries
    assert [entry.type for entry in entries] == ["message.input", "function.call", "function.result", "message.output"]
    assert entries[-1].content == GOOD


@pytest.mark.requirement("C-180")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_draft_that_has_the_form_is_the_answer(raw: Raw, model: Script, streamed: bool) -> None:
    model.reply(Reasoning("Hm."), *map(Text, GOOD))
    answer = start(raw, model, stream=streamed)
    said = Reading(answer.frames).said[0] if streamed else None
    outputs = raw.get(f"/v1/conversations/{ids(answer)}/history").json["entries"][1:]

    assert [asked(request) for request in model.requests] == [FREE]
    chunks = [(chunk["type"], chunk.get("text")) for chunk in outputs[0]["content"]]
    assert chunks == [("thinking", None), ("text", GOOD)]
    assert said is None or (said["text"], said["thoughts"]) == (GOOD, "Hm.")


def ids(answer: Answer) -> str:
    """Return the conversation's id, of an answer or of a stream."""
    body = answer.events[0] if answer.headers["content-type"].startswith("text/event-stream") else answer.json
    return str(body["conversation_id"])


NO_FORM = [
    *(DRAFT, BAD, "", "[]", "null", "NaN", "1e400", '"\\ud800"', f"```json\n{GOOD}\n```", f"{GOOD} {GOOD}"),
    *("[" * depth + "]" * depth for depth in (900, 5000)),
]


@pytest.mark.parametrize("draft", NO_FORM, ids=lambda draft: draft[:20])
def test_a_draft_without_the_form_is_dropped_before_anybody_sees_it(raw: Raw, model: Script, draft: str) -> None:
    model.reply(Reasoning("Hm."), *map(Text, draft))
    model.say(GOOD)
    with raw.stream("/v1/conversations", start_body(model, stream=True)) as stream:
        had = Reading(stream.frames())
    assert [asked(request) for request in model.requests] == [FREE, BOUND]
    assert [(one["text"], one["thoughts"]) for one in had.said] == [(GOOD, "")]
    assert had.types == [STARTED, "message.output.delta", DONE]


def start_body(model: Script, **more: Any) -> dict[str, Any]:
    """Return the body of `start`."""
    return {"inputs": "Which rate?", "model": model.name, "tools": [GET_RATE], "completion_args": ARGS, **more}


def test_the_next_prompt_goes_on_from_the_answer_alone(raw: Raw, model: Script) -> None:
    for text in (DRAFT, BAD, GOOD, GOOD):
        model.say(text)
    made = ids(start(raw, model))
    raw.post(f"/v1/conversations/{made}", {"inputs": "And now?"})
    first, last = model.requests[0].messages, model.last.messages
    assert last == [*first, {"role": "assistant", "content": GOOD}, {"role": "user", "content": "And now?"}]
    assert model.last.messages_bytes.startswith(model.requests[0].messages_bytes[:-1])


def test_an_answer_that_does_not_fit_is_asked_for_once_more(raw: Raw, model: Script) -> None:
    for text in (DRAFT, BAD, GOOD):
        model.say(text)
    answer = start(raw, model)
    bound, repair = model.requests[1:]

    assert [asked(request) for request in model.requests] == [FREE, BOUND, REPAIR]
    assert repair.messages[:-2] == bound.messages
    assert repair.messages[-2] == {"role": "assistant", "content": BAD}
    assert '"2.5" is not of type "number" (at $.rate)' in repair.messages[-1]["content"]
    assert [output["content"] for output in answer.json["outputs"]] == [GOOD]
    assert answer.json["usage"]["total_tokens"] == 3 * 19


def test_what_a_complaint_repeats_of_the_answer_has_an_end(raw: Raw, model: Script) -> None:
    for text in (DRAFT, json.dumps({"rate": "x" * 10_000}), GOOD):
        model.say(text)
    assert start(raw, model).status == 200
    assert len(model.last.messages[-1]["content"]) < 1000


LISTS = [{"type": "array", "items": {"$ref": "#/$defs/tree"}, "minItems": least} for least in (0, 1)]
RATE = {"type": "object", "properties": {"rate": {"anyOf": [{"$ref": "#/$defs/number"}, {"type": "null"}]}}}


@pytest.mark.parametrize(
    ("schema", "said", "problem"),
    [
        # There are as many reasons why this does not fit as there are ways down to its end.
        ({"$defs": {"tree": {"anyOf": LISTS}}, "$ref": "#/$defs/tree"}, "[" * 60 + "1" + "]" * 60, "the schema 'rate'"),
        ({"$defs": {"number": {"type": "number"}}, **RATE}, BAD, "(at $.rate)"),
        ({"$defs": {"number": {"$ref": "#/$defs/a~1b"}, "a/b": {"type": "number"}}, **RATE}, BAD, "(at $.rate)"),
        ({"$defs": {"number": {"$anchor": "n", "type": "number"}}, "properties": {"rate": {"$ref": "#n"}}}, BAD, "fit"),
    ],
)
def test_what_does_not_fit_is_explained_where_that_has_an_end(
    raw: Raw, model: Script, schema: dict[str, Any], said: str, problem: str
) -> None:
    form = FORM | {"json_schema": {"name": "rate", "schema": schema}}
    for text in (DRAFT, said, said):
        model.say(text)
    answer = start(raw, model, completion_args={"response_format": form})

    assert (answer.status, len(model.requests)) == (502, 3)
    assert problem in model.last.messages[-1]["content"]
    assert problem in answer.json["message"]


@pytest.mark.parametrize("streamed", [False, True])
def test_what_fits_neither_time_is_an_error_and_leaves_no_trace(raw: Raw, model: Script, streamed: bool) -> None:
    model.say(GOOD)
    made = ids(start(raw, model))
    before = raw.get(f"/v1/conversations/{made}/history").body
    for text in (DRAFT, BAD, "I will not."):
        model.say(text)
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": "Again.", "stream": streamed})

    told = answer.events[-1] if streamed else answer.json
    assert (answer.status, told.get("code")) == ((200, 502) if streamed else (502, 3000))
    assert "does not fit the schema 'rate', nor did its second attempt: it is not JSON." in told["message"]
    assert not streamed or Reading(answer.frames).types == [STARTED, FAILED]
    assert raw.get(f"/v1/conversations/{made}/history").body == before


@pytest.mark.parametrize("cut", [1, 2])
def test_an_answer_that_was_cut_names_what_cuts_it(raw: Raw, model: Script, cut: int) -> None:
    for number in range(3):
        model.say('{"rate": 2', finish="length" if number == cut else None)
    answer = start(raw, model)
    assert (answer.status, len(model.requests)) == (400, cut + 1)
    assert "give it more max_tokens" in answer.json["message"]


def test_a_server_that_takes_no_form_beside_tools_is_asked_without_them(raw: Raw, model: Script) -> None:
    model.say(DRAFT)
    model.fail(400, "json mode cannot be combined with tools")
    model.say(GOOD)
    answer = start(raw, model)
    assert [output["content"] for output in answer.json["outputs"]] == [GOOD]
    assert [asked(request) for request in model.requests] == [FREE, BOUND, REPAIR]
    assert model.last.messages_bytes == model.requests[0].messages_bytes


def test_a_call_that_was_not_to_be_made_is_none(raw: Raw, model: Script) -> None:
    """Some servers do not know ``tool_choice``: what they call there is not made, and they are asked without tools."""
    model.say(DRAFT)
    model.call("get_rate", {})
    model.say(GOOD)
    answer = start(raw, model)
    assert [(one["type"], one["content"]) for one in answer.json["outputs"]] == [("message.output", GOOD)]
    assert [asked(request) for request in model.requests] == [FREE, BOUND, REPAIR]


@pytest.mark.parametrize("streamed", [False, True])
def test_what_is_said_beside_a_call_leaves_with_it(raw: Raw, model: Script, streamed: bool) -> None:
    gate = model.gate()
    said = [Reasoning("Hm."), Text("Let me "), Text("look.")]
    call = [CallPiece(0, "callAAAA1", "get_rate"), CallPiece(0, arguments='{"da')]
    model.reply(*said, *call, *([gate] if streamed else []), CallPiece(0, arguments='te": ""}'))
    if not streamed:
        outputs = start(raw, model).json["outputs"]
        assert [one["type"] for one in outputs] == ["message.output", "function.call"]
        return
    with raw.stream("/v1/conversations", start_body(model, stream=True)) as stream:
        had = Reading([stream.frame() for _ in range(5)])
        gate.open()
        had.take(stream.frames())
    assert [(one["type"], one["text"], one["arguments"]) for one in had.said] == [
        ("message.output", "Let me look.", None), ("function.call", "", '{"date": ""}'),
    ]  # fmt: skip


def test_a_tool_of_the_servers_comes_first_too(serve: Callable[..., str], model: Script) -> None:
    toolset = ScriptedToolset("search")
    raw = Raw(serve(toolsets={"web_search": toolset}))
    model.call("search", {"query": "rate"})
    model.say(DRAFT)
    model.say(GOOD)
    outputs = start(raw, model, tools=[{"type": "web_search"}]).json["outputs"]
    assert [one["type"] for one in outputs] == ["tool.execution", "message.output"]
    assert (outputs[-1]["content"], len(toolset.calls)) == (GOOD, 1)
    assert [asked(request) for request in model.requests] == [FREE, FREE, BOUND]
    assert check_calls(model.last.messages) == ["Result 1"]


@pytest.mark.requirement("C-182")
@pytest.mark.parametrize(("choice", "requests"), [
    ("none", [(True, "none", True)]), ("required", [(True, "required", False), BOUND]),
    ("auto", [(True, "auto", False), BOUND]),
])  # fmt: skip
def test_a_choice_among_tools_holds_for_the_draft(
    raw: Raw, model: Script, choice: str, requests: list[tuple[bool, str, bool]]
) -> None:
    model.say(DRAFT)
    model.say(GOOD)
    answer = start(raw, model, completion_args=ARGS | {"tool_choice": choice})
    assert [asked(request) for request in model.requests] == requests
    assert answer.json["outputs"][0]["content"] == (DRAFT if choice == "none" else GOOD)


def test_without_tools_the_model_is_asked_once_and_believed(raw: Raw, model: Script) -> None:
    model.say(DRAFT)
    answer = start(raw, model, tools=[])
    assert answer.json["outputs"][0]["content"] == DRAFT
    assert [asked(request) for request in model.requests] == [(False, None, True)]


def test_a_prefix_stays_where_it_is(raw: Raw, model: Script) -> None:
    inputs = [{"role": "user", "content": "Which rate?"}, {"role": "assistant", "content": '{"rate"', "prefix": True}]
    for text in ('{"rate" is good', '{"rate": "x"}', '{"rate": 2.5}'):
        model.say(text)
    answer = start(raw, model, inputs=inputs)
    assert [output["content"] for output in answer.json["outputs"]] == ['{"rate": 2.5}']
    assert len({request.messages_bytes for request in model.requests}) == 1


@pytest.mark.parametrize("schema", [{"type": "nothing"}, {"properties": []}, {"$ref": 7}])
def test_a_schema_that_is_none_is_refused_wherever_it_is_given(raw: Raw, model: Script, schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    model.say("Hello")
    begun = start(raw, model, completion_args={}, tools=[]).json
    conversation = f"/v1/conversations/{begun['conversation_id']}"
    agent = raw.post("/v1/agents", {"model": model.name, "name": "Rates"}).json["id"]
    asked_before, more = len(model.requests), {"completion_args": {"response_format": form}}
    for answer in (
        start(raw, model, **more, stream=True),
        start(raw, model, **more, tools=[]),
        raw.post(conversation, {"inputs": "And now?", **more}),
        raw.post(f"{conversation}/restart", {"from_entry_id": begun["outputs"][0]["id"], "inputs": "x", **more}),
        raw.post("/v1/agents", {"model": model.name, "name": "Rates", **more}),
        raw.request("PATCH", f"/v1/agents/{agent}", more),
    ):
        assert answer.status == 422
        assert answer.json["detail"][0]["loc"] == [
            "body", "completion_args", "response_format", "json_schema", "schema",
        ]  # fmt: skip
        assert answer.json["detail"][0]["msg"].startswith("This is no JSON Schema: ")
    assert len(model.requests) == asked_before


@pytest.mark.parametrize(
    "schema", [{"$ref": "http://127.0.0.1:9/x.json"}, {"$schema": "http://127.0.0.1:9/mine"}, {"pattern": "("}]
)
def test_a_schema_that_cannot_be_checked_is_the_model_servers_alone(
    raw: Raw, model: Script, schema: dict[str, Any]
) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    answer = start(raw, model, completion_args={"response_format": form})
    assert answer.status == 422
    assert answer.json["detail"][0]["msg"].startswith("This schema cannot be checked here, as it has to be beside ")
    assert model.requests == []

    model.say("Two.")
    answer = start(raw, model, completion_args={"response_format": form}, tools=[])
    assert answer.json["outputs"][0]["content"] == "Two."
    assert model.last.json["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize("bound", [1, 2])
def test_every_call_counts(model: Script, model_server: ScriptedServer, bound: int) -> None:
    with serving(upstream=model_server.url, max_model_calls=bound) as url:
        raw = Raw(url)
        for text in (DRAFT, BAD, GOOD):
            model.say(text)
        answer = start(raw, model)
    assert answer.status == 400
    assert f"The run made {bound} model calls" in answer.json["message"]
    assert len(model.requests) == bound


def test_a_cancel_keeps_nothing_of_a_draft(raw: Raw, model: Script) -> None:
    model.say(DRAFT)
    model.reply(Text('{"rate"'), model.gate())
    with raw.stream("/v1/conversations", start_body(model, stream=True)) as stream:
        first = stream.frame()
        model.request(2)
        conversation = f"/v1/conversations/{first.json['conversation_id']}"
        (run,) = raw.post(f"{conversation}/cancel", None).json["data"]
    assert (run["state"], run["bounds"]["model_calls"]) == ("cancelled", 2)
    assert [entry["type"] for entry in raw.get(f"{conversation}/history").json["entries"]] == ["message.input"]
    assert raw.post(conversation, {"inputs": "Go on.", "completion_args": {"response_format": None}}).status == 200


def test_a_retry_gets_the_same_answer(raw: Raw, model: Script) -> None:
    key = {"Idempotency-Key": f"structured {model.name}"}
    for text in (DRAFT, BAD, GOOD):
        model.say(text)
    answers = [raw.post("/v1/conversations", start_body(model), key) for _ in range(2)]
    assert answers[0].body == answers[1].body
    assert len(model.requests) == 3


@pytest.mark.parametrize("said", [DRAFT, BAD])
def test_a_kill_between_the_calls_changes_nothing(
    tmp_path: Path, model_server: ScriptedServer, model: Script, said: str
) -> None:
    """Killed while it asks for the answer: the next owner asks for the whole turn, and nobody was told of a draft."""
    model.say(said)
    model.reply(Text('{"rate"'), model.gate())
    model.say(DRAFT)
    model.say(GOOD)
    with (
        searching(tmp_path / "data", model_server.url, tmp_path / "calls") as (program, url),
        Raw(url).stream("/v1/conversations", start_body(model, stream=True)) as stream,
    ):
        frames = [stream.frame()]
        model.request(2)
        program.kill()
    where = f"/v1/conversations/{frames[0].json['conversation_id']}"
    with searching(tmp_path / "data", model_server.url, tmp_path / "calls") as (_, url):
        raw = Raw(url)
        had = Reading(frames).take(
            raw.get(f"{where}/runs/{frames[0].json['run_id']}/events", {"Last-Event-ID": str(frames[0].id)}).frames
        )
        outputs = raw.get(f"{where}/history").json["entries"][1:]
    had.check(outputs)
    assert [one["content"] for one in outputs] == [GOOD]
    assert [asked(request) for request in model.requests] == [FREE, BOUND, FREE, BOUND]


def test_the_rehearsal_model_knows_the_way(meanwhile: Any) -> None:
    with serving() as url:
        body = {"inputs": '/call get_rate {"date": "x"}', "tools": [GET_RATE], "completion_args": ARGS}
        raw = Raw(url)
        made = meanwhile(raw.post, "/v1/conversations", body).result(PATIENCE).json
        (call,) = made["outputs"]
        told = {"inputs": [result(call["tool_call_id"], "2")]}
        answer = raw.post(f"/v1/conversations/{made['conversation_id']}", told)
    assert json.loads(answer.json["outputs"][0]["content"]) == {"rate": 0}
