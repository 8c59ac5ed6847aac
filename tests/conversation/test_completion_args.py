"""completion_args: every member reaches the model as it was given, or is refused where it stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from typing import Any

import pytest

from tests.support.raw import Answer, Raw
from tests.support.samples import GET_RATE
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.stage import serving

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
SCHEMA = {
    "type": "object", "properties": {"sum": {"type": "integer"}, "again": {"const": "ü🙂"}, "a": {"maximum": 1.50}},
    "required": ["sum"], "additionalProperties": False,
}  # fmt: skip
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "sum", "schema": SCHEMA, "strict": True}}
TAKEN: list[tuple[str, Any]] = [
    *(("stop", value) for value in ("END", "", ["END"], ["A", "\n\n", "ü🙂"], [])),
    *((name, value) for name in ("presence_penalty", "frequency_penalty") for value in (-2, -1.5, 0, 0.25, 2)),
    *((name, value) for name in ("temperature", "top_p") for value in (0, 0.3, 1)),
    *(("max_tokens", value) for value in (0, 1, 100_000)),
    *(("random_seed", value) for value in (0, 7, 2**53)),
    *(("prediction", {"type": "content", "content": text}) for text in ("", "The sum is seven. 🙂")),
    *(("reasoning_effort", value) for value in ("none", "high")),
    *(("response_format", {"type": kind}) for kind in ("text", "json_object")),
    ("response_format", BY_SCHEMA),
]
REFUSED: list[tuple[str, Any, list[str | int]]] = [
    *(("stop", value, []) for value in (5, True, {"a": "b"})),
    ("stop", ["a", 5], [1]),
    *(
        (name, value, [])
        for name in ("presence_penalty", "frequency_penalty")
        for value in (-2.01, 2.01, 100, "1", True)
    ),
    *((name, value, []) for name in ("temperature", "top_p") for value in (-0.01, 1.01, 2, "0.5", True, [0.5])),
    *((name, value, []) for name in ("max_tokens", "random_seed") for value in (-1, 1.5, "5", True, [5])),
    *(("prediction", value, []) for value in ("Seven.", ["Seven."], True)),
    ("prediction", {"type": "other", "content": "x"}, ["type"]),
    ("prediction", {"type": "content", "content": 7}, ["content"]),
    ("prediction", {"content": "x", "surprise": 1}, ["surprise"]),
    *(("response_format", value, []) for value in ("json_object", ["text"], True)),
    ("response_format", {"type": "xml"}, ["type"]),
    ("response_format", {"type": "text", "surprise": 1}, ["surprise"]),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "x"}}, ["json_schema", "schema"]),
    ("response_format", {"type": "json_schema", "json_schema": {"schema": {}}}, ["json_schema", "name"]),
    ("response_format", {"type": "json_schema", "json_schema": {"name": "x", "schema": []}}, ["json_schema", "schema"]),
    (
        "response_format",
        {"type": "json_schema", "json_schema": {"name": "x", "schema": {}, "x": 1}},
        ["json_schema", "x"],
    ),
    *(("reasoning_effort", value, []) for value in ("enormous", "", "HIGH", 1, True)),
    *(("tool_choice", value, []) for value in ("some", "", None, 1)),
    *((name, 1, []) for name in ("surprise", "seed", "n", "stream", "model", "top_k", "")),
]
ROW = {
    "stop": "C-172", "presence_penalty": "C-173", "frequency_penalty": "C-173", "temperature": "C-174",
    "top_p": "C-175",
    "max_tokens": "C-176", "random_seed": "C-177", "prediction": "C-178", "response_format": "C-180",
    "reasoning_effort": "C-183", "tool_choice": "C-182",
}  # fmt: skip


def upstream_name(name: str) -> str:
    """Return what OpenAI-compatible servers call a member."""
    return "seed" if name == "random_seed" else name


def rows(cases: list[Any]) -> list[Any]:
    """Tie each case to the row of its member."""
    return [
        pytest.param(*case, marks=pytest.mark.requirement(ROW.get(case[0], "C-184")), id=f"{case[0]}={case[1]!r:.40}")
        for case in cases
    ]


@pytest.fixture(scope="module")
def speaking(model_server: ScriptedServer) -> Iterator[Callable[[str], str]]:
    """Start a server that speaks a dialect to its upstream, once for each: stopping one costs more than a test."""
    with ExitStack() as stack:
        yield cache(lambda dialect: stack.enter_context(serving(upstream=model_server.url, dialect=dialect)))


@pytest.mark.parametrize(("name", "value"), rows(TAKEN))
def test_a_member_reaches_the_model_and_is_shown(sdk: SDK, model: Script, name: str, value: object) -> None:
    response = sdk.start(inputs="What is 3+4?", completion_args={name: value})
    sdk.append(conversation_id=response.conversation_id, inputs="And 4+5?")

    shown = as_json(sdk.get(response.conversation_id))["completion_args"][name]
    sent = [request.json[upstream_name(name)] for request in model.requests]
    if name == "response_format" and value == BY_SCHEMA:
        assert {key: shown["json_schema"][key] for key in BY_SCHEMA["json_schema"]} == BY_SCHEMA["json_schema"]
    else:
        assert shown == value or {key: shown[key] for key in value} == value  # type: ignore[attr-defined]
    assert sent == [value, value]


@pytest.mark.parametrize(("name", "value", "where"), rows(REFUSED))
def test_a_member_out_of_range_is_refused(
    raw: Raw, model: Script, name: str, value: object, where: list[str | int]
) -> None:
    answer = raw.post("/v1/conversations", {"inputs": "x", "model": model.name, "completion_args": {name: value}})
    assert answer.status == 422, answer.body
    assert answer.json["detail"][0]["loc"] == ["body", "completion_args", name, *where]
    assert model.requests == []


@pytest.mark.requirement("C-173", "C-184")
@pytest.mark.parametrize("args", [{"presence_penalty": 3}, {"surprise": 1}, {"response_format": {"surprise": 1}}])
def test_a_later_turn_refuses_the_same_and_goes_on(raw: Raw, model: Script, args: dict[str, Any]) -> None:
    first = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json
    path = f"/v1/conversations/{first['conversation_id']}"
    before, listed = raw.get(f"{path}/history").body, raw.get("/v1/conversations?page_size=1").body
    restart = {"from_entry_id": first["outputs"][0]["id"]}
    for where, body in ((path, {}), (f"{path}/restart", restart)):
        answer = raw.post(where, body | {"inputs": "Two", "completion_args": args})
        assert (answer.status, answer.json["detail"][0]["loc"][:2]) == (422, ["body", "completion_args"])

    assert raw.get(f"{path}/history").body == before
    assert raw.get("/v1/conversations?page_size=1").body == listed
    assert raw.post(path, {"inputs": "Two"}).json["outputs"][0]["content"] == "Answer 2"


@pytest.mark.requirement("C-172", "C-173", "C-174", "C-175", "C-176", "C-177", "C-178", "C-180", "C-183")
@pytest.mark.parametrize("name", [name for name in ROW if name != "tool_choice"])
def test_null_is_as_good_as_absent(raw: Raw, model: Script, name: str) -> None:
    answer = raw.post("/v1/conversations", {"inputs": "x", "model": model.name, "completion_args": {name: None}})
    assert answer.status == 200, answer.body
    assert model.last.json == {"model": model.name, "messages": model.last.messages, "stream": False}


@pytest.mark.requirement("C-176")
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_that_was_cut_is_an_answer(sdk: SDK, model: Script, streamed: bool) -> None:
    model.say("The sum", " is", finish="length")
    start = {"inputs": "What is 3+4?", "completion_args": {"max_tokens": 3}}
    if streamed:
        started, *deltas, done = sdk.start_stream(**start)
        made, text = started.conversation_id, "".join(delta.content for delta in deltas)
        assert done.type == "conversation.response.done"
    else:
        response = sdk.start(**start)
        made, text = response.conversation_id, response.outputs[0].content

    assert model.last.json["max_tokens"] == 3
    assert text == sdk.get_history(made).entries[-1].content == "The sum is"


@pytest.mark.requirement("C-177", "C-183")
@pytest.mark.parametrize(
    ("dialect", "seed", "highest"),
    [("openai", "seed", "xhigh"), ("vllm", "seed", "max"), ("mistral", "random_seed", "xhigh")],
)
def test_each_server_is_asked_in_its_own_words(
    speaking: Callable[[str], str], model: Script, dialect: str, seed: str, highest: str
) -> None:
    args = {"random_seed": 7, "reasoning_effort": "max"}
    start = {"inputs": "x", "model": model.name, "completion_args": args}
    raw = Raw(speaking(dialect))
    answer = raw.post("/v1/conversations", start)

    assert {name: model.last.json[name] for name in (seed, "reasoning_effort")} == {
        seed: 7,
        "reasoning_effort": highest,
    }
    assert raw.get(f"/v1/conversations/{answer.json['conversation_id']}").json["completion_args"] == args


@pytest.mark.requirement("C-183")
@pytest.mark.parametrize("effort", EFFORTS)
def test_every_effort_is_taken_and_handed_on(sdk: SDK, raw: Raw, model: Script, effort: str) -> None:
    # The older SDK does not send words that it does not know, but it can read them.
    start = {"inputs": "x", "model": model.name, "completion_args": {"reasoning_effort": effort}}
    made = raw.post("/v1/conversations", start).json["conversation_id"]
    sdk.append(conversation_id=made, inputs="y")

    sent = [request.json["reasoning_effort"] for request in model.requests]
    assert sent == ["xhigh" if effort == "max" else effort] * 2, "OpenAI has no word above xhigh"
    assert sdk.get(made).completion_args.reasoning_effort == effort


@pytest.mark.requirement("C-177")
def test_the_same_request_is_sent_again_byte_for_byte(sdk: SDK, model: Script) -> None:
    start = {"inputs": "x", "tools": [GET_RATE], "completion_args": {"random_seed": 7, "temperature": 0, "stop": "END"}}
    first, second = sdk.start(**start), sdk.start(**start)

    assert first.conversation_id != second.conversation_id
    assert model.requests[0].body == model.requests[1].body


@pytest.mark.requirement("C-179")
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_in_json_comes_back_as_the_model_wrote_it(sdk: SDK, model: Script, streamed: bool) -> None:
    model.say('{ "sum" :', " 7 }")
    start = {"inputs": "What is 3+4? In JSON.", "completion_args": {"response_format": {"type": "json_object"}}}
    if streamed:
        text = "".join(delta.content for delta in sdk.start_stream(**start)[1:-1])
    else:
        text = sdk.start(**start).outputs[0].content

    assert b'"response_format":{"type":"json_object"}' in model.last.body
    assert text == '{ "sum" : 7 }'
    assert json.loads(text) == {"sum": 7}


@pytest.mark.requirement("C-180")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("more", [{}, {"description": "A súm."}, {"strict": False}, {"description": None}])
def test_a_schema_reaches_the_model_byte_for_byte(
    raw: Raw, model: Script, more: dict[str, Any], streamed: bool
) -> None:
    model.say('{"sum"', ":7}")
    wanted = {"type": "json_schema", "json_schema": BY_SCHEMA["json_schema"] | more}  # type: ignore[operator]
    start = {"inputs": "What is 3+4?", "model": model.name, "completion_args": {"response_format": wanted}}
    answer = raw.post("/v1/conversations", start | {"stream": streamed})

    written = json.dumps(SCHEMA, separators=(",", ":"), ensure_ascii=False)
    assert f'"schema":{written}' in model.last.body.decode()
    given = {key: value for key, value in wanted["json_schema"].items() if value is not None}  # type: ignore[attr-defined]
    assert model.last.json["response_format"] == {"type": "json_schema", "json_schema": given}
    made = answer.events[0]["conversation_id"] if streamed else answer.json["conversation_id"]
    assert raw.get(f"/v1/conversations/{made}/history").json["entries"][-1]["content"] == '{"sum":7}'


@pytest.mark.requirement("C-181")
@pytest.mark.parametrize("wanted", [{"type": "json_schema", "json_schema": None}, {"type": "json_schema"},
                                    {"type": "text", "json_schema": None}, {"json_schema": None}])  # fmt: skip
def test_a_null_schema_is_tolerated(raw: Raw, model: Script, wanted: dict[str, Any]) -> None:
    start = {"inputs": "x", "model": model.name, "completion_args": {"response_format": wanted}}
    answer = raw.post("/v1/conversations", start)

    assert answer.status == 200, answer.body
    kind = "json_object" if wanted.get("type") == "json_schema" else "text"
    assert model.last.json.get("response_format", {"type": "text"}) == {"type": kind}
    shown = raw.get(f"/v1/conversations/{answer.json['conversation_id']}").json["completion_args"]["response_format"]
    assert (shown["type"], shown.get("json_schema")) == (wanted.get("type", "text"), None)


@pytest.mark.requirement("C-182")
@pytest.mark.parametrize("args", [{}, {"completion_args": {}}, {"completion_args": {"tool_choice": "auto"}}])
def test_a_model_may_call_or_answer_unless_told_otherwise(sdk: SDK, model: Script, args: dict[str, Any]) -> None:
    model.say("No need to.")
    model.call("get_rate", {"date": "x"})
    response = sdk.start(inputs="Hello", tools=[GET_RATE], **args)
    called = sdk.append(conversation_id=response.conversation_id, inputs="Which rate?")

    assert [request.json.get("tool_choice", "auto") for request in model.requests] == ["auto", "auto"]
    assert [output.type for output in (*response.outputs, *called.outputs)] == ["message.output", "function.call"]
    shown = as_json(sdk.get(response.conversation_id))["completion_args"]
    assert shown.get("tool_choice", "auto") == "auto"


@pytest.mark.requirement("C-185")
def test_the_requests_args_outrank_the_conversations(raw: Raw, model: Script) -> None:
    kept = {"temperature": 0.25, "max_tokens": 77, "stop": ["END"], "response_format": {"type": "json_object"}}
    first = raw.post("/v1/conversations", {"inputs": "One", "model": model.name, "completion_args": kept}).json
    path = f"/v1/conversations/{first['conversation_id']}"
    over = {"temperature": 0, "stop": None, "top_p": 0.5, "response_format": {"type": "text"}}

    def sent(answer: Answer) -> dict[str, Any]:
        assert answer.status == 200, answer.body
        return {name: value for name, value in model.last.json.items() if name not in {"model", "messages", "stream"}}

    merged = {"temperature": 0, "max_tokens": 77, "top_p": 0.5, "response_format": {"type": "text"}}
    assert sent(raw.post(path, {"inputs": "Two", "completion_args": over})) == merged
    for nothing in ({}, {"completion_args": None}, {"completion_args": {}}):
        assert sent(raw.post(path, {"inputs": "Three", **nothing})) == kept
    branch = {"inputs": "Two", "from_entry_id": first["outputs"][0]["id"]}
    restarted = raw.post(f"{path}/restart", branch | {"completion_args": over})
    assert sent(restarted) == merged
    branched = f"/v1/conversations/{restarted.json['conversation_id']}"
    assert sent(raw.post(branched, {"inputs": "Three"})) == kept
    for one in (path, branched):
        assert raw.get(one).json["completion_args"] == kept
