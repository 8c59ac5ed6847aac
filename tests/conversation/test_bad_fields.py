"""Every field of every request: values of another kind, unknown fields beside it, and what is missing without it.

All are refused with a 422 that points there, and nothing is stored.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.support.raw import Answer, Raw
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import serving

pytestmark = pytest.mark.requirement("C-235")

Path = tuple[str | int, ...]
KINDS: dict[str, list[Any]] = {
    "null": [None],
    "bool": [True, False],
    "int": [0, 7, -(10**30)],
    "float": [1.5],
    "text": ["", "x", "1", "true"],
    "list": [[], ["x"], [[]], [None]],
    "dict": [{}, {"a": 1}, {"type": "x"}],
}
CHUNKS: list[dict[str, Any]] = [
    {"type": "text", "text": "x"},
    {"type": "image_url", "image_url": "https://example.org/a.png"},
    {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
]
THOUGHT: dict[str, Any] = {
    "type": "thinking", "closed": True, "signature": "s", "thinking": [
        {"type": "text", "text": "x"}, {"type": "reference", "reference_ids": [1, "a"]},
        {"type": "tool_reference", "tool": "t", "title": "T", "url": "u", "favicon": "f", "description": "d"},
    ],
}  # fmt: skip
NOW = "2024-06-06T12:00:00Z"
SHARED: dict[str, Any] = {"object": "entry", "created_at": NOW, "completed_at": NOW}
INPUTS: list[dict[str, Any]] = [
    {"type": "message.input", "id": "m1", "role": "user", "content": CHUNKS, "prefix": False, **SHARED},
    {"type": "message.output", "id": "m2", "role": "assistant", "content": [THOUGHT], "agent_id": "a", "model": "m",
     **SHARED},
    {"type": "function.call", "id": "c1", "tool_call_id": "t1", "name": "f", "arguments": {"a": 1}, "agent_id": "a",
     "confirmation_status": "allowed", "model": "m", **SHARED},
    {"type": "function.result", "id": "r1", "tool_call_id": "t1", "result": "x", **SHARED},
    {"type": "tool.execution", "id": "x1", "name": "web_search", "arguments": "{}", "function": "web_search",
     "info": {"a": 1}, "agent_id": "a", "model": "m", **SHARED},
    {"type": "agent.handoff", "id": "h1", "previous_agent_id": "a", "previous_agent_name": "A", "next_agent_id": "b",
     "next_agent_name": "B", **SHARED},
    {"type": "message.input", "id": "m3", "role": "user", "content": "x", **SHARED},
]  # fmt: skip
ARGS: dict[str, Any] = {
    "stop": ["x"], "presence_penalty": 0.5, "frequency_penalty": 0.5, "temperature": 0.5, "top_p": 0.5, "max_tokens": 5,
    "random_seed": 5, "prediction": {"type": "content", "content": "x"}, "tool_choice": "auto",
    "reasoning_effort": "low", "response_format": {"type": "json_schema", "json_schema": {
        "name": "x", "description": "d", "schema": {"type": "object"}, "strict": True,
    }},
}  # fmt: skip
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"a": 1}, "strict": True}}
]
REQUESTS: dict[str, dict[str, Any]] = {
    "start": {
        "inputs": INPUTS, "model": "MODEL", "stream": False, "store": True, "handoff_execution": "server",
        "instructions": "x", "tools": TOOLS, "completion_args": ARGS, "guardrails": [], "name": "n", "description": "d",
        "metadata": {"a": 1},
    },
    "append": {
        "inputs": INPUTS, "stream": False, "store": True, "handoff_execution": "server", "completion_args": ARGS,
        "tool_confirmations": None,
    },
    "restart": {
        "from_entry_id": "ENTRY", "inputs": INPUTS, "stream": False, "store": True, "handoff_execution": "server",
        "completion_args": ARGS, "guardrails": None, "metadata": {"a": 1}, "agent_version": None,
    },
}  # fmt: skip
"""A request of each operation with everything in it that is taken today."""
LATER: dict[str, dict[str, Any]] = {
    "start": {
        "agent_id": "a", "agent_version": 1, "tools": [
            {"type": "web_search", "tool_configuration": {
                "include": ["a"], "exclude": ["b"], "requires_confirmation": ["c"],
            }},
            {"type": "document_library", "library_ids": ["l"], "tool_configuration": None},
            {"type": "connector", "connector_id": "c", "authorization": {"type": "api-key", "value": "v"}},
        ],
        "guardrails": [{"block_on_error": True, "moderation_llm_v1": None, "moderation_llm_v2": {
            "model_name": "m", "custom_category_thresholds": {"sexual": 0.1}, "ignore_other_categories": True,
            "action": "block",
        }}],
    },
    "append": {"tool_confirmations": [{"tool_call_id": "t", "confirmation": "allow"}]},
    "restart": {"agent_version": 1},
}  # fmt: skip
"""What is refused as a whole as yet; but it is looked at first."""
NULLABLE = {
    *("handoff_execution", "instructions", "tools", "completion_args", "guardrails", "name", "description", "metadata"),
    *("agent_id", "agent_version", "store", "stream", "tool_confirmations", "completed_at", "signature"),
    *("confirmation_status", "favicon", "url", "detail", "json_schema", "tool_configuration", "include", "exclude"),
    *("requires_confirmation", "authorization", "moderation_llm_v1", "moderation_llm_v2", "custom_category_thresholds"),
    *(set(ARGS) - {"tool_choice"}), "sexual", "model",
}  # fmt: skip
ALSO: dict[str, set[str]] = {
    "inputs": {"text"}, "content": {"text", "list"}, "image_url": {"text", "dict"}, "arguments": {"text", "dict"},
    "stop": {"text", "list"}, "agent_version": {"text", "int"}, "reference_ids": {"list"},
    "tool_confirmations": {"list"}, "guardrails": {"list"}, "tool_configuration": {"dict"},
    "moderation_llm_v1": {"dict"},
    **{name: {"int", "float"} for name in ("presence_penalty", "frequency_penalty", "temperature", "top_p", "sexual")},
}  # fmt: skip
"""Kinds that a field takes besides the one that it has above."""
FREE = {"metadata", "arguments", "parameters", "schema", "info", "custom_category_thresholds"}
"""Objects with keys of the caller's own."""
REQUIRED = {
    "message.input": ("role", "content"), "message.output": ("content",), "function.result": ("tool_call_id", "result"),
    "function.call": ("tool_call_id", "name", "arguments"), "tool.execution": ("name", "arguments"),
    "agent.handoff": ("previous_agent_id", "previous_agent_name", "next_agent_id", "next_agent_name"),
    "text": ("text",), "image_url": ("image_url",), "thinking": ("thinking",), "reference": ("reference_ids",),
    "tool_reference": ("tool", "title"),
}  # fmt: skip


