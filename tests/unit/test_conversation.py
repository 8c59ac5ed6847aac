"""A conversation's settings and its entity: what is shown, and which of the two shapes it has (PROTOCOL §7.1)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from causerie.engine.conversation import ConversationSettings, encode_metadata, entity, settings_of
from causerie.stores.base import ConversationRow
from causerie.types.base import encode
from causerie.types.completion import CompletionArgs, ResponseFormat
from causerie.types.tools import Function, FunctionTool, WebSearchTool

AT = datetime(2025, 3, 1, 12, 0, 0, 1, UTC)
ALL = ConversationSettings(
    model="m", instructions="Be brief.",
    tools=[WebSearchTool(), FunctionTool(function=Function(name="f", parameters={}))],
    completion_args=CompletionArgs(temperature=0.5, stop=None, response_format=ResponseFormat(type="json_object")),
)  # fmt: skip


def row(settings: ConversationSettings, **fields: Any) -> ConversationRow:
    """A row of a conversation."""
    given = {"workspace": "w", "id": "conv_1", "created_at": AT, "updated_at": AT + timedelta(seconds=1)}
    return ConversationRow(**(given | {"settings": encode(settings)} | fields))


def shown(settings: ConversationSettings, **fields: Any) -> dict[str, Any]:
    """Return the entity as JSON."""
    found: dict[str, Any] = json.loads(encode(entity(row(settings, **fields))))
    return found


def test_settings_come_back_as_they_were_written() -> None:
    assert settings_of(row(ALL)) == ALL
    assert settings_of(row(ConversationSettings())) == ConversationSettings()


def test_what_was_not_set_takes_no_room() -> None:
    assert encode(ConversationSettings(model="m")) == b'{"model":"m"}'


def test_a_conversation_with_a_model_shows_all_that_was_set() -> None:
    found = shown(ALL, name="Rates", description="", metadata=b'{"user":"ada"}')
    assert found == {
        "object": "conversation", "id": "conv_1", "created_at": "2025-03-01T12:00:00.000001Z",
        "updated_at": "2025-03-01T12:00:01.000001Z", "model": "m", "instructions": "Be brief.",
        "tools": [
            {"type": "web_search"},
            {"type": "function", "function": {"name": "f", "parameters": {}, "description": "", "strict": False}},
        ],
        "completion_args": {"temperature": 0.5, "stop": None, "response_format": {"type": "json_object"}},
        "guardrails": None, "name": "Rates", "description": "", "metadata": {"user": "ada"},
    }  # fmt: skip


def test_what_was_not_set_is_not_shown_but_lists_and_args_are() -> None:
    found = shown(ConversationSettings(model="m"))
    assert (found["tools"], found["completion_args"]) == ([], {})
    assert not {"instructions", "name", "description", "metadata", "agent_id"} & found.keys()


def test_a_conversation_with_an_agent_shows_no_model() -> None:
    found = shown(ConversationSettings(agent_id="ag_1", agent_version=3), name="Rates")
    assert (found["agent_id"], found["agent_version"], found["name"]) == ("ag_1", 3, "Rates")
    assert not {"model", "instructions", "tools", "completion_args"} & found.keys()


@pytest.mark.parametrize(("metadata", "stored"), [(None, None), ({}, b"{}"), ({"a": 1}, b'{"a":1}')])
def test_null_and_no_metadata_are_the_same(metadata: Any, stored: bytes | None) -> None:
    assert encode_metadata(metadata) == stored


def test_later_args_win_member_by_member_nulls_included() -> None:
    base = CompletionArgs(temperature=0.5, top_p=0.9, stop=["a"])
    assert base.overridden_by(None) is base
    assert base.overridden_by(CompletionArgs()) is base
    assert base.overridden_by(CompletionArgs(temperature=0, stop=None, max_tokens=5)) == CompletionArgs(
        temperature=0, top_p=0.9, stop=None, max_tokens=5
    )
    assert base == CompletionArgs(temperature=0.5, top_p=0.9, stop=["a"])
