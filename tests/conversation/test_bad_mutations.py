"""Good requests gone wrong in any way: never a 500, always JSON, and nothing stored unless the answer says so."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.raw import Answer, Raw
from tests.support.samples import FOREIGN_HISTORY, GET_RATE, user
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import serving

STATUSES = {200, 400, 403, 404, 409, 413, 415, 422}
SIGNED = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "closed": True, "signature": "s"}
GUARDRAILS: list[dict[str, Any]] = [
    {"block_on_error": True, "moderation_llm_v1": None, "moderation_llm_v2": {
        "model_name": "MODEL", "custom_category_thresholds": {"law": 0.5, "pii": None}, "ignore_other_categories": True,
        "action": "block",
    }},
]  # fmt: skip
AGENT: dict[str, Any] = {
    "model": "MODEL", "name": "n", "instructions": "Be brief.", "description": None, "tools": [GET_RATE],
    "completion_args": {"temperature": 0.5, "response_format": {"type": "json_object"}}, "guardrails": GUARDRAILS,
    "handoffs": ["AGENT"], "metadata": {"a": {"b": [1, None]}}, "version_message": "x",
}  # fmt: skip
REQUESTS: list[tuple[str, dict[str, Any]]] = [
    ("start", {"inputs": "Hello", "model": "MODEL", "stream": True, "store": True, "instructions": "Be brief."}),
    ("start", {"inputs": FOREIGN_HISTORY, "model": "MODEL", "metadata": {"a": {"b": [1, None]}}, "name": "n"}),
    ("start", {"inputs": [
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "u"}}]},
        {"type": "message.output", "content": [SIGNED, {"type": "text", "text": "y"}]},
        user("z") | {"id": "m", "created_at": "2024-06-06T12:00:00Z", "completed_at": None},
    ], "model": "MODEL", "handoff_execution": "server", "guardrails": None}),
    ("start", {"inputs": [user("x")], "model": "MODEL", "tools": [GET_RATE], "completion_args": {
        "temperature": 0.5, "stop": ["a"], "max_tokens": 5, "tool_choice": "auto", "prediction": {"content": "x"},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    }}),
    ("append", {"inputs": [user("x"), {"role": "assistant", "content": "y", "prefix": True}], "stream": True}),
    ("append", {"inputs": [
        {"tool_call_id": "a1B2c3D4e", "name": "f", "arguments": {"a": 1}}, {"tool_call_id": "a1B2c3D4e", "result": "r"},
    ], "store": False, "tool_confirmations": []}),
    ("append", {"inputs": [], "tool_confirmations": [{"tool_call_id": "a1B2c3D4e", "confirmation": "allow"}]}),
    ("restart", {"from_entry_id": "ENTRY", "inputs": "Again", "metadata": {"a": "b"}, "completion_args": {"top_p": 1}}),
    ("restart", {"from_entry_id": "QUESTION", "stream": True, "store": None, "agent_version": None}),
    ("start", {"inputs": [
        {"type": "agent.handoff", "previous_agent_id": "a", "previous_agent_name": "b", "next_agent_id": "c",
         "next_agent_name": "d"}, user("x"),
    ], "agent_id": "AGENT", "agent_version": "0", "handoff_execution": "client", "completion_args": {"top_p": 1}}),
    ("start", {"inputs": "Hello", "model": "MODEL", "guardrails": GUARDRAILS, "stream": True}),
    ("restart", {"from_entry_id": "ENTRY", "inputs": "Again", "guardrails": GUARDRAILS}),
    ("hire", AGENT),
    ("change", AGENT | {"deployment_chat": True}),
    ("switch", {"version": 0}),
    ("moderate", {"model": "MODEL", "input": ["Hello", "ada@example.com"], "metadata": None}),
    ("moderate_chat", {"model": "MODEL", "input": [[
        {"role": "user", "content": [{"type": "text", "text": "x"}]}, {"role": "assistant", "content": "y"},
    ]]}),
]  # fmt: skip
WORDS = st.sampled_from([
    *("", "x", "ENTRY", "user", "assistant", "message.input", "function.call", "function.result", "text", "thinking"),
    *("a1B2c3D4e", "\x00", "🙂", "\ud800", "../..", "2024-06-06T12:00:00Z", "9999-12-31T23:59:59-23:59", "9" * 400),
])  # fmt: skip
NUMBERS = st.sampled_from([0, -1, 1, 2**63, 10**100, -(10**30), 0.5, 1e308, float("nan"), float("inf")])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = WORDS | st.sampled_from(
    ["type", "id", "role", "content", "inputs", "store", "stream", "tools", "model", "object"]
)
PARAMETERS = st.sampled_from(["page", "page_size", "metadata", "search", "sources", "name"])
MUTATIONS = ["reword", "reword", "reword", "replace", "drop", "drop", "add", "repeat", "wrap", "rename"]
Place = tuple[Any, Any]


def places(value: Any) -> Iterator[Place]:
    """Yield every container inside with every key or index of it."""
    for key in list(value if isinstance(value, dict) else range(len(value))):
        yield value, key
        if isinstance(value[key], dict | list) and value[key]:
            yield from places(value[key])


def nested(depth: int, inner: object) -> object:
    """Return `inner` within so many lists and objects."""
    for level in range(depth):
        inner = [inner] if level % 2 else {"a": inner}
    return inner


@st.composite
def mutants(draw: st.DrawFn) -> tuple[str, bytes]:
    """Draw an operation and a body: a good request with one or two things done to it, and sometimes to its bytes."""
    operation, request = draw(st.sampled_from(REQUESTS))
    request = copy.deepcopy(request)
    for _ in range(draw(st.integers(1, 2))):
        container, key = draw(st.sampled_from([*places(request), (request, "surprise")]))
        present = isinstance(container, list) or key in container
        match draw(st.sampled_from(MUTATIONS)):
            case "reword" if present and isinstance(container[key], str):
                container[key] = draw(WORDS)
            case "drop" if present:
                del container[key]
            case "add" if isinstance(container, dict):
                container[draw(KEYS)] = draw(VALUES)
            case "repeat" if isinstance(container, list):
                container.append(copy.deepcopy(container[key]))
            case "wrap" if present:
                container[key] = nested(draw(st.sampled_from([1, 2, 100, 200, 900])), container[key])
            case "rename" if present and isinstance(container, dict):
                container[draw(KEYS)] = container.pop(key)
            case _:
                container[key] = draw(VALUES)
        if not request:
            break
    body = json.dumps(request, ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass")
    if draw(st.integers(0, 7)) == 0:
        at = draw(st.integers(0, len(body)))
        body = body[:at] + draw(st.binary(max_size=3)) + body[at + draw(st.integers(0, 3)) :]
    return operation, body


class Bench:
    """A server with one conversation in it, and what is known to be stored."""

    def __init__(self, url: str, script: Script) -> None:
        self.raw, self.script = Raw(url), script
        made = self.raw.post("/v1/conversations", {"inputs": "One", "model": script.name}).json
        self.path = f"/v1/conversations/{made['conversation_id']}"
        question, answer = self.history(self.path)
        agents = [self.raw.post("/v1/agents", {"model": script.name, "name": name}).json["id"] for name in "ab"]
        self._paths = {
            "start": "/v1/conversations", "append": self.path, "restart": f"{self.path}/restart", "hire": "/v1/agents",
            "change": f"/v1/agents/{agents[1]}", "switch": f"/v1/agents/{agents[1]}/version",
            "moderate": "/v1/moderations", "moderate_chat": "/v1/chat/moderations",
        }  # fmt: skip
        self._names = {
            b"AGENT": agents[0].encode(),
            b"MODEL": script.name.encode(),
            b"ENTRY": answer["id"].encode(),
            b"QUESTION": question["id"].encode(),
        }

    def send(self, operation: str, body: bytes) -> Answer:
        for word, name in self._names.items():
            body = body.replace(b'"%b"' % word, b'"%b"' % name)
        self.script.say("{}")  # which has any form that is asked for
        return self.raw.post(self._paths[operation], body)

    def history(self, path: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self.raw.get(f"{path}/history").json["entries"]
        return entries

    def stored(self) -> dict[str, bytes]:
        paths = [f"/v1/{kind}/{one['id']}" for kind in ("conversations", "agents")
                 for one in self.raw.get(f"/v1/{kind}?page_size=1000").json]  # fmt: skip
        return {path: self.raw.get(f"{path}/history" if "conv_" in path else path).body for path in paths}

    def tidy(self, before: dict[str, bytes]) -> None:
        for one in self.stored().keys() - before.keys():
            assert self.raw.delete(one).status == 204


@pytest.fixture(scope="module")
def bench(model_server: ScriptedServer) -> Iterator[Bench]:
    """Set one up for the whole file."""
    with closing(model_server.script()) as script, serving(upstream=model_server.url) as url:
        yield Bench(url, script)


@pytest.mark.parametrize(("operation", "request_"), REQUESTS)
def test_the_requests_are_good_before_anything_is_done_to_them(
    bench: Bench, operation: str, request_: dict[str, Any]
) -> None:
    before = bench.stored()
    answer = bench.send(operation, json.dumps(request_).encode())
    assert answer.status == (422 if request_.get("tool_confirmations") else 200), answer.body
    bench.tidy(before)


@given(mutant=mutants())
@settings(
    max_examples=600, derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
def test_no_mutant_gets_a_500_and_none_that_is_refused_is_stored(bench: Bench, mutant: tuple[str, bytes]) -> None:
    operation, body = mutant
    before, asked = bench.stored(), len(bench.script.requests)
    answer = bench.send(operation, body)
    after = bench.stored()

    assert answer.status in STATUSES, answer.body
    if answer.status != 200:
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["object"] == "Error"
        assert after == before, "a refused request was stored"
        assert len(bench.script.requests) == asked or answer.json["code"] == 3003
        return
    if "text/event-stream" in answer.headers["content-type"]:
        last = answer.events[-1]
        assert last["type"] == "conversation.response.done" or last["code"] in STATUSES, last
    elif operation == "append":
        assert answer.json["conversation_id"] == bench.path.rpartition("/")[2]
    for one in [path for path in after.keys() - before.keys() if "conv_" in path]:
        # What was taken is whole: it can be read, goes on, and is accepted again as a foreign history.
        entries = json.loads(after[one])["entries"]
        again = {"inputs": [*entries, user("More")], "model": bench.script.name, "store": False}
        assert bench.raw.post("/v1/conversations", again).status in ({200} if entries else {200, 400})
    bench.tidy(before)


@given(query=st.lists(st.tuples(KEYS | PARAMETERS, VALUES), max_size=3), junk=st.text(max_size=5))
@settings(
    max_examples=150, derandomize=True, database=None, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
def test_no_query_gets_a_500(bench: Bench, query: list[tuple[str, Any]], junk: str) -> None:
    def written(value: object) -> str:
        text = value if isinstance(value, str) else json.dumps(value)
        return quote(text.encode(errors="surrogatepass"), safe="")

    asked = "&".join(f"{written(name)}={written(value)}" for name, value in query)
    for text in (asked, asked + quote(junk, safe="=&%"), asked.replace("%", "%%", 1)):
        for kind in ("conversations", "agents"):
            answer = bench.raw.get(f"/v1/{kind}?{text}")
            assert answer.status in (200, 422), answer.body
            assert answer.headers["content-type"] == "application/json"
            assert isinstance(answer.json, list if answer.status == 200 else dict)
