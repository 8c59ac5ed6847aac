"""The fold: each kind of event, what ends an entry, what is taken back, and how thoughts are joined (D10)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causerie.errors import APIError
from causerie.types.base import UNSET
from causerie.types.content import TextChunk, ThinkChunk, ToolFileChunk, ToolReferenceChunk
from causerie.types.entries import (
    AgentHandoffEntry,
    FunctionCallEntry,
    MessageOutputEntry,
    OutputEntry,
    ToolExecutionEntry,
)
from causerie.types.events import (
    AgentHandoffDoneEvent,
    AgentHandoffStartedEvent,
    Event,
    FunctionCallEvent,
    MessageOutputEvent,
    ResponseDoneEvent,
    ResponseErrorEvent,
    ResponseStartedEvent,
    RunAdoptedEvent,
    ToolExecutionDeltaEvent,
    ToolExecutionDoneEvent,
    ToolExecutionStartedEvent,
)
from causerie.types.fold import Fold, collect
from causerie.types.responses import ConversationUsageInfo

AT = datetime(2025, 3, 1, 12, 0, 0, 1, UTC)
LATER = datetime(2025, 3, 1, 12, 0, 5, 1, UTC)
USAGE = ConversationUsageInfo(prompt_tokens=3, completion_tokens=2, total_tokens=5)
CITATION = ToolReferenceChunk(tool="web_search", title="A page", url="http://127.0.0.1/")
STARTED = ResponseStartedEvent(created_at=AT, conversation_id="conv_1")
DONE = ResponseDoneEvent(created_at=AT, usage=USAGE)


def message(content: Any, id_: str = "msg_1", **more: Any) -> MessageOutputEvent:
    """A piece of a message."""
    return MessageOutputEvent(created_at=AT, id=id_, content=content, model="m", **more)


def thought(text: str, **more: Any) -> ThinkChunk:
    """A thinking chunk of one text."""
    return ThinkChunk(thinking=[TextChunk(text=text)], **more)


def call(arguments: str, id_: str = "fc_1", **more: Any) -> FunctionCallEvent:
    """A piece of a call."""
    return FunctionCallEvent(
        created_at=AT, id=id_, name="get_rate", tool_call_id="callAAAA1", arguments=arguments, **more
    )


def folded(*events: Any) -> list[OutputEntry]:
    """Fold events to the end of the turn."""
    fold = Fold(lambda: LATER)
    return [entry for entry in [*(fold.feed(event) for event in events), fold.close()] if entry is not None]


def content(*events: Any) -> Any:
    """Fold the pieces of one message."""
    (entry,) = folded(*events)
    assert isinstance(entry, MessageOutputEntry)
    return entry.content


def test_pieces_of_text_are_one_message() -> None:
    assert folded(message("Hel"), message(""), message("lo")) == [
        MessageOutputEntry(id="msg_1", created_at=AT, completed_at=LATER, content="Hello", model="m")
    ]


def test_a_silent_message_is_empty() -> None:
    assert content(message("")) == ""


def test_text_as_a_chunk_is_text() -> None:
    assert content(message(TextChunk(text="Hel")), message("lo")) == "Hello"


def test_other_chunks_stand_between_texts() -> None:
    file = ToolFileChunk(tool="image_generation", file_id="file_1")
    assert content(
        message("Rain"), message(CITATION, content_index=1), message(file, content_index=2),
        message(" is", content_index=3), message(" due.", content_index=3),
    ) == [TextChunk(text="Rain"), CITATION, file, TextChunk(text=" is due.")]  # fmt: skip


def test_text_of_another_index_is_a_chunk_of_its_own() -> None:
    assert content(message("a"), message("b", content_index=1)) == [TextChunk(text="a"), TextChunk(text="b")]


def test_one_chunk_alone_is_a_list() -> None:
    assert content(message(CITATION)) == [CITATION]


def test_pieces_of_a_thought_are_one() -> None:
    assert content(message(thought("Let ")), message(thought("me see.")), message("So.", content_index=1)) == [
        thought("Let me see."),
        TextChunk(text="So."),
    ]


def test_a_thought_after_text_is_another() -> None:
    found = content(
        message(thought("One.")), message("So.", content_index=1), message(thought("Two."), content_index=2)
    )
    assert found == [thought("One."), TextChunk(text="So."), thought("Two.")]


def test_thoughts_of_different_indexes_stay_apart() -> None:
    assert content(message(thought("One.")), message(thought("Two."), content_index=1)) == [
        thought("One."),
        thought("Two."),
    ]


def test_a_thought_keeps_its_signature_and_whether_it_is_closed() -> None:
    pieces = [
        thought("a", closed=False), thought("b", closed=False, signature="signed"), ThinkChunk(thinking=[]),
        ThinkChunk(thinking=[CITATION]), thought("c"), thought("d"),
    ]  # fmt: skip
    assert content(*map(message, pieces)) == [
        ThinkChunk(
            thinking=[TextChunk(text="ab"), CITATION, TextChunk(text="cd")], closed=True, signature="signed"
        )
    ]  # fmt: skip


def test_a_thought_is_not_changed_in_the_event_that_brought_it() -> None:
    first = message(thought("a"))
    content(first, message(thought("b")))
    assert first.content == thought("a")


def test_pieces_of_arguments_are_one_call_that_is_not_completed() -> None:
    assert folded(call('{"a"'), call(": 1}", confirmation_status="pending")) == [
        FunctionCallEntry(
            id="fc_1", created_at=AT, completed_at=None, tool_call_id="callAAAA1", name="get_rate",
            arguments='{"a": 1}', confirmation_status=UNSET,
        )
    ]  # fmt: skip


def test_a_pending_call_says_so() -> None:
    (entry,) = folded(call("{}", confirmation_status="pending", agent_id="ag_1"))
    assert isinstance(entry, FunctionCallEntry)
    assert (entry.confirmation_status, entry.agent_id) == ("pending", "ag_1")


def test_an_execution_is_what_began_and_what_came_of_it() -> None:
    told: dict[str, Any] = {"created_at": AT, "id": "tool_1", "name": "web_search", "function": "search"}
    assert folded(
        ToolExecutionStartedEvent(**told, arguments='{"q', model="m"),
        ToolExecutionDeltaEvent(**told, arguments='": 1'),
        ToolExecutionDeltaEvent(**told, arguments="}"),
        ToolExecutionDoneEvent(**told, info={"result": []}),
    ) == [
        ToolExecutionEntry(
            id="tool_1", created_at=AT, completed_at=LATER, name="web_search", function="search",
            arguments='{"q": 1}', info={"result": []}, model="m",
        )
    ]  # fmt: skip


def test_an_execution_without_news_has_none() -> None:
    told: dict[str, Any] = {"created_at": AT, "id": "tool_1", "name": "web_search"}
    (entry,) = folded(ToolExecutionStartedEvent(**told, arguments="{}"), ToolExecutionDoneEvent(**told))
    assert isinstance(entry, ToolExecutionEntry)
    assert (entry.info, entry.function) == (UNSET, UNSET)


def test_a_handoff_is_who_leaves_and_who_takes_over() -> None:
    told: dict[str, Any] = {"created_at": AT, "id": "handoff_1"}
    assert folded(
        AgentHandoffStartedEvent(**told, previous_agent_id="ag_1", previous_agent_name="Ann"),
        AgentHandoffDoneEvent(**told, next_agent_id="ag_2", next_agent_name="Bob"),
    ) == [
        AgentHandoffEntry(
            id="handoff_1", created_at=AT, completed_at=LATER, previous_agent_id="ag_1", previous_agent_name="Ann",
            next_agent_id="ag_2", next_agent_name="Bob",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    "event",
    [
        AgentHandoffStartedEvent(created_at=AT, id="x", previous_agent_id="ag_1", previous_agent_name="Ann"),
        AgentHandoffDoneEvent(created_at=AT, id="x", next_agent_id="ag_1", next_agent_name="Ann"),
        ToolExecutionDoneEvent(created_at=AT, id="x", name="web_search"),
        ToolExecutionDeltaEvent(created_at=AT, id="x", name="web_search", arguments=""),
    ],
    ids=lambda event: type(event).__name__,
)
def test_half_an_entry_is_refused(event: Any) -> None:
    fold = Fold(lambda: LATER)
    fold.feed(event)
    with pytest.raises(ValueError, match="entry x"):
        fold.close()


def test_an_entry_is_complete_when_the_next_begins() -> None:
    fold = Fold(lambda: LATER)
    assert fold.feed(message("a")) is None
    completed = fold.feed(call("{}"))
    assert isinstance(completed, MessageOutputEntry)
    completed = fold.feed(call("{}", "fc_2"))
    assert isinstance(completed, FunctionCallEntry)
    assert (completed.id, completed.arguments) == ("fc_1", "{}")
    completed = fold.close()
    assert isinstance(completed, FunctionCallEntry)
    assert completed.id == "fc_2"
    assert fold.close() is None


def test_nothing_of_one_entry_is_left_for_the_next() -> None:
    one, other = folded(message("a"), message(CITATION, content_index=1), message("b", "msg_2"))
    assert isinstance(one, MessageOutputEntry)
    assert isinstance(other, MessageOutputEntry)
    assert (one.content, other.content) == ([TextChunk(text="a"), CITATION], "b")


def test_what_is_discarded_never_was() -> None:
    fold = Fold(lambda: LATER)
    fold.feed(message("half of"))
    fold.feed(message(CITATION, content_index=1))
    fold.discard(["msg_1"])
    assert fold.feed(message("whole", "msg_2")) is None
    entry = fold.close()
    assert isinstance(entry, MessageOutputEntry)
    assert (entry.id, entry.content) == ("msg_2", "whole")


def test_only_what_is_named_is_discarded() -> None:
    fold = Fold(lambda: LATER)
    fold.feed(message("whole"))
    fold.discard(["msg_2"])
    assert fold.close() is not None
    fold.discard(["msg_1"])
    assert fold.close() is None


def test_a_whole_run_is_a_response() -> None:
    events: list[Event] = [STARTED, message("Hel"), message("lo"), call("{}"), DONE]
    response = collect(events, lambda: LATER)
    assert (response.conversation_id, response.usage, response.guardrails) == ("conv_1", USAGE, None)
    assert [entry.id for entry in response.outputs] == ["msg_1", "fc_1"]


@pytest.mark.parametrize(("given_", "expected"), [(UNSET, None), ([], None), ([{"a": 1}], [{"a": 1}])])
def test_guardrails_come_with_the_end(given_: Any, expected: Any) -> None:
    end = ResponseDoneEvent(created_at=AT, usage=USAGE, guardrails=given_)
    assert collect([STARTED, end], lambda: LATER).guardrails == expected


def test_an_adopted_run_takes_back_what_it_names_open_or_complete() -> None:
    adopted = RunAdoptedEvent(created_at=AT, run_id="run_1", discard=["fc_1", "msg_2"])
    response = collect(
        [STARTED, message("a"), call("{}"), message("half", "msg_2"), adopted, message("whole", "msg_3"), DONE],
        lambda: LATER,
    )
    assert [entry.id for entry in response.outputs] == ["msg_1", "msg_3"]


def test_an_adopted_run_that_discards_nothing_goes_on() -> None:
    adopted = RunAdoptedEvent(created_at=AT, run_id="run_1", discard=[])
    response = collect([STARTED, message("a"), adopted, message("b"), DONE], lambda: LATER)
    assert [getattr(entry, "content", None) for entry in response.outputs] == ["ab"]


def test_a_failed_run_raises_what_it_says() -> None:
    failed = ResponseErrorEvent(created_at=AT, message="The model server is away.", code=503)
    with pytest.raises(APIError, match="away") as refusal:
        collect([STARTED, message("a"), failed], lambda: LATER)
    assert refusal.value.code == 503


@pytest.mark.parametrize("events", [[], [STARTED], [STARTED, message("a")]])
def test_a_stream_that_breaks_off_is_no_response(events: list[Event]) -> None:
    with pytest.raises(APIError, match="ended before"):
        collect(events, lambda: LATER)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "a", "bc"]), st.booleans()), min_size=1, max_size=8))
def test_how_a_message_is_cut_makes_no_difference(pieces: Iterable[tuple[str, bool]]) -> None:
    events, index, before = [], 0, None
    for text, thinks in pieces:
        index += before is not None and thinks is not before
        before = thinks
        events.append(message(thought(text) if thinks else text, content_index=index))
    merged = content(*events)
    split = [
        message(thought(letter) if isinstance(event.content, ThinkChunk) else letter, content_index=event.content_index)
        for event in events
        for letter in ["", *(_text(event.content))]
    ]
    assert content(*split) == merged


def _text(said: Any) -> str:
    return said if isinstance(said, str) else "".join(part.text for part in said.thinking)
