"""The six kinds of entry that a conversation is made of (PROTOCOL §3)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from .base import UNSET, Tagged, UnsetType
from .content import InputChunk, OutputChunk

ConfirmationStatus = Literal["pending", "allowed", "denied"]


class BaseEntry(Tagged, kw_only=True, tag_field="type"):
    """What every entry has. A client may leave all of it out; the server fills it in."""

    object: Literal["entry"] = "entry"
    id: str | UnsetType = UNSET
    created_at: datetime | UnsetType = UNSET
    completed_at: datetime | None | UnsetType = UNSET


class MessageInputEntry(BaseEntry, kw_only=True, tag="message.input"):
    """A message from the caller: a user's, or an assistant's that the answer should follow or begin with."""

    role: Literal["user", "assistant"]
    content: str | list[InputChunk]
    prefix: bool = False


class MessageOutputEntry(BaseEntry, kw_only=True, tag="message.output"):
    """A message from the model."""

    role: Literal["assistant"] = "assistant"
    content: str | list[OutputChunk]
    agent_id: str | None | UnsetType = UNSET
    model: str | None | UnsetType = UNSET


class FunctionCallEntry(BaseEntry, kw_only=True, tag="function.call"):
    """A call that the caller answers, or (with a confirmation status) allows the server to make."""

    tool_call_id: str
    name: str
    arguments: str | dict[str, Any]
    confirmation_status: ConfirmationStatus | None | UnsetType = UNSET
    agent_id: str | None | UnsetType = UNSET
    model: str | None | UnsetType = UNSET


class FunctionResultEntry(BaseEntry, kw_only=True, tag="function.result"):
    """The caller's answer to a function call."""

    tool_call_id: str
    result: str


class ToolExecutionEntry(BaseEntry, kw_only=True, tag="tool.execution"):
    """A tool that the server ran, with what it was asked and what came of it."""

    name: str
    arguments: str
    function: str | UnsetType = UNSET
    info: dict[str, Any] | UnsetType = UNSET
    agent_id: str | None | UnsetType = UNSET
    model: str | None | UnsetType = UNSET


class AgentHandoffEntry(BaseEntry, kw_only=True, tag="agent.handoff"):
    """One agent passes the conversation on to another."""

    previous_agent_id: str
    previous_agent_name: str
    next_agent_id: str
    next_agent_name: str


Entry = (
    MessageInputEntry
    | MessageOutputEntry
    | FunctionCallEntry
    | FunctionResultEntry
    | ToolExecutionEntry
    | AgentHandoffEntry
)
OutputEntry = MessageOutputEntry | FunctionCallEntry | ToolExecutionEntry | AgentHandoffEntry
MessageEntry = MessageInputEntry | MessageOutputEntry
ConversationInputs = str | list[Entry]
