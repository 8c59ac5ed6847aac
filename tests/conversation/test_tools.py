"""Tools: functions that the caller runs, calls made together, the choice among tools, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.replies import CallPiece, Step, Text
from tests.support.samples import GET_RATE, GET_TIME, TOOL_CALL_ID, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

IDS: dict[str, tuple[str | None, str | None]] = {
    "ours already": ("callAAAA1", "callAAAA2"),
    "of another shape": ("call_0aB-1cD", "chatcmpl-tool-2b1f7a6e9c3d4e5f8a7b6c5d4e3f2a1b"),
    "with names in them": ("functions.get_rate:0", "functions.get_time:1"),
    "one for both": ("callAAAA1", "callAAAA1"),
    "another's shape for both": ("call_0", "call_0"),
    "none": (None, None),
    "empty": ("", ""),
    "one missing": (None, "callAAAA1"),
}
"""What model servers call two parallel calls."""
RATE, TIME = '{"date": "2024-06-06"}', '{"zone": "ü"}'
HALF = len(RATE) // 2


@pytest.fixture(scope="module")
def speaking(model_server: ScriptedServer) -> Iterator[Callable[[str], str]]:
    """Start a server that speaks a dialect to its upstream, once for each: stopping one costs more than a test."""
    with ExitStack() as stack:
        yield cache(lambda dialect: stack.enter_context(serving(upstream=model_server.url, dialect=dialect)))


def function(name: str, **members: Any) -> dict[str, Any]:
    """Return a function tool."""
    return {"type": "function", "function": {"name": name, "parameters": {}, **members}}


def two_calls(ids: tuple[str | None, str | None], order: str) -> list[Step]:
    """Return the pieces of two parallel calls."""
    first = [
        CallPiece(0, ids[0], "get_rate"),
        CallPiece(0, None, None, RATE[:HALF]),
        CallPiece(0, None, None, RATE[HALF:]),
    ]
    second = [CallPiece(1, ids[1], "get_time"), CallPiece(1, None, None, TIME[:5]), CallPiece(1, None, None, TIME[5:])]
    if order == "one after the other":
        return [*first, *second]
    if order == "interleaved":
        return [first[0], second[0], first[1], second[1], first[2], second[2]]
    return [first[0], first[1], second[0], second[1], second[2], first[2]]  # the second ends within the first


@pytest.mark.requirement("C-133")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_ends_the_run_and_waits_for_the_caller(sdk: SDK, model: Script, streamed: bool) -> None:
    model.call("get_rate", RATE)
    model.say("2.5%.")
    if streamed:
        started, *pieces, done = sdk.start_stream(inputs="Which rate?", tools=[GET_RATE])
        assert {piece.type for piece in pieces} == {"function.call.delta"}
        assert done.type == "conversation.response.done"
        made = started.conversation_id
    else:
        response = sdk.start(inputs="Which rate?", tools=[GET_RATE])
        assert [(output.type, output.name) for output in response.outputs] == [("function.call", "get_rate")]
        made = response.conversation_id

    assert len(model.requests) == 1
    assert [entry.type for entry in sdk.get_history(made).entries] == ["message.input", "function.call"]
    answer = sdk.append(conversation_id=made, inputs=[result("callAAAA1", "2.5%")])
    assert [output.content for output in answer.outputs] == ["2.5%."]
    assert len(model.requests) == 2


@pytest.mark.requirement("C-133")
@pytest.mark.parametrize("streamed", [False, True])
def test_what_a_model_says_before_it_calls_is_kept(sdk: SDK, model: Script, streamed: bool) -> None:
    model.reply(Text("Let me "), Text("look."), CallPiece(0, "callAAAA1", "get_rate", RATE))
    if streamed:
        made = sdk.start_stream(inputs="Which rate?", tools=[GET_RATE])[0].conversation_id
    else:
        made = sdk.start(inputs="Which rate?", tools=[GET_RATE]).conversation_id

    _, said, called = sdk.get_history(made).entries
    assert (said.type, said.content) == ("message.output", "Let me look.")
    assert (called.type, called.arguments) == ("function.call", RATE)
    sdk.append(conversation_id=made, inputs=[result("callAAAA1", "2.5%")])
    (turn,) = [message for message in model.last.messages if message["role"] == "assistant"]
    assert (turn["content"], turn["tool_calls"][0]["id"]) == ("Let me look.", "callAAAA1")


@pytest.mark.requirement("C-134")
@pytest.mark.parametrize("strict", [True, False, None], ids=["strict", "not strict", "not said"])
def test_a_function_reaches_the_model_byte_for_byte(raw: Raw, model: Script, strict: bool | None) -> None:
    schema = {
        "type": "object", "properties": {"z": {"type": "string"}, "a": {"enum": ["ü🙂", 1, 2.5, None, True]}},
        "required": ["z", "a"], "additionalProperties": False, "$defs": {"": {}},
    }  # fmt: skip
    tool = function(
        "get_rate", parameters=schema, description="Of a dáy.\n", **({} if strict is None else {"strict": strict})
    )
    answer = raw.post("/v1/conversations", {"inputs": "Which rate?", "model": model.name, "tools": [tool]})

    sent = json.dumps(schema, separators=(",", ":"), ensure_ascii=False)
    assert f'"parameters":{sent}' in model.last.body.decode()
    (offered,) = model.last.tools
    assert offered["type"] == "function"
    assert (offered["function"]["name"], offered["function"]["description"]) == ("get_rate", "Of a dáy.\n")
    assert offered["function"].get("strict", False) is bool(strict)
    entity = raw.get(f"/v1/conversations/{answer.json['conversation_id']}").json
    assert entity["tools"] == [function("get_rate", parameters=schema, description="Of a dáy.\n", strict=bool(strict))]


@pytest.mark.requirement("C-134")
def test_what_a_strict_function_is_called_with_comes_back(sdk: SDK, model: Script) -> None:
    model.call("get_rate", RATE)
    (call,) = sdk.start(inputs="Which rate?", tools=[GET_RATE]).outputs
    assert model.last.tools[0]["function"]["strict"] is True
    assert call.arguments == RATE


@pytest.mark.requirement("C-135")
@pytest.mark.parametrize("parameters", [{}, {"type": "object", "properties": {}}], ids=["empty", "no properties"])
def test_a_function_may_take_nothing(sdk: SDK, model: Script, parameters: dict[str, Any]) -> None:
    model.reply(CallPiece(0, "callAAAA1", "get_time"))
    response = sdk.start(inputs="What time is it?", tools=[function("get_time", parameters=parameters)])

    assert model.last.tools[0]["function"]["parameters"] == parameters
    assert [(call.name, call.arguments) for call in response.outputs] == [("get_time", "{}")]
    assert as_json(sdk.get(response.conversation_id))["tools"][0]["function"]["parameters"] == parameters
    told = sdk.append(conversation_id=response.conversation_id, inputs=[result("callAAAA1", "noon")])
    assert told.outputs[0].content == "Answer 2"


@pytest.mark.requirement("C-136", "C-218")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("order", ["one after the other", "interleaved", "one within the other"])
@pytest.mark.parametrize("ids", IDS.values(), ids=IDS)
def test_calls_made_together_come_out_together(
    sdk: SDK, model: Script, ids: tuple[str | None, str | None], order: str, streamed: bool
) -> None:
    model.reply(*two_calls(ids, order))
    start = {"inputs": "Which rate, and what time is it?", "tools": [GET_RATE, GET_TIME]}
    if streamed:
        started, *pieces, done = sdk.start_stream(**start)
        made, calls = started.conversation_id, as_json(sdk.get_history(started.conversation_id))["entries"][1:]
        assert done.type == "conversation.response.done"
        assert [piece.output_index for piece in pieces] == sorted(piece.output_index for piece in pieces)
        for index, call in enumerate(calls):
            own = [piece for piece in pieces if piece.output_index == index]
            assert {(piece.id, piece.tool_call_id, piece.name) for piece in own} == {
                (call["id"], call["tool_call_id"], call["name"])
            }
            assert "".join(piece.arguments for piece in own) == call["arguments"]
    else:
        response = sdk.start(**start)
        made, calls = response.conversation_id, as_json(response.outputs)

    assert [(call["name"], call["arguments"]) for call in calls] == [("get_rate", RATE), ("get_time", TIME)]
    outward = [call["tool_call_id"] for call in calls]
    assert len(set(outward)) == 2
    assert all(TOOL_CALL_ID.fullmatch(one) for one in outward), outward
    sdk.append(conversation_id=made, inputs=[result(outward[1], "noon"), result(outward[0], "2.5%")])

    _, turn, *told = model.last.messages
    answers = {message["tool_call_id"]: message["content"] for message in told}
    asked = {call["id"]: call["function"] for call in turn["tool_calls"]}
    assert asked.keys() == answers.keys()
    assert {asked[one]["name"]: answers[one] for one in asked} == {"get_rate": "2.5%", "get_time": "noon"}
    assert {call["name"]: call["arguments"] for call in asked.values()} == {"get_rate": RATE, "get_time": TIME}


@pytest.mark.requirement("C-136")
def test_the_upstream_reads_the_ids_that_it_gave(sdk: SDK, model: Script) -> None:
    ids = IDS["of another shape"]
    model.reply(*two_calls(ids, "one after the other"))
    response = sdk.start(inputs="Which rate, and what time is it?", tools=[GET_RATE, GET_TIME])
    told = [result(call.tool_call_id, call.name) for call in response.outputs]
    sdk.append(conversation_id=response.conversation_id, inputs=told)

    _, turn, *answers = model.last.messages
    assert [call["id"] for call in turn["tool_calls"]] == list(ids)
    assert [(one["tool_call_id"], one["content"]) for one in answers] == [(ids[0], "get_rate"), (ids[1], "get_time")]


@pytest.mark.requirement("C-136")
def test_many_calls_made_together_keep_their_order(sdk: SDK, model: Script) -> None:
    model.reply(*(CallPiece(number, f"call_{number}", "get_rate", f'{{"date": "{number}"}}') for number in range(40)))
    response = sdk.start(inputs="Which rates?", tools=[GET_RATE])

    assert [json.loads(call.arguments)["date"] for call in response.outputs] == [str(number) for number in range(40)]
    assert len({call.tool_call_id for call in response.outputs}) == 40
    assert len({call.id for call in response.outputs}) == 40


@pytest.mark.requirement("C-136")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("nonsense", ["[" * 2000, "[" * 200_000, "{" * 2000, "\u0000", '"'])
def test_nonsense_as_arguments_is_the_callers_to_judge(raw: Raw, model: Script, nonsense: str, streamed: bool) -> None:
    pieces = [CallPiece(0, "callAAAA1", "get_rate"), CallPiece(0, arguments=nonsense)]
    model.reply(*pieces, CallPiece(1, "callAAAA2", "get_time"), CallPiece(1, arguments=TIME))
    start = {"inputs": "Hello", "model": model.name, "tools": [GET_RATE, GET_TIME], "stream": streamed}
    answer = raw.post("/v1/conversations", start)

    assert answer.status == 200, answer.body
    made = answer.events[0]["conversation_id"] if streamed else answer.json["conversation_id"]
    calls = raw.get(f"/v1/conversations/{made}/history").json["entries"][1:]
    assert [(call["tool_call_id"], call["arguments"]) for call in calls] == [
        ("callAAAA1", nonsense),
        ("callAAAA2", TIME),
    ]
    told = [result("callAAAA1", "What?"), result("callAAAA2", "noon")]
    assert raw.post(f"/v1/conversations/{made}", {"inputs": told}).status == 200
    sent = [call["function"]["arguments"] for call in model.last.messages[1]["tool_calls"]]
    assert json.loads(sent[0]) == {"arguments": nonsense}, "templates of model servers want an object"
    assert sent[1] == TIME


@pytest.mark.requirement("C-137")
def test_tool_choice_none_leaves_no_way_to_call(sdk: SDK, model: Script) -> None:
    response = sdk.start(inputs="Which rate?", tools=[GET_RATE], completion_args={"tool_choice": "none"})

    assert b'"tool_choice":"none"' in model.last.body
    assert [output.type for output in response.outputs] == ["message.output"]


@pytest.mark.requirement("C-138")
@pytest.mark.parametrize("choice", ["any", "required"])
@pytest.mark.parametrize(("dialect", "word"), [("openai", "required"), ("vllm", "required"), ("mistral", "any")])
def test_any_and_required_demand_a_call_in_the_servers_own_word(
    speaking: Callable[[str], str], model: Script, choice: str, dialect: str, word: str
) -> None:
    model.call("get_rate", RATE)
    args = {"tool_choice": choice}
    start = {"inputs": "Hello", "model": model.name, "tools": [GET_RATE], "completion_args": args}
    raw = Raw(speaking(dialect))
    answer = raw.post("/v1/conversations", start)

    assert f'"tool_choice":"{word}"'.encode() in model.last.body
    assert [(call["type"], call["arguments"]) for call in answer.json["outputs"]] == [("function.call", RATE)]
    assert raw.get(f"/v1/conversations/{answer.json['conversation_id']}").json["completion_args"] == args


@pytest.mark.requirement("C-138")
def test_a_demanded_call_of_the_servers_own_tool_is_demanded_once(serve: Callable[..., str], model: Script) -> None:
    model.call("web_search", '{"query": "x"}')
    start = {"inputs": "Hello", "model": model.name, "tools": [{"type": "web_search"}]}
    start |= {"completion_args": {"tool_choice": "any"}}
    answer = Raw(serve(toolsets={"web_search": ScriptedToolset()})).post("/v1/conversations", start)

    assert [output["type"] for output in answer.json["outputs"]] == ["tool.execution", "message.output"]
    first, second = model.requests
    assert first.json["tool_choice"] == "required"
    assert second.json.get("tool_choice", "auto") == "auto", "a model that has to call can never answer"


@pytest.mark.requirement("C-137", "C-138")
@pytest.mark.parametrize("choice", ["auto", "none", "any", "required"])
def test_a_choice_among_no_tools_is_not_sent(sdk: SDK, model: Script, choice: str) -> None:
    sdk.start(inputs="Hello", completion_args={"tool_choice": choice})
    assert "tool_choice" not in model.last.json, "model servers refuse a choice among nothing"


@pytest.mark.requirement("C-138")
@pytest.mark.parametrize("choice", ["get_rate", "", None, {"type": "function", "function": {"name": "get_rate"}}, 1])
def test_another_tool_choice_is_refused(raw: Raw, model: Script, choice: object) -> None:
    start = {"inputs": "Hello", "model": model.name, "tools": [GET_RATE], "completion_args": {"tool_choice": choice}}
    answer = raw.post("/v1/conversations", start)
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "completion_args", "tool_choice"])


@pytest.mark.requirement("C-157")
def test_two_functions_of_one_name_are_refused(sdk: SDK, model: Script) -> None:
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", tools=[GET_RATE, GET_TIME, function("get_rate", description="Another.")])

    assert refusal.loc == ["body", "tools", 2, "function", "name"]
    assert "get_rate" in refusal.message
    assert model.requests == []


@pytest.mark.requirement("C-157")
def test_a_function_cannot_have_the_name_of_the_servers_tool(serve: Callable[..., str], model: Script) -> None:
    raw = Raw(serve(toolsets={"web_search": ScriptedToolset()}))
    for tools in ([{"type": "web_search"}, function("web_search")], [{"type": "web_search"}] * 2):
        answer = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name, "tools": tools})
        assert (answer.status, answer.json["detail"][0]["loc"][:2]) == (422, ["body", "tools"])
        assert "web_search" in answer.json["message"]
    assert raw.get("/v1/conversations").json == []
    assert model.requests == []


@pytest.mark.requirement("C-158")
def test_up_to_128_tools_are_taken(sdk: SDK, model: Script) -> None:
    tools = [function(f"f{number:03}") for number in range(129)]
    response = sdk.start(inputs="Hello", tools=tools[:128])
    assert len(model.last.tools) == len(as_json(sdk.get(response.conversation_id))["tools"]) == 128

    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", tools=tools)
    assert refusal.loc == ["body", "tools"]
    assert "128" in refusal.message
    assert len(model.requests) == 1


@pytest.mark.requirement("C-159")
@pytest.mark.parametrize("kind", ["functions", "", None, 1, ["function"], "mcp", "message.input"])
def test_a_tool_of_an_unknown_type_is_refused(raw: Raw, model: Script, kind: object) -> None:
    start = {"inputs": "Hello", "model": model.name, "tools": [GET_RATE, GET_TIME | {"type": kind}]}
    answer = raw.post("/v1/conversations", start)
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "tools", 1, "type"])
    assert model.requests == []


@pytest.mark.requirement("C-159")
@pytest.mark.parametrize(
    ("tool", "loc"),
    [
        (GET_RATE | {"surprise": 1}, ["surprise"]), (function("f", surprise=1), ["function", "surprise"]),
        ({"type": "function"}, ["function"]), (function(""), ["function", "name"]),
        ({"type": "function", "function": {"parameters": {}}}, ["function", "name"]),
        ({"type": "function", "function": {"name": "f"}}, ["function", "parameters"]),
        ({"type": "web_search", "function": {}}, ["function"]),
        ({"type": "web_search", "tool_configuration": {"surprise": 1}}, ["tool_configuration", "surprise"]),
        ({"type": "document_library", "library_ids": []}, ["library_ids"]),
        ({"type": "document_library"}, ["library_ids"]), ({"type": "connector"}, ["connector_id"]),
        ({"type": "connector", "connector_id": "c", "authorization": {"type": "basic"}}, ["authorization", "type"]),
    ],
)  # fmt: skip
def test_a_tool_of_the_wrong_shape_is_refused(raw: Raw, model: Script, tool: dict[str, Any], loc: list[str]) -> None:
    answer = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name, "tools": [tool]})
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "tools", 0, *loc])
    assert model.requests == []


@pytest.mark.requirement("C-159")
@pytest.mark.parametrize(
    "tool",
    [*({"type": kind} for kind in ("web_search", "web_search_premium", "code_interpreter", "image_generation")),
     {"type": "document_library", "library_ids": ["x"]}, {"type": "connector", "connector_id": "x"}],
    ids=lambda tool: tool["type"],
)  # fmt: skip
def test_a_tool_that_this_server_does_not_run_is_refused_by_name(sdk: SDK, model: Script, tool: dict[str, Any]) -> None:
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", tools=[GET_RATE, tool])
    assert refusal.loc[:3] == ["body", "tools", 1]
    assert tool["type"] in refusal.message
    assert model.requests == []