def kind_of(value: object) -> str:
    """Return the kind of a JSON value."""
    if isinstance(value, bool):
        return "bool"
    names = {type(None): "null", int: "int", float: "float", str: "text", list: "list", dict: "dict"}
    return names[type(value)]


def walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value inside, with its path; what is inside of free objects is nobody's business."""
    if path:
        yield path, value
    if path and path[-1] in FREE:
        return
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inside:
        yield from walk(one, (*path, key))


def changed(request: dict[str, Any], path: Path, value: object, *, drop: bool = False) -> dict[str, Any]:
    """Return the request with another value at `path`, or with none."""
    made = copy.deepcopy(request)
    place: Any = made
    for step in path[:-1]:
        place = place[step]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return made


def wrong_values(path: Path, value: object) -> list[Any]:
    """Return values of every kind that the field at `path` does not take."""
    name = next((step for step in reversed(path) if isinstance(step, str)), "")
    taken = {kind_of(value)}
    if isinstance(path[-1], str):
        taken |= ALSO.get(name, set()) | ({"null"} if name in NULLABLE else set())
    elif name == "reference_ids":
        taken = {"int", "text"}
    if path == ("inputs",):
        taken.add("null")  # of an append, and of a restart; test_start.py has the other
    return [one for kind, values in KINDS.items() if kind not in taken for one in values]


def cases() -> list[Any]:
    """Return operation, request and path for every field; what append and restart share with start is tried once."""
    found = []
    for operation, request in [*REQUESTS.items(), *((name, REQUESTS[name] | later) for name, later in LATER.items())]:
        for path, value in walk(request):
            shared = operation != "start" and len(path) > 1 and path[0] in ("inputs", "completion_args")
            repeated = REQUESTS[operation] is not request and path[0] not in LATER[operation]
            if not shared and not repeated:
                found.append(
                    pytest.param(operation, request, path, value, id=f"{operation}:{'.'.join(map(str, path))}")
                )
    return found


