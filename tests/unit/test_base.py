"""The base of all types: what code that was written for the official SDK calls on its results, and UTC."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from causerie.types.base import UNSET, decode, encode, given, to_utc
from causerie.types.content import TextChunk, ThinkChunk
from causerie.types.entries import MessageInputEntry, MessageOutputEntry
from causerie.types.responses import ConversationResponse, ConversationUsageInfo

MOMENT = datetime(2025, 3, 1, 12, 0, 0, 250, UTC)


def response() -> ConversationResponse:
    """A response with something null and something absent in it."""
    content = [ThinkChunk(thinking=[TextChunk(text="Hm.")]), TextChunk(text="So.")]
    entry = MessageOutputEntry(id="msg_1", created_at=MOMENT, completed_at=None, content=content)
    return ConversationResponse(conversation_id="conv_1", outputs=[entry], usage=ConversationUsageInfo())


def test_a_dump_is_plain_objects_and_leaves_out_what_is_absent() -> None:
    dumped = response().model_dump()
    assert dumped["guardrails"] is None
    entry = dumped["outputs"][0]
    assert entry["created_at"] == MOMENT
    assert entry["type"] == "message.output"
    assert "model" not in entry
    assert entry["completed_at"] is None
    assert entry["content"][0] == {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "closed": True}


def test_a_json_dump_writes_times_as_text() -> None:
    assert response().model_dump(mode="json")["outputs"][0]["created_at"] == "2025-03-01T12:00:00.000250Z"


def test_null_can_be_left_out_at_every_depth() -> None:
    dumped = response().model_dump(exclude_none=True)
    assert "guardrails" not in dumped
    assert "completed_at" not in dumped["outputs"][0]
    assert json.loads(response().model_dump_json(exclude_none=True)) == response().model_dump(
        mode="json", exclude_none=True
    )


def test_json_is_what_goes_over_the_wire() -> None:
    assert response().model_dump_json().encode() == encode(response())
    assert decode(encode(response()), ConversationResponse) == response()


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="mood"):
        decode(b'{"role":"user","content":"a","type":"message.input","mood":"good"}', MessageInputEntry)


@pytest.mark.parametrize(("value", "expected"), [(None, 3), (UNSET, 3), (0, 0), (7, 7)])
def test_given_takes_the_default_for_null_and_absent(value: int, expected: int) -> None:
    assert given(value, 3) == expected


def test_a_time_without_an_offset_is_utc() -> None:
    assert to_utc(datetime(2025, 3, 1, 12)) == datetime(2025, 3, 1, 12, tzinfo=UTC)  # noqa: DTZ001
    paris = datetime(2025, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    assert to_utc(paris) == paris
    assert to_utc(paris).utcoffset() == timedelta()


@pytest.mark.parametrize(("moment", "hours"), [((9999, 12, 31, 23), -1), ((1, 1, 1), 1)])
def test_a_time_outside_of_the_calendar_cannot_be_written_in_utc(moment: tuple[int, ...], hours: int) -> None:
    with pytest.raises(OverflowError):
        to_utc(datetime(*moment, tzinfo=timezone(timedelta(hours=hours))))  # type: ignore[arg-type, misc]
