"""The six kinds of entry: what each has going out, what it may have coming in, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from causerie.tools.base import ToolResult
from tests.support.raw import Raw
from tests.support.replies import CallPiece
from tests.support.samples import FOREIGN_HISTORY, GET_RATE, GET_TIME, result, user
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

SEARCH = {"type": "web_search"}
OUTPUT_KINDS = {"message.output", "function.call", "tool.execution", "agent.handoff"}
EVENT_KINDS = {
    *("conversation.response.started", "conversation.response.done", "conversation.response.error"),
    *("message.output.delta", "function.call.delta"),
    *("tool.execution.started", "tool.execution.delta", "tool.execution.done"),
    *("agent.handoff.started", "agent.handoff.done"),
}
TEXTS = ["Good morning", "", " \n\t ", 'Ünïcode 🙂 \u202e\u0000 \x7f \\u0041 "quoted" </script>', "x" * 100_000]
ARGUMENTS = {
    "dense": '{"date":"2024-06-06"}',
    "spaced": '{ "date" : "ü🙂" ,\n "n":1.50}',
    "a list": "[1, 2]",
    "empty": "{}",
    "not JSON": "Not JSON {at all",
    "a long number": f'{{"n": {"9" * 99}}}',
}


@pytest.fixture(scope="module")
def toolset() -> ScriptedToolset:
    """What the searching server searches with."""
    return ScriptedToolset()


@pytest.fixture(scope="module")
def searching(model_server: ScriptedServer, toolset: ScriptedToolset) -> Iterator[str]:
    """Run a server that can search, once: stopping one costs more than a test."""
    with serving(upstream=model_server.url, toolsets={"web_search": toolset}) as url:
        yield url


def readable(arguments: str) -> str:
    """Return what a model server, whose template may want an object, gets to read: the text, or an object with it."""
    try:
        made = json.loads(arguments or "{}")
    except ValueError:
        made = None
    wrapped = json.dumps({"arguments": arguments}, separators=(",", ":"), ensure_ascii=False)
    return (arguments or "{}") if isinstance(made, dict) else wrapped


def refused_at(raw: Raw, model: Script, inputs: list[Any]) -> dict[str, Any]:
    """Start with `inputs`; return the one thing that the 422 complains about."""
    answer = raw.post("/v1/conversations", {"inputs": inputs, "model": model.name})
    assert (answer.status, answer.json["code"]) == (422, 3001), answer.body
    assert model.requests == []
    (detail,) = answer.json["detail"]
    return dict(detail)


def every_entry(raw: Raw, model: Script) -> list[dict[str, Any]]:
    """Make entries of all six kinds, ours and foreign ones; return them from wherever they are shown."""
    model.reply(*(CallPiece(0, "callAAAA1", "web_search", '{"query": "x"}'),))
    model.call("get_rate", {"date": "x"}, call_id="callAAAA2")
    body = {"inputs": FOREIGN_HISTORY, "model": model.name, "tools": [SEARCH, GET_RATE]}
    first = raw.post("/v1/conversations", body).json
    path = f"/v1/conversations/{first['conversation_id']}"
    second = raw.post(path, {"inputs": [{"type": "function.result", "tool_call_id": "callAAAA2", "result": "2.5%"}]})
    history, messages = raw.get(f"{path}/history").json["entries"], raw.get(f"{path}/messages").json["messages"]
    shown: list[dict[str, Any]] = [*first["outputs"], *second.json["outputs"], *history, *messages]
    return shown


@pytest.mark.requirement("C-102")
def test_every_entry_says_that_it_is_one(searching: str, model: Script) -> None:
    entries = every_entry(Raw(searching), model)

    assert {entry["type"] for entry in entries} == OUTPUT_KINDS | {"message.input", "function.result"}
    assert {entry["object"] for entry in entries} == {"entry"}


@pytest.mark.requirement("C-102")
@pytest.mark.parametrize("said", ["conversation.entry", "", None, 1])
@pytest.mark.parametrize("place", range(len(FOREIGN_HISTORY)), ids=[one["type"] for one in FOREIGN_HISTORY])
def test_an_entry_that_says_it_is_something_else_is_refused(raw: Raw, model: Script, said: object, place: int) -> None:
    wrong = [entry | ({"object": said} if index == place else {}) for index, entry in enumerate(FOREIGN_HISTORY)]
    assert refused_at(raw, model, wrong)["loc"] == ["body", "inputs", place, "object"]


@pytest.mark.requirement("C-103")
@pytest.mark.parametrize("text", TEXTS, ids=["plain", "empty", "blank", "odd", "long"])
def test_a_users_text_is_kept_and_sent_as_it_is(sdk: SDK, model: Script, text: str) -> None:
    response = sdk.start(inputs=[user(text)])

    entry, _ = sdk.get_history(response.conversation_id).entries
    assert (entry.type, entry.role, entry.content, entry.prefix) == ("message.input", "user", text, False)
    assert sdk.get_messages(response.conversation_id).messages[0].content == text
    assert model.last.messages == [{"role": "user", "content": text}]


@pytest.mark.requirement("C-105")
@pytest.mark.parametrize("role", ["system", "developer", "tool", "", "User", None, 1, ["user"]])
def test_a_message_comes_from_the_user_or_the_assistant(raw: Raw, model: Script, role: object) -> None:
    wrong = refused_at(raw, model, [user("One"), {"type": "message.input", "role": role, "content": "Obey."}])
    assert wrong["loc"] == ["body", "inputs", 1, "role"]


@pytest.mark.requirement("C-105")
def test_the_role_is_refused_on_append_too(sdk: SDK, raw: Raw, model: Script) -> None:
    made = sdk.start(inputs="One").conversation_id
    before = raw.get(f"/v1/conversations/{made}/history").body
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": [{"role": "system", "content": "Obey."}]})

    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "inputs", 0, "role"])
    assert raw.get(f"/v1/conversations/{made}/history").body == before
    assert len(model.requests) == 1


@pytest.mark.requirement("C-106")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("text", ["Hello.", "Ünï\u0000code 🙂", "x" * 100_000], ids=["plain", "odd", "long"])
def test_an_answer_of_text_is_a_string_everywhere(sdk: SDK, model: Script, text: str, streamed: bool) -> None:
    half = len(text) // 2
    model.say(text[:half], text[half:])
    if streamed:
        started, *deltas, _ = sdk.start_stream(inputs="Hello")
        made, content = started.conversation_id, "".join(delta.content for delta in deltas)
    else:
        response = sdk.start(inputs="Hello")
        (output,) = response.outputs
        assert (output.type, output.role, output.object) == ("message.output", "assistant", "entry")
        made, content = response.conversation_id, output.content

    assert content == text
    assert sdk.get_history(made).entries[-1].content == text
    assert sdk.get_messages(made).messages[-1].content == text
    sdk.append(conversation_id=made, inputs="More")
    assert model.last.messages[1] == {"role": "assistant", "content": text}


@pytest.mark.requirement("C-106")
def test_a_model_that_says_nothing_has_answered(sdk: SDK, model: Script) -> None:
    model.reply()
    response = sdk.start(inputs="Hello")

    assert [(output.type, output.content) for output in response.outputs] == [("message.output", "")]
    assert sdk.append(conversation_id=response.conversation_id, inputs="More").outputs[0].content == "Answer 2"


@pytest.mark.requirement("C-109")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("text", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments_leave_as_the_text_that_the_model_wrote(sdk: SDK, model: Script, text: str, streamed: bool) -> None:
    model.call("get_rate", text)
    if streamed:
        started, *pieces, _ = sdk.start_stream(inputs="Which rate?", tools=[GET_RATE])
        made, arguments = started.conversation_id, "".join(piece.arguments for piece in pieces)
    else:
        response = sdk.start(inputs="Which rate?", tools=[GET_RATE])
        made, arguments = response.conversation_id, response.outputs[0].arguments

    assert arguments == text
    assert sdk.get_history(made).entries[-1].arguments == text
    sdk.append(conversation_id=made, inputs=[result("callAAAA1", "2.5%")])
    assert model.last.messages[1]["tool_calls"][0]["function"]["arguments"] == readable(text)


@pytest.mark.requirement("C-109")
def test_a_call_without_arguments_has_an_empty_object_of_them(sdk: SDK, model: Script) -> None:
    for streamed in (False, True):
        model.reply(CallPiece(0, "callAAAA1", "get_time"))
        if streamed:
            started, *pieces, _ = sdk.start_stream(inputs="What time is it?", tools=[GET_TIME])
            made, arguments = started.conversation_id, "".join(piece.arguments for piece in pieces)
        else:
            response = sdk.start(inputs="What time is it?", tools=[GET_TIME])
            made, arguments = response.conversation_id, response.outputs[0].arguments
        assert (arguments, sdk.get_history(made).entries[-1].arguments) == ("{}", "{}")


@pytest.mark.requirement("C-109")
@pytest.mark.parametrize("arguments", ['{"date" : "2024"}', "", "None", {"date": "2024", "n": [1, 2.5, None]}, {}])
def test_arguments_come_in_as_text_or_object_and_are_kept_so(
    sdk: SDK, raw: Raw, model: Script, arguments: object
) -> None:
    call = {"type": "function.call", "tool_call_id": "a1B2c3D4e", "name": "get_rate", "arguments": arguments}
    response = sdk.start(inputs=[user("Which rate?"), call, result("a1B2c3D4e", "2.5%"), user("And now?")])

    entry = raw.get(f"/v1/conversations/{response.conversation_id}/history").json["entries"][1]
    assert entry["arguments"] == arguments
    sent = model.last.messages[1]["tool_calls"][0]["function"]["arguments"]
    assert isinstance(sent, str), "a chat message has arguments as text"
    assert sent == readable(arguments) if isinstance(arguments, str) else json.loads(sent) == arguments


@pytest.mark.requirement("C-109")
@pytest.mark.parametrize("arguments", [None, 1, True, ["a"]])
def test_arguments_of_any_other_kind_are_refused(raw: Raw, model: Script, arguments: object) -> None:
    call = {"type": "function.call", "tool_call_id": "a1B2c3D4e", "name": "get_rate", "arguments": arguments}
    assert refused_at(raw, model, [user("One"), call])["loc"] == ["body", "inputs", 1, "arguments"]


@pytest.mark.requirement("C-110")
def test_a_call_is_not_complete_when_it_is_handed_out(raw: Raw, model: Script) -> None:
    model.calls(("get_rate", {"date": "x"}), ("get_time", {}))
    start = {"inputs": "Hello", "model": model.name, "tools": [GET_RATE, GET_TIME]}
    response = raw.post("/v1/conversations", start).json
    history = raw.get(f"/v1/conversations/{response['conversation_id']}/history").json["entries"]

    assert [call["completed_at"] for call in response["outputs"]] == [None, None]
    assert history[1:] == response["outputs"]


@pytest.mark.requirement("C-111")
@pytest.mark.parametrize("status", [{}, {"confirmation_status": None},
    *({"confirmation_status": one} for one in ("pending", "allowed", "denied"))],
    ids=["absent", "null", "pending", "allowed", "denied"],
)  # fmt: skip
def test_a_foreign_calls_confirmation_status_is_kept(sdk: SDK, model: Script, status: dict[str, Any]) -> None:
    call = {"type": "function.call", "tool_call_id": "a1B2c3D4e", "name": "send", "arguments": "{}"}
    response = sdk.start(inputs=[user("Send it."), call | status, result("a1B2c3D4e", "done"), user("And?")])

    kept = as_json(sdk.get_history(response.conversation_id))["entries"]
    assert kept[1].get("confirmation_status") == status.get("confirmation_status")
    assert [message["role"] for message in model.last.messages] == ["user", "assistant", "tool", "user"]
    again = sdk.start(inputs=kept)
    assert as_json(sdk.get_history(again.conversation_id))["entries"][: len(kept)] == kept


@pytest.mark.requirement("C-111")
def test_a_function_call_of_the_models_waits_for_no_confirmation(raw: Raw, model: Script) -> None:
    model.call("get_rate", {"date": "x"})
    start = {"inputs": "Hello", "model": model.name, "tools": [GET_RATE]}
    assert raw.post("/v1/conversations", start).json["outputs"][0].get("confirmation_status") is None


@pytest.mark.requirement("C-111")
@pytest.mark.parametrize("status", ["maybe", "", True, 1])
def test_another_confirmation_status_is_refused(raw: Raw, model: Script, status: object) -> None:
    call = {"type": "function.call", "tool_call_id": "a1B2c3D4e", "name": "send", "arguments": "{}"}
    wrong = refused_at(raw, model, [call | {"confirmation_status": status}, result("a1B2c3D4e", "done")])
    assert wrong["loc"] == ["body", "inputs", 0, "confirmation_status"]


@pytest.mark.requirement("C-112")
@pytest.mark.parametrize("text", TEXTS, ids=["plain", "empty", "blank", "odd", "long"])
def test_a_result_is_text_and_is_kept_and_sent_as_it_is(sdk: SDK, model: Script, text: str) -> None:
    model.call("get_rate", {"date": "x"})
    made = sdk.start(inputs="Which rate?", tools=[GET_RATE]).conversation_id
    sdk.append(conversation_id=made, inputs=[result("callAAAA1", text)])

    entry = sdk.get_history(made).entries[2]
    assert (entry.type, entry.tool_call_id, entry.result) == ("function.result", "callAAAA1", text)
    assert model.last.messages[2] == {"role": "tool", "tool_call_id": "callAAAA1", "content": text}


@pytest.mark.requirement("C-112")
@pytest.mark.parametrize("value", [None, 2.5, True, {"rate": "2.5%"}, ["2.5%"], [{"type": "text", "text": "2.5%"}]])
def test_a_result_that_is_no_text_is_refused(raw: Raw, model: Script, value: object) -> None:
    model.call("get_rate", {"date": "x"})
    start = {"inputs": "Which rate?", "model": model.name, "tools": [GET_RATE]}
    made = raw.post("/v1/conversations", start).json["conversation_id"]
    told = [{"type": "function.result", "tool_call_id": "callAAAA1", "result": value}]
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": told})

    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "inputs", 0, "result"])
    assert len(raw.get(f"/v1/conversations/{made}/history").json["entries"]) == 2
    assert raw.post(f"/v1/conversations/{made}", {"inputs": [result("callAAAA1", "2.5%")]}).status == 200


@pytest.mark.requirement("C-113")
@pytest.mark.parametrize("pieces", [(), ("",), ('{"query": ', '"x"}')], ids=["none", "empty", "some"])
def test_a_tool_execution_has_a_name_and_arguments(
    searching: str, toolset: ScriptedToolset, connect: Callable[[str], SDK], model: Script, pieces: tuple[str, ...]
) -> None:
    toolset.results[:] = [ToolResult(output="Found.", info={"n": 1})] * 2
    toolset.calls.clear()
    sdk = connect(searching)
    expected = "".join(pieces) or "{}"
    call = [CallPiece(0, "callAAAA1", "web_search"), *(CallPiece(0, arguments=piece) for piece in pieces)]
    model.reply(*call)
    response = sdk.start(inputs="Search.", tools=[SEARCH])
    executed = response.outputs[0]
    assert (executed.type, executed.name, executed.arguments) == ("tool.execution", "web_search", expected)
    assert executed.info == {"n": 1}
    assert as_json(sdk.get_history(response.conversation_id).entries[1]) == as_json(executed)

    model.reply(*call)
    events = [
        e for e in sdk.append_stream(conversation_id=response.conversation_id, inputs="Search.") if hasattr(e, "name")
    ]
    assert {event.name for event in events} == {"web_search"}
    assert "".join(event.arguments for event in events[:-1]) == expected
    assert [(name, arguments) for name, arguments, _ in toolset.calls] == [("web_search", expected)] * 2


@pytest.mark.requirement("C-113")
@pytest.mark.parametrize("missing", ["name", "arguments"])
def test_a_foreign_execution_needs_them_too(raw: Raw, model: Script, missing: str) -> None:
    entry = {"type": "tool.execution", "name": "web_search", "arguments": "{}"}
    del entry[missing]
    wrong = refused_at(raw, model, [entry, user("Go on.")])
    assert (wrong["type"], wrong["loc"]) == ("missing", ["body", "inputs", 0, missing])


@pytest.mark.requirement("C-118")
@pytest.mark.parametrize(
    "entry",
    [{"type": "message.unknown"}, {"type": "message"}, {"type": ""}, {"type": None}, {"type": 1},
     {"type": ["message.input"]}, {"type": "conversation.response.done", "usage": {}}],
)  # fmt: skip
def test_an_entry_of_an_unknown_type_is_refused(raw: Raw, model: Script, entry: dict[str, Any]) -> None:
    wrong = refused_at(raw, model, [user("One"), {"role": "user", "content": "Two"} | entry])
    assert wrong["loc"] == ["body", "inputs", 1, "type"]


@pytest.mark.requirement("C-118")
@pytest.mark.parametrize("entry", [{}, {"content": "no role"}, {"id": "msg_1"}, [], None, 5, "text"])
def test_an_entry_that_looks_like_nothing_is_refused(raw: Raw, model: Script, entry: object) -> None:
    assert refused_at(raw, model, [user("One"), entry])["loc"][:3] == ["body", "inputs", 1]


@pytest.mark.requirement("C-119")
@pytest.mark.parametrize("typed", [True, False], ids=["with a type", "without"])
@pytest.mark.parametrize("place", range(len(FOREIGN_HISTORY)), ids=[one["type"] for one in FOREIGN_HISTORY])
def test_an_entry_with_an_unknown_key_is_refused(raw: Raw, model: Script, place: int, typed: bool) -> None:
    entries = [dict(entry) for entry in FOREIGN_HISTORY]
    entries[place]["surprise"] = 1
    if not typed:
        del entries[place]["type"]
    wrong = refused_at(raw, model, entries)
    assert (wrong["type"], wrong["loc"]) == ("extra_forbidden", ["body", "inputs", place, "surprise"])


@pytest.mark.requirement("C-120")
@pytest.mark.parametrize("streamed", [False, True])
def test_outputs_hold_only_what_the_run_made(
    searching: str, connect: Callable[[str], SDK], model: Script, streamed: bool
) -> None:
    sdk = connect(searching)
    model.call("get_rate", {"date": "x"}, call_id="callAAAA1")
    made = sdk.start(inputs=FOREIGN_HISTORY, tools=[SEARCH, GET_RATE]).conversation_id
    model.call("web_search", {"query": "x"}, call_id="callAAAA2")
    told = {"conversation_id": made, "inputs": [result("callAAAA1", "2.5%"), user("Search for more.")]}
    if streamed:
        events = sdk.append_stream(**told)
        assert {event.type for event in events} <= EVENT_KINDS
        assert {event.output_index for event in events[1:-1]} == {0, 1}
    else:
        assert [output.type for output in sdk.append(**told).outputs] == ["tool.execution", "message.output"]
    kinds = [entry.type for entry in sdk.get_history(made).entries[len(FOREIGN_HISTORY) :]]
    assert kinds == ["function.call", "function.result", "message.input", "tool.execution", "message.output"]
