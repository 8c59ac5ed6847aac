"""What reaches a model server, byte for byte."""

from __future__ import annotations

import json
from typing import Any

import pytest

from causerie.types.completion import CompletionArgs, JsonSchema, Prediction, ResponseFormat
from causerie.upstreams.chat_request import request_body
from causerie.upstreams.openai_chat import OpenAIChat

# Odd spacing, an escape and a key order that no encoder of ours would write: they have to come through untouched.
MESSAGES = '[ {"role":"user",  "content":"caf\\u00e9 ☕"}, {"content":"x","role":"assistant","prefix":true} ]'.encode()
TOOLS = b'[{"type":"function","function":{"parameters":{}, "name":"f"}}]'


def sent(ask: Any, dialect: str = "openai", **members: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request_body(ask(MESSAGES, **members), "m", dialect))  # type: ignore[arg-type]
    return {name: value for name, value in body.items() if name not in ("model", "messages", "stream")}


def test_the_request_goes_out_as_these_bytes(run: Any, serving: Any, wire: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with serving(wire.plain(wire.message(content="ok"))) as server:
            upstream = OpenAIChat(server.url + "/", "sk-s3cret", model_names={"mine": "org/theirs-7b"})
            await collect(upstream, ask(MESSAGES, model="mine", tools=TOOLS, args=CompletionArgs(temperature=0.5)))
            await collect(upstream, ask(MESSAGES, model="other", stream=False))
            await upstream.close()
        first, second = server.requests
        assert (first.method, first.path) == ("POST", "/v1/chat/completions")
        assert first.headers["authorization"] == "Bearer sk-s3cret"
        assert first.headers["content-type"] == "application/json"
        assert first.body == (
            b'{"model":"org/theirs-7b","messages":'
            + MESSAGES
            + b',"tools":'
            + TOOLS
            + b',"temperature":0.5,"stream":true,"stream_options":{"include_usage":true}}'
        )
        assert second.body == b'{"model":"other","messages":' + MESSAGES + b',"stream":false}'

    run(scenario())


def test_a_large_body_goes_out_whole(run: Any, serving: Any, wire: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with serving(wire.plain(wire.message(content="ok"))) as server:
            upstream = OpenAIChat(server.url)
            await collect(upstream, ask("x" * 3_000_000))
            await upstream.close()
        body = server.requests[0].body
        assert (body[:12], body.count(b"x"), body[-1:]) == (b'{"model":"m"', 3_000_000, b"}")

    run(scenario())


def test_without_a_key_no_authorization_is_sent(run: Any, serving: Any, wire: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with serving(wire.plain(wire.message(content="ok"))) as server:
            upstream = OpenAIChat(server.url)
            await collect(upstream, ask())
            await upstream.close()
        assert "authorization" not in server.requests[0].headers

    run(scenario())


def test_a_query_in_the_base_url_is_kept(run: Any, serving: Any, wire: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with serving(wire.plain(wire.message(content="ok"))) as server:
            upstream = OpenAIChat(server.url + "?api-version=3")
            await collect(upstream, ask())
            await upstream.close()
        assert server.requests[0].path == "/v1/chat/completions?api-version=3"
        assert "api-version" not in upstream.name

    run(scenario())


def test_nulls_and_absent_members_are_not_sent(ask: Any) -> None:
    args = CompletionArgs(stop=None, temperature=None, response_format=None, random_seed=None, prediction=None)
    assert sent(ask, args=args, stream=False) == {}
    assert sent(ask, dialect="mistral") == {}


def test_all_members_of_completion_args_are_mapped(ask: Any) -> None:
    args = CompletionArgs(
        stop=["a", "b"],
        presence_penalty=-1.5,
        frequency_penalty=2.0,
        temperature=0.0,
        top_p=1.0,
        max_tokens=0,
        random_seed=7,
        prediction=Prediction(content="so"),
        response_format=ResponseFormat(type="json_object"),
        tool_choice="auto",
        reasoning_effort="low",
    )
    everywhere = {
        "stop": ["a", "b"],
        "presence_penalty": -1.5,
        "frequency_penalty": 2.0,
        "temperature": 0.0,
        "top_p": 1.0,
        "max_tokens": 0,
        "prediction": {"type": "content", "content": "so"},
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
    }
    usage = {"stream_options": {"include_usage": True}}
    assert sent(ask, "openai", args=args) == {**everywhere, "seed": 7, **usage}
    assert sent(ask, "vllm", args=args) == {**everywhere, "seed": 7, **usage}
    assert sent(ask, "mistral", args=args) == {**everywhere, "random_seed": 7}


@pytest.mark.parametrize(
    ("dialect", "choice", "expected"),
    [
        ("openai", "any", "required"),
        ("vllm", "any", "required"),
        ("mistral", "any", "any"),
        ("openai", "required", "required"),
        ("mistral", "required", "any"),
        ("openai", "none", "none"),
        ("vllm", "auto", "auto"),
    ],
)
def test_tool_choice_is_said_in_the_dialects_word(ask: Any, dialect: str, choice: Any, expected: str) -> None:
    assert sent(ask, dialect, tools=TOOLS, args=CompletionArgs(tool_choice=choice))["tool_choice"] == expected


def test_tool_choice_is_not_sent_without_tools(ask: Any) -> None:
    assert "tool_choice" not in sent(ask, args=CompletionArgs(tool_choice="any"))


@pytest.mark.parametrize(
    ("dialect", "effort", "expected"),
    [("openai", "max", "xhigh"), ("mistral", "max", "xhigh"), ("vllm", "max", "max"), ("openai", "none", "none")],
)
def test_reasoning_effort_stays_within_what_the_dialect_knows(
    ask: Any, dialect: str, effort: Any, expected: str
) -> None:
    assert sent(ask, dialect, args=CompletionArgs(reasoning_effort=effort))["reasoning_effort"] == expected


def test_a_json_schema_is_sent_whole(ask: Any) -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"], "default": None}}}
    wanted = ResponseFormat(
        type="json_schema", json_schema=JsonSchema(name="n", schema=schema, description=None, strict=True)
    )
    body = sent(ask, args=CompletionArgs(response_format=wanted))
    expected = {"name": "n", "schema": schema, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": expected}


def test_a_json_schema_of_null_asks_for_any_json(ask: Any) -> None:
    args = CompletionArgs(response_format=ResponseFormat(type="json_schema", json_schema=None))
    assert sent(ask, args=args)["response_format"] == {"type": "json_object"}


def test_only_vllm_has_to_be_told_to_continue_a_message(ask: Any) -> None:
    members = {"continue_final_message": True, "add_generation_prompt": False}
    assert members.items() <= sent(ask, "vllm", prefix="x").items()
    assert not members.keys() & sent(ask, "vllm").keys()
    assert not members.keys() & sent(ask, "mistral", prefix="x").keys()
    assert not members.keys() & sent(ask, "openai", prefix="x").keys()
