"""Deltas become events: ids, indexes and stamps are given, and what cannot leave in order waits (PROTOCOL §8.3)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from causerie.engine.emit import Emitter
from causerie.engine.prompt import Call
from causerie.ids import Clock, Ids, is_tool_call_id
from causerie.types.base import UNSET
from causerie.types.content import TextChunk, ThinkChunk
from causerie.types.events import FunctionCallEvent, MessageOutputEvent, OutputEvent
from causerie.upstreams.base import CallDelta, Delta, FinishDelta, ReasoningDelta, TextDelta, UsageDelta

AT = datetime(2025, 3, 1, 12, 0, 0, 1, UTC)
SERVED = ("search", "fetch")


class StoppedClock(Clock):
    """It is always the same time."""

    def now(self) -> datetime:
        return AT


def emitter(**how: Any) -> Emitter:
    """Return an emitter at the beginning of a turn in which the server runs `SERVED`."""
    made = Emitter(Ids(), StoppedClock(), model="m", **how)
    made.begin_turn(SERVED)
    return made


def turn(*batches: Sequence[Delta], on: Emitter | None = None) -> list[OutputEvent]:
    """Play a whole turn as a run does: the deltas, the end, and then the calls in order."""
    emit = on or emitter()
    events = [event for batch in batches for event in emit.feed(batch)] + emit.end_turn()
    for pending in emit.ordered_calls:
        if pending.name in SERVED:
            events += emit.execution_started(pending, "web_search")
            events += emit.execution_done(pending, "web_search", {"result": []})
        else:
            events += emit.rest(pending)
    in_order(events)
    return events


def in_order(events: Sequence[OutputEvent]) -> None:
    """See that the indexes count the entries and never go back."""
    indexes = [event.output_index for event in events]
    assert indexes == sorted(indexes)
    assert sorted(set(indexes)) == list(range(len(set(indexes))))
    assert len({(event.output_index, event.id) for event in events}) == len(set(indexes))


def told(events: Sequence[OutputEvent]) -> list[tuple[Any, ...]]:
    """Return the entries that events tell of, in order: texts, thoughts, calls and executions."""
    entries: dict[str, list[Any]] = {}
    for event in events:
        if isinstance(event, MessageOutputEvent):
            content = event.content
            entries.setdefault(event.id, ["message"]).append(content if isinstance(content, str) else thought(content))
        elif isinstance(event, FunctionCallEvent):
            entry = entries.setdefault(event.id, [event.name, ""])
            entry[1] += event.arguments
        else:
            entries.setdefault(event.id, [type(event).__name__]).append(getattr(event, "arguments", "done"))
    return [tuple(entry) for entry in entries.values()]


def thought(chunk: Any) -> str:
    """Write a thinking chunk so that it can be told from text."""
    assert isinstance(chunk, ThinkChunk)
    return f"<{''.join(part.text for part in chunk.thinking if isinstance(part, TextChunk))}>"


def call(index: int, id_: str | None = None, name: str | None = None, arguments: str = "") -> CallDelta:
    """A piece of a call."""
    return CallDelta(index, id_, name, arguments)


def test_text_leaves_as_it_comes() -> None:
    emit = emitter()
    one, other = emit.feed([TextDelta("Hel"), TextDelta(""), TextDelta("lo")])
    assert isinstance(one, MessageOutputEvent)
    assert isinstance(other, MessageOutputEvent)
    assert (one.content, other.content) == ("Hel", "lo")
    assert (one.id, one.created_at, one.model, one.output_index, one.content_index) == (other.id, AT, "m", 0, 0)
    assert one.id.startswith("msg_")
    assert one.agent_id is UNSET
    assert emit.end_turn() == []
    assert "".join(emit.text) == "Hello"


def test_an_agent_is_named() -> None:
    (event,) = emitter(agent_id="ag_1").feed([TextDelta("a")])
    assert isinstance(event, MessageOutputEvent)
    assert event.agent_id == "ag_1"


def test_a_model_that_says_nothing_answered_with_an_empty_message() -> None:
    assert told(turn([], [UsageDelta(3, 0), FinishDelta("stop")])) == [("message", "")]


def test_usage_and_the_reason_to_stop_are_kept_and_are_no_events() -> None:
    emit = emitter()
    assert emit.feed([UsageDelta(3, 2), FinishDelta("length")]) == []
    assert emit.usage == UsageDelta(3, 2)
    assert emit.finish_reason == "length"


def test_thoughts_and_text_have_content_indexes_of_their_own() -> None:
    events = turn([ReasoningDelta("Let "), ReasoningDelta("me see.")], [TextDelta("So"), TextDelta(".")],
                  [ReasoningDelta("Wait."), TextDelta("No.")])  # fmt: skip
    assert told(events) == [("message", "<Let >", "<me see.>", "So", ".", "<Wait.>", "No.")]
    assert [getattr(event, "content_index", None) for event in events] == [0, 0, 1, 1, 2, 3]


def test_what_was_thought_is_kept_for_the_prompt() -> None:
    emit = emitter()
    emit.feed([ReasoningDelta("a", "content"), ReasoningDelta("b", "content"), ReasoningDelta("", "content", "signed")])
    assert "".join(emit.reasoning) == "ab"
    assert (emit.reasoning_field, emit.signature) == ("content", "signed")


def test_a_signature_leaves_even_without_a_thought_and_an_empty_thought_does_not() -> None:
    (event,) = emitter().feed([ReasoningDelta(""), ReasoningDelta("", "content", "signed")])
    assert isinstance(event, MessageOutputEvent)
    assert event.content == ThinkChunk(thinking=[], signature="signed")


def test_a_call_leaves_when_its_arguments_begin() -> None:
    emit = emitter()
    assert emit.feed([call(0, "callAAAA1", "get_"), call(0, None, "rate")]) == []
    events = emit.feed([call(0, arguments='{"a"'), call(0, arguments=": 1}")])
    first = events[0]
    assert isinstance(first, FunctionCallEvent)
    assert (first.name, first.tool_call_id, first.arguments) == ("get_rate", "callAAAA1", '{"a"')
    assert first.id.startswith("fc_")
    assert first.confirmation_status is UNSET
    assert told(events) == [("get_rate", '{"a": 1}')]
    assert emit.end_turn() == []
    assert [emit.rest(pending) for pending in emit.ordered_calls] == [[]]


def test_a_call_without_arguments_leaves_at_the_end_with_an_empty_object() -> None:
    assert told(turn([TextDelta("Now:"), call(0, "callAAAA1", "get_rate")])) == [
        ("message", "Now:"),
        ("get_rate", "{}"),
    ]


@pytest.mark.parametrize("interleaved", [False, True])
def test_parallel_calls_leave_one_after_the_other(interleaved: bool) -> None:
    one = [call(0, "callAAAA1", "f", '{"a'), call(0, arguments='": 1'), call(0, arguments="}")]
    other = [call(1, "callAAAA2", "g", "["), call(1, arguments="2"), call(1, arguments="]")]
    deltas = [piece for pair in zip(one, other, strict=True) for piece in pair] if interleaved else [*one, *other]
    assert told(turn(deltas)) == [("f", '{"a": 1}'), ("g", "[2]")]


def test_a_call_that_is_whole_makes_way_for_the_next_at_once() -> None:
    emit = emitter()
    emit.feed([call(0, "callAAAA1", "f", '{"a": 1}')])
    assert told(emit.feed([call(1, "callAAAA2", "g", "{")])) == [("g", "{")]


def test_a_call_that_is_half_sent_holds_the_others_up() -> None:
    emit = emitter()
    emit.feed([call(0, "callAAAA1", "f", '{"a"')])
    assert emit.feed([call(1, "callAAAA2", "g", "{}"), TextDelta("And so")]) == []
    assert told(emit.feed([call(0, arguments=": 1}")])) == [("f", ": 1}")]


def test_arguments_that_never_become_whole_still_leave() -> None:
    pieces = [call(0, "callAAAA1", "f", '{"a": '), call(1, "callAAAA2", "g", "not"), TextDelta("b")]
    assert sorted(told(turn(pieces))) == [("f", '{"a": '), ("g", "not"), ("message", "b")]


def test_brackets_without_end_are_only_text() -> None:
    assert told(turn([call(0, "callAAAA1", "f", "[" * 100_000), call(1, "callAAAA2", "g", "{}")])) == [
        ("f", "[" * 100_000),
        ("g", "{}"),
    ]


def test_text_between_calls_is_a_message_of_its_own() -> None:
    events = turn([TextDelta("a"), call(0, "callAAAA1", "f", "{}"), TextDelta("b"), call(1, "callAAAA2", "g", "{}")])
    assert told(events) == [("message", "a"), ("f", "{}"), ("message", "b"), ("g", "{}")]


def test_text_inside_of_a_call_waits_for_its_end() -> None:
    emit = emitter()
    events = turn(
        [call(0, "callAAAA1", "f", "{"), TextDelta("b"), ReasoningDelta("c"), call(0, arguments="}")], on=emit
    )
    assert told(events) == [("f", "{}"), ("message", "b", "<c>")]
    assert "".join(emit.text) == "b"
    assert "".join(emit.reasoning) == "c"


@pytest.mark.parametrize("other", [[call(1, "callAAAA2", "g", "{}")], [TextDelta("a")]], ids=["call", "text"])
@pytest.mark.parametrize("after", [[], [call(2, "callAAAA3", "h", "{}")]], ids=["last", "more"])
def test_white_space_that_comes_too_late_is_dropped(other: list[Delta], after: list[Delta]) -> None:
    events = turn([call(0, "callAAAA1", "f", '{"a": 1}')], other, [call(0, arguments=" \n")], after)
    assert told(events)[0] == ("f", '{"a": 1}')
    assert len(told(events)) == 2 + len(after)


def test_a_call_of_the_servers_waits_for_the_end_and_so_does_what_follows() -> None:
    emit = emitter()
    assert told(emit.feed([TextDelta("Look:"), call(0, "callAAAA1", "search", '{"q": 1}'),
                           call(1, "callAAAA2", "get_rate", "{}"), TextDelta(" done")])) == [
        ("message", "Look:", " done")
    ]  # fmt: skip
    search, rate = emit.ordered_calls
    events = [*emit.execution_started(search, "web_search"), *emit.execution_done(search, "web_search", {"a": 1})]
    events += emit.rest(rate)
    assert told(events) == [
        ("ToolExecutionStartedEvent", "", '{"q": 1}', "done"),
        ("get_rate", "{}"),
    ]
    assert [event.output_index for event in events] == [1, 1, 1, 2]
    assert [(getattr(event, "name", ""), getattr(event, "function", "")) for event in events[:3]] == [
        ("web_search", "search")
    ] * 3
    assert events[0].id.startswith("tool_exec_")


def test_a_call_before_one_of_the_servers_leaves_first() -> None:
    events = turn([call(0, "callAAAA1", "get_rate", "{}"), call(1, "callAAAA2", "search", "{}")])
    assert [entry[0] for entry in told(events)] == ["get_rate", "ToolExecutionStartedEvent"]


def test_what_has_begun_to_leave_is_never_held() -> None:
    events = turn([
        call(0, "callAAAA1"), call(1, "callAAAA2", "get_rate", "{"), call(0, None, "search"), call(0, arguments="{}"),
        call(1, arguments="}"),
    ])  # fmt: skip
    assert sorted(entry[0] for entry in told(events)) == ["ToolExecutionStartedEvent", "get_rate"]
    assert ("get_rate", "{}") in told(events)


def test_the_next_turn_counts_on() -> None:
    emit = emitter()
    events = turn([TextDelta("a"), call(0, "callAAAA1", "search", "{}")], on=emit)
    emit.begin_turn(SERVED)
    assert (emit.text, emit.reasoning, emit.calls, emit.usage, emit.finish_reason) == ([], [], {}, None, None)
    (event,) = emit.feed([TextDelta("b")])
    assert event.output_index == 2
    in_order([*events, event])


@pytest.mark.parametrize("given", ["call_of_another_shape", "", "0", "ünïcödé9", "chatcmpl-tool-123"])
def test_an_id_of_another_shape_is_replaced_outwards_and_kept_upstream(given: str) -> None:
    emit = emitter()
    (event,) = emit.feed([call(0, given or None, "f", "{}")])
    assert isinstance(event, FunctionCallEvent)
    assert is_tool_call_id(event.tool_call_id)
    (pending,) = emit.ordered_calls
    assert pending.call == Call(given or event.tool_call_id, "f", "{}")


def test_an_id_that_is_taken_is_replaced_outwards() -> None:
    emit = emitter(taken={"callAAAA1": "callAAAA1"})
    (event,) = emit.feed([call(0, "callAAAA1", "f", "{}")])
    assert isinstance(event, FunctionCallEvent)
    assert event.tool_call_id != "callAAAA1"


def test_calls_under_one_id_are_told_apart_both_ways() -> None:
    emit = emitter()
    turn([call(index, "callAAAA1", "f", json.dumps({"n": index})) for index in range(3)], on=emit)
    calls = emit.ordered_calls
    assert len({pending.tool_call_id for pending in calls}) == 3
    assert len({pending.call.id for pending in calls}) == 3
    assert [pending.text for pending in calls] == ['{"n": 0}', '{"n": 1}', '{"n": 2}']


def test_an_id_may_come_again_in_a_later_turn_of_the_run() -> None:
    emit = emitter()
    turn([call(0, "callAAAA1", "search", "{}")], on=emit)
    emit.begin_turn(SERVED)
    (event,) = emit.feed([call(0, "callAAAA1", "f", "{}")])
    assert isinstance(event, FunctionCallEvent)
    assert is_tool_call_id(event.tool_call_id)
    (pending,) = emit.ordered_calls
    assert pending.call.id == "callAAAA1"


def test_calls_are_in_the_order_of_their_indexes() -> None:
    emit = emitter()
    turn([call(2, "callAAAA3", "h"), call(0, "callAAAA1", "f"), call(1, "callAAAA2", "g")], on=emit)
    assert [pending.name for pending in emit.ordered_calls] == ["f", "g", "h"]