class Bench:
    """A server with one conversation in it."""

    def __init__(self, url: str, script: Script) -> None:
        self.raw, self.script = Raw(url), script
        made = self.raw.post("/v1/conversations", {"inputs": "One", "model": script.name}).json
        self.path = f"/v1/conversations/{made['conversation_id']}"
        self._names = {"MODEL": script.name, "ENTRY": made["outputs"][0]["id"]}

    def send(self, operation: str, request: dict[str, Any]) -> Answer:
        where = {"start": "/v1/conversations", "append": self.path, "restart": f"{self.path}/restart"}[operation]
        named = {key: self._names.get(str(value), value) for key, value in request.items()}
        return self.raw.post(where, json.dumps(named).encode())

    def seen(self) -> list[Any]:
        paths = ("/v1/conversations", self.path, f"{self.path}/history")
        return [*(self.raw.get(path).body for path in paths), len(self.script.requests)]


@pytest.fixture(scope="module")
def built(model_server: ScriptedServer) -> Iterator[Bench]:
    """Set one up for the whole file."""
    with closing(model_server.script()) as script, serving(upstream=model_server.url) as url:
        yield Bench(url, script)


@pytest.fixture
def bench(built: Bench) -> Iterator[Bench]:
    """Use it; whatever the test tried, nothing has come of it."""
    before = built.seen()
    yield built
    assert built.seen() == before, "something was stored, or the model was asked"


def check_refusal(answer: Answer, loc: list[str | int], *, exactly: bool = True) -> dict[str, Any]:
    """See that `answer` is a 422 that points at `loc`; return what it says of it."""
    assert answer.status == 422, answer.body[:300]
    (detail,) = answer.json["detail"]
    assert (detail["loc"] if exactly else detail["loc"][: len(loc)]) == loc, detail
    assert answer.json["code"] == 3001
    return dict(detail)


@pytest.mark.parametrize("operation", REQUESTS)
def test_the_requests_are_good_before_anything_is_done_to_them(built: Bench, operation: str) -> None:
    built.script.say("{}")  # the form that is asked for beside the tools
    assert built.send(operation, REQUESTS[operation]).status == 200


@pytest.mark.parametrize(("operation", "request_", "path", "value"), cases())
def test_a_value_of_another_kind_is_refused_where_it_stands(
    bench: Bench, operation: str, request_: dict[str, Any], path: Path, value: object
) -> None:
    for wrong in wrong_values(path, value):
        answer = bench.send(operation, changed(request_, path, wrong))
        check_refusal(answer, ["body", *path], exactly=not isinstance(wrong, list | dict))


@pytest.mark.parametrize(
    ("operation", "request_", "path", "value"),
    [case for case in cases() if isinstance(case.values[3], dict) and case.values[2][-1] not in FREE],
)
def test_an_unknown_field_is_refused_at_every_level(
    bench: Bench, operation: str, request_: dict[str, Any], path: Path, value: dict[str, Any]
) -> None:
    for name in ("surprise", "", "Type", "ünïcode\x00", "a.b[0]", "x" * 1000):
        answer = bench.send(operation, changed(request_, (*path, name), 1))
        detail = check_refusal(answer, ["body", *path, name])
        assert detail["type"] == "extra_forbidden"


@pytest.mark.parametrize(
    ("operation", "request_", "path", "value"),
    [case for case in cases() if isinstance(case.values[3], dict) and case.values[3].get("type") in REQUIRED],
)
def test_what_a_thing_cannot_be_without_is_missed_by_name(
    bench: Bench, operation: str, request_: dict[str, Any], path: Path, value: dict[str, Any]
) -> None:
    for name in REQUIRED[value["type"]]:
        answer = bench.send(operation, changed(request_, (*path, name), None, drop=True))
        assert check_refusal(answer, ["body", *path, name])["type"] == "missing"


@pytest.mark.parametrize(
    "when", ["", "now", "2024-06-06", "2024-13-06T12:00:00Z", "2024-06-06T25:00:00Z", "1e9",
             "2024-06-06T12:00:00+99:99", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["created_at", "completed_at"])
def test_a_time_that_never_was_is_refused(bench: Bench, field: str, when: str) -> None:
    for index in range(len(INPUTS)):
        answer = bench.send("start", changed(REQUESTS["start"], ("inputs", index, field), when))
        check_refusal(answer, ["body", "inputs", index, field])


@pytest.mark.parametrize("length", [0, 257, 100_000])
@pytest.mark.parametrize("path", [("inputs", 0, "id"), ("inputs", 2, "tool_call_id"), ("inputs", 3, "tool_call_id")])
def test_an_id_has_a_length_within_reason(bench: Bench, path: Path, length: int) -> None:
    answer = bench.send("start", changed(REQUESTS["start"], path, "x" * length))
    check_refusal(answer, ["body", *path])
