"""Thirty kills, a few stops, and nothing lost; and proof that the watch sees what it is there to see."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from causerie.types.entries import ToolExecutionEntry
from causerie.types.events import Event, ResponseDoneEvent, ResponseStartedEvent, RunAdoptedEvent
from causerie.types.responses import ConversationUsageInfo
from causerie.types.unfold import unfold

from .asking import PAY, Act, Question, Turn, result_of
from .book import LAWS, Book
from .checks import check_effects, difference, invalid
from .holding import Talk
from .model import wrong
from .run import report, run, table
from .storm import Plan
from .story import Story, folded

NOW = datetime.now(UTC)


def test_nothing_is_lost_in_thirty_kills() -> None:
    plan = Plan(kills=30, seed=7, holders=8, stops=0.2, minutes=5)
    book, seconds = run(plan, quiet=True)
    figures = report(plan, book, seconds)
    assert book.breaches.total() == 0, table(figures)
    counts = figures["counts"]
    assert counts["kills"] == plan.kills
    for what in ("operations acknowledged", "adopted runs", "streams resumed", "stops past the lease", "tool effects"):
        assert counts[what] > 0, what


def execution(name: str = "a", index: int = 0) -> list[Event]:
    """The events of one tool execution."""
    entry = ToolExecutionEntry(id=f"tool_exec_{name}", created_at=NOW, name="web_search", arguments='{"call": "x"}')
    return [*unfold(entry, index)]


def told(*events: Event) -> Story:
    """What a client has seen of a run that made these events."""
    story = Story()
    started = ResponseStartedEvent(created_at=NOW, conversation_id="conv_a", run_id="run_a")
    done = ResponseDoneEvent(created_at=NOW, usage=ConversationUsageInfo())
    for number, event in enumerate([started, *events, done]):
        story.add(f"1-{number}", event)
    return story


def adopted(*discard: str) -> RunAdoptedEvent:
    """The event that tells what does not count any more."""
    return RunAdoptedEvent(created_at=NOW, run_id="run_a", discard=list(discard))


@pytest.mark.parametrize(
    ("events", "order"),
    [
        ([*execution("a"), *execution("b", 1)], True),
        ([*execution("a")[:2], adopted("tool_exec_a"), *execution("a")], True),
        ([*execution("a"), adopted("tool_exec_a"), *execution("b", 1000)], True),
        ([*execution("a")[:2], adopted(), *execution("a")], False),
        ([*execution("a"), *execution("a")], False),
        ([*execution("a", 1), *execution("b", 0)], False),
        ([*execution("a"), *execution("b", 0)], False),
        ([*execution("a")[:2], *execution("b", 1), *execution("a")[2:]], False),
    ],
)
def test_events_that_are_missing_or_there_twice_are_seen(events: list[Event], order: bool) -> None:
    assert (told(*events).disorder() == "") is order


def test_what_was_taken_back_is_not_folded() -> None:
    events = [*execution("a")[:2], adopted("tool_exec_a"), *execution("b", 1000)]
    assert [entry["id"] for entry in folded(told(*events)).outputs] == ["tool_exec_b"]


def said(tag: str) -> dict[str, Any]:
    """An entry with a question."""
    return {"type": "message.input", "id": f"msg_{tag}", "role": "user", "content": Question(tag, []).text}


CALL = {"type": "function.call", "id": "fc_1", "tool_call_id": "c1"}
RESULT = {"type": "function.result", "id": "fr_1", "tool_call_id": "c1"}
ANSWER = {"type": "message.output", "id": "msg_1", "content": "yes"}


@pytest.mark.parametrize(
    ("entries", "complaint"),
    [
        ([said("a"), CALL, RESULT, ANSWER], ""),
        ([said("a"), ANSWER, said("a")], "an id twice"),
        ([said("a"), ANSWER, said("a") | {"id": "msg_b"}], "question a twice"),
        ([said("a"), RESULT], "without its call"),
        ([said("a"), CALL, ANSWER], "a message while"),
        ([said("a"), CALL], "without results"),
    ],
)
def test_an_invalid_history_is_seen(entries: list[dict[str, Any]], complaint: str) -> None:
    assert complaint in invalid(entries)
    assert (complaint == "") is (invalid(entries) == "")


@pytest.mark.parametrize(
    ("stored", "complaint"),
    [
        ([b'{"type":"message.output","content":"yes"}'], ""),
        ([], "stored b''"),
        ([b'{"type":"message.output","content": "yes"}'], "entry 1"),
        ([b'{"type":"message.output","content":"yes"}', b"{}"], "nobody was told of"),
    ],
)
def test_an_acknowledged_entry_that_is_gone_or_different_is_seen(stored: list[bytes], complaint: str) -> None:
    talk = Talk("conv_a", told=[b'{"type":"message.output","content":"yes"}'])
    found = " ".join(detail for _, detail in difference(talk, stored))
    assert complaint in found
    assert (complaint == "") is (found == "")


def chat(*messages: dict[str, Any]) -> str:
    """What the model server says of a prompt."""
    return wrong([{"role": "user", "content": Question("a", [Turn(acts=[Act(PAY, "a/0")])]).text}, *messages])


def test_a_prompt_that_is_no_chat_is_seen() -> None:
    function = {"name": PAY, "arguments": json.dumps({"call": "a/0"})}
    calls = {"role": "assistant", "content": "", "tool_calls": [{"id": "c1", "function": function}]}
    result = {"role": "tool", "tool_call_id": "c1", "content": result_of("a/0")}
    assert chat() == ""
    assert chat(calls, result) == ""
    assert "open" in chat(calls)
    assert "twice" in chat({"role": "user", "content": Question("a", []).text})
    assert "follows no call" in chat(calls, result, result)
    assert "wrong result" in chat(calls, result | {"content": "something else"})
    assert "says nothing" in chat({"role": "assistant", "content": ""})
    assert "nothing to answer" in chat({"role": "assistant", "content": "yes"})


def test_a_bill_that_is_paid_twice_is_seen(tmp_path: Path) -> None:
    effects = tmp_path / "effects"
    effects.write_text("pay a/0 1.0\nlook a/1 1.0\nlook a/1 2.0\npay a/2 3.0\npay a/2 4.0\n")
    book = Book()
    check_effects(effects, [], book)
    assert book.details == {"effects": ["pay a/2 took effect 2 times"]}
    assert book.counts["repeatable calls that were run again"] == 1

    book = Book()
    book.shown["a/1"] = 1.5  # its result was known by then
    effects.write_text("look a/1 1.0\nlook a/1 2.0\n")
    check_effects(effects, [], book)
    assert book.breaches == {"effects": 1}


def test_every_breach_is_counted_and_named() -> None:
    book = Book()
    for law in LAWS:
        book.blame(law, f"a case of {law}")
    figures = report(Plan(1, 1), book, 1.0)
    assert figures["breaches"] == dict.fromkeys(LAWS, 1)
    assert all(f"a case of {law}" in table(figures) for law in LAWS)
