"""Whatever comes from outside, nothing but our own errors and valid text comes out."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from causerie.errors import APIError
from causerie.upstreams.base import Delta, FinishDelta
from causerie.upstreams.chat_answer import PlainAnswer, StreamedAnswer
from causerie.upstreams.sample import Unsampled, sample
from causerie.upstreams.trouble import Trouble

TROUBLE = Trouble("u")
WORDS = [
    *("choices", "delta", "message", "content", "tool_calls", "function", "name", "arguments", "index", "id", "type"),
    *("text", "thinking", "reasoning", "error", "code", "usage", "prompt_tokens", "finish_reason", "object", "detail"),
]
SCHEMA_WORDS = [
    *("type", "properties", "required", "items", "anyOf", "allOf", "$ref", "$defs", "enum", "const", "minimum"),
    *("maximum", "minLength", "minItems", "pattern", "format", "object", "array", "string", "integer", "number"),
    *("additionalProperties", "uniqueItems", "#/$defs/type", "multipleOf", "prefixItems"),
]


def trees(words: list[str]) -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from([*words, "\ud83d", ""])
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(words), inner, max_size=4)
    )


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    said = draw(trees(WORDS))
    shape = draw(st.integers(0, 3))
    if shape:
        kind, finish = draw(st.sampled_from(["delta", "message"])), draw(st.sampled_from([None, "stop"]))
        said = {"choices": [{kind: said, "finish_reason": finish}]}
    return json.dumps(said, ensure_ascii=True).encode() if shape < 3 else draw(st.binary(max_size=20))


def checked(deltas: list[Delta]) -> list[Delta]:
    assert msgspec.json.decode(msgspec.json.encode(deltas)) is not None
    return deltas


@settings(max_examples=40, deadline=None)
@given(st.lists(chunks(), max_size=6))
def test_any_stream_is_deltas_or_our_error(said: list[bytes]) -> None:
    answer = StreamedAnswer(TROUBLE)
    with suppress(APIError):
        for data in said:
            checked(answer.feed(b"data: %b\n\n" % data))
            if answer.failure:
                raise answer.failure
        assert isinstance(checked(answer.close())[-1], FinishDelta)


@settings(max_examples=40, deadline=None)
@given(chunks())
def test_any_plain_answer_is_deltas_or_our_error(body: bytes) -> None:
    answer = PlainAnswer(TROUBLE)
    answer.feed(body)
    with suppress(APIError):
        assert isinstance(checked(answer.close())[-1], FinishDelta)


@settings(max_examples=40, deadline=None)
@given(st.integers(300, 600), trees(WORDS), st.binary(max_size=30))
def test_any_refusal_is_our_error(status: int, body: Any, noise: bytes) -> None:
    for data in (json.dumps(body).encode(), noise):
        error = TROUBLE.status(status, {}, data)
        assert error.status_code in (400, 429, 502, 503, 504)
        assert error.message.encode()
    assert TROUBLE.reported(body).message.encode()


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.sampled_from(SCHEMA_WORDS), trees(SCHEMA_WORDS), max_size=5))
def test_any_schema_has_an_instance_or_a_reason(schema: dict[str, Any]) -> None:
    with suppress(Unsampled):
        json.dumps(sample(schema))
