"""Tool calls in pieces, as the servers send them, and the calls that come of it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causerie.upstreams.base import CallDelta, Delta, FinishDelta
from causerie.upstreams.chat_answer import PlainAnswer, StreamedAnswer
from causerie.upstreams.trouble import Trouble

TROUBLE = Trouble("u")
CALLED = FinishDelta("tool_calls")


def read(pieces: list[Any], finish: str = "tool_calls") -> list[Delta]:
    """The deltas of a stream in which each item of `pieces` is what one chunk says of calls."""
    chunks = [{"choices": [{"index": 0, "delta": {"tool_calls": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    body = b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)
    return StreamedAnswer(TROUBLE).feed(body + b"data: [DONE]\n\n")


def read_plain(calls: list[Any], finish: str) -> list[Delta]:
    answer = PlainAnswer(TROUBLE)
    message = {"content": None, "tool_calls": calls}
    answer.feed(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": finish}]}).encode())
    return answer.close()


def call(index: int | None = None, id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    piece = {"index": index, "id": id, "type": "function", "function": function}
    return {key: value for key, value in piece.items() if value is not None}


F, G = "f", "g"


@pytest.mark.parametrize(
    ("pieces", "deltas"),
    [
        pytest.param(
            [[call(0, "a", F, "")], [call(0, arguments='{"x"')], [call(0, arguments=":1}")], [call(1, "b", G, "{}")]],
            [
                CallDelta(0, "a", "f"),
                CallDelta(0, arguments='{"x"'),
                CallDelta(0, arguments=":1}"),
                CallDelta(1, "b", "g", "{}"),
            ],
            id="openai",
        ),
        pytest.param(
            [[call(None, "a", F, "{}"), call(None, "b", G, "{}")]],
            [CallDelta(0, "a", "f", "{}"), CallDelta(1, "b", "g", "{}")],
            id="whole calls in one delta, without an index",
        ),
        pytest.param(
            [[call(0, "a", F, "{}")], [call(0, "b", F, "{}")], [call(0, "c", F, '{"x":')], [call(0, arguments="1}")]],
            [
                CallDelta(0, "a", "f", "{}"),
                CallDelta(1, "b", "f", "{}"),
                CallDelta(2, "c", "f", '{"x":'),
                CallDelta(2, arguments="1}"),
            ],
            id="every call has the index 0",
        ),
        pytest.param(
            [[call(0, "a", F, "")], [call(0, "b", G, "{")], [call(0, arguments="}")]],
            [CallDelta(0, "a", "f"), CallDelta(1, "b", "g", "{"), CallDelta(1, arguments="}")],
            id="every call has the index 0, and the first no arguments",
        ),
        pytest.param(
            [[call(0, None, F, "{}")], [call(0, None, F, '{"x":1}')]],
            [CallDelta(0, None, "f", "{}"), CallDelta(1, None, "f", '{"x":1}')],
            id="every call has the index 0, and no id",
        ),
        pytest.param(
            [[call(None, None, F, '{"x":')], [call(None, None, None, "1}")], [call(None, None, F, "{}")]],
            [CallDelta(0, None, "f", '{"x":'), CallDelta(0, arguments="1}"), CallDelta(1, None, "f", "{}")],
            id="no index and no id",
        ),
        pytest.param(
            [[call(0, "a", F, '{"x":')], [call(0, "a", F, "1}")]],
            [CallDelta(0, "a", "f", '{"x":'), CallDelta(0, arguments="1}")],
            id="id and name on every piece",
        ),
        pytest.param(
            [
                [call(None, "a", F, '{"x":')],
                [call(None, "b", G, "{")],
                [call(None, "a", None, "1}")],
                [call(None, "b", None, "}")],
            ],
            [
                CallDelta(0, "a", "f", '{"x":'),
                CallDelta(1, "b", "g", "{"),
                CallDelta(0, arguments="1}"),
                CallDelta(1, arguments="}"),
            ],
            id="interleaved by id",
        ),
        pytest.param(
            [[call(0, "a", F, {"x": 1, "y": [1.5, None]})], [call(1, "b", G, {})]],
            [CallDelta(0, "a", "f", '{"x":1,"y":[1.5,null]}'), CallDelta(1, "b", "g", "{}")],
            id="arguments as an object",
        ),
        pytest.param(
            [[call(0, "a", "get_", "")], [call(0, None, "weather", "{}")]],
            [CallDelta(0, "a", "get_"), CallDelta(0, None, "weather", "{}")],
            id="a name in pieces",
        ),
    ],
)
def test_pieces_of_calls_find_their_call(pieces: list[Any], deltas: list[Delta]) -> None:
    assert read(pieces) == [*deltas, CALLED]


@pytest.mark.parametrize("reason", ["stop", "function_call", "tool_calls"])
def test_an_answer_with_calls_finished_to_call_whatever_the_server_says(reason: str) -> None:
    assert read([[call(0, "a", F, "{}")]], reason)[-1] == CALLED
    assert read_plain([call(None, "a", F, "{}")], reason)[-1] == CALLED


def test_a_call_that_was_cut_keeps_its_reason() -> None:
    assert read([[call(0, "a", F, '{"x')]], "length")[-1] == FinishDelta("length")


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.text(alphabet='{}:1"', max_size=3)), min_size=1, max_size=12))
def test_well_behaved_calls_are_told_apart(pieces: list[tuple[int, str]]) -> None:
    order = list(dict.fromkeys(index for index, _ in pieces))
    begun = [[call(order.index(index), f"id{index}", F, "")] for index in order]
    grown = [[call(order.index(index), arguments=text)] for index, text in pieces]
    found: Counter[int] = Counter()
    texts: dict[int, str] = dict.fromkeys(range(len(order)), "")
    for delta in read(begun + grown):
        if isinstance(delta, CallDelta):
            found[delta.index] += delta.name == "f"
            texts[delta.index] += delta.arguments
    assert found == dict.fromkeys(range(len(order)), 1)
    assert texts == {order.index(index): "".join(t for i, t in pieces if i == index) for index in order}
