"""The events of a run: the ten of PROTOCOL §8.2, and two of ours that say what was taken back."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args

from .base import UNSET, Tagged, UnsetType
from .content import OutputChunk
from .entries import ConfirmationStatus
from .responses import ConversationUsageInfo


class BaseEvent(Tagged, kw_only=True, tag_field="type"):
    """What every event has."""

    created_at: datetime


class ResponseStartedEvent(BaseEvent, kw_only=True, tag="conversation.response.started"):
    """The run exists; first, once. `run_id` is ours, for cancelling and resuming."""

    conversation_id: str
    run_id: str | UnsetType = UNSET


class ResponseDoneEvent(BaseEvent, kw_only=True, tag="conversation.response.done"):
    """The run ended well; last, once."""

    usage: ConversationUsageInfo
    guardrails: list[dict[str, Any]] | UnsetType = UNSET


class ResponseErrorEvent(BaseEvent, kw_only=True, tag="conversation.response.error"):
    """The run failed after it had started; last. `code` is the HTTP status that the JSON form would have had."""

    message: str
    code: int


class RunAdoptedEvent(BaseEvent, kw_only=True, tag="conversation.run.adopted"):
    """Another owner carries the run on; what was streamed of the entries in `discard` does not count."""

    run_id: str
    discard: list[str]


class RunCancelledEvent(BaseEvent, kw_only=True, tag="conversation.run.cancelled"):
    """The run was cancelled; what was streamed of the entries in `discard` was not kept. `done` follows."""

    run_id: str
    discard: list[str]


class MessageOutputEvent(BaseEvent, kw_only=True, tag="message.output.delta"):
    """A piece of a message: text, or one chunk (never a list: 2.4.1 raises on one)."""

    output_index: int = 0
    id: str
    content_index: int = 0
    model: str | None | UnsetType = UNSET
    agent_id: str | None | UnsetType = UNSET
    role: Literal["assistant"] = "assistant"
    content: str | OutputChunk


class FunctionCallEvent(BaseEvent, kw_only=True, tag="function.call.delta"):
    """A piece of a call's arguments; everything else repeats on every piece."""

    output_index: int = 0
    id: str
    model: str | None | UnsetType = UNSET
    agent_id: str | None | UnsetType = UNSET
    name: str
    tool_call_id: str
    arguments: str
    confirmation_status: ConfirmationStatus | None | UnsetType = UNSET


class ToolExecutionStartedEvent(BaseEvent, kw_only=True, tag="tool.execution.started"):
    """A tool of the server's begins."""

    output_index: int = 0
    id: str
    model: str | None | UnsetType = UNSET
    agent_id: str | None | UnsetType = UNSET
    name: str
    arguments: str
    function: str | UnsetType = UNSET


class ToolExecutionDeltaEvent(BaseEvent, kw_only=True, tag="tool.execution.delta"):
    """A piece of the arguments of a tool of the server's."""

    output_index: int = 0
    id: str
    name: str
    arguments: str
    function: str | UnsetType = UNSET


class ToolExecutionDoneEvent(BaseEvent, kw_only=True, tag="tool.execution.done"):
    """A tool of the server's is done; `info` says what came of it."""

    output_index: int = 0
    id: str
    name: str
    function: str | UnsetType = UNSET
    info: dict[str, Any] | UnsetType = UNSET


class AgentHandoffStartedEvent(BaseEvent, kw_only=True, tag="agent.handoff.started"):
    """An agent passes the conversation on: who leaves."""

    output_index: int = 0
    id: str
    previous_agent_id: str
    previous_agent_name: str


class AgentHandoffDoneEvent(BaseEvent, kw_only=True, tag="agent.handoff.done"):
    """An agent passes the conversation on: who takes over."""

    output_index: int = 0
    id: str
    next_agent_id: str
    next_agent_name: str


OutputEvent = (
    MessageOutputEvent
    | FunctionCallEvent
    | ToolExecutionStartedEvent
    | ToolExecutionDeltaEvent
    | ToolExecutionDoneEvent
    | AgentHandoffStartedEvent
    | AgentHandoffDoneEvent
)
DiscardEvent = RunAdoptedEvent | RunCancelledEvent
Event = ResponseStartedEvent | ResponseDoneEvent | ResponseErrorEvent | DiscardEvent | OutputEvent
OUTPUT_EVENTS = get_args(OutputEvent)
LAST_EVENTS = (ResponseDoneEvent, ResponseErrorEvent)
