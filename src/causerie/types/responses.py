"""What the eleven operations answer with, and the entities they are about (PROTOCOL §6.4, §7)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from .base import UNSET, Struct, Tagged, UnsetType
from .completion import CompletionArgs, GuardrailConfig
from .entries import Entry, MessageEntry, OutputEntry
from .tools import Tool


class ConversationUsageInfo(Struct, kw_only=True):
    """Tokens and server tools that a run used. `total_tokens` is prompt + completion + connector."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    connector_tokens: int | None | UnsetType = UNSET
    connectors: dict[str, int] | None | UnsetType = UNSET


class ConversationResponse(Struct, kw_only=True):
    """The answer of start, append and restart: what this run made, never what it was given."""

    object: Literal["conversation.response"] = "conversation.response"
    conversation_id: str
    outputs: list[OutputEntry]
    usage: ConversationUsageInfo
    guardrails: list[dict[str, Any]] | None = None


class ModelConversation(Struct, kw_only=True):
    """A conversation with a model."""

    object: Literal["conversation"] = "conversation"
    id: str
    created_at: datetime
    updated_at: datetime
    model: str
    instructions: str | None | UnsetType = UNSET
    tools: list[Tool] | UnsetType = UNSET
    completion_args: CompletionArgs | UnsetType = UNSET
    guardrails: list[GuardrailConfig] | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    metadata: dict[str, Any] | None | UnsetType = UNSET


class AgentConversation(Struct, kw_only=True):
    """A conversation with an agent. It has no model of its own: which shape it is, the SDK tells by that."""

    object: Literal["conversation"] = "conversation"
    id: str
    created_at: datetime
    updated_at: datetime
    agent_id: str
    agent_version: str | int | None | UnsetType = UNSET
    name: str | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    metadata: dict[str, Any] | None | UnsetType = UNSET


class ConversationHistory(Struct, kw_only=True):
    """All entries of a conversation, oldest first."""

    object: Literal["conversation.history"] = "conversation.history"
    conversation_id: str
    entries: list[Entry]


class ConversationMessages(Struct, kw_only=True):
    """The messages of a conversation, oldest first."""

    object: Literal["conversation.messages"] = "conversation.messages"
    conversation_id: str
    messages: list[MessageEntry]


class RunBounds(Struct, kw_only=True):
    """What a run has used of what it may use."""

    model_calls: int
    max_model_calls: int
    handoffs: int
    max_handoffs: int
    seconds: float
    max_seconds: float


class RunError(Struct, kw_only=True):
    """Why a run failed: the status and the message that its caller got."""

    code: int
    message: str


class ConversationRun(Struct, kw_only=True):
    """All that follows one start, append or restart."""

    object: Literal["run"] = "run"
    id: str
    conversation_id: str
    operation: Literal["start", "append", "restart"]
    state: Literal["running", "done", "failed", "cancelled"]
    started_at: datetime
    ended_at: datetime | None
    bounds: RunBounds
    usage: ConversationUsageInfo
    error: RunError | None


class RunList(Struct, kw_only=True):
    """Runs of a conversation, newest first."""

    object: Literal["list"] = "list"
    data: list[ConversationRun]


class ModelCapabilities(Struct, kw_only=True):
    """What a model can be used for."""

    completion_chat: bool = True
    function_calling: bool = True
    completion_fim: bool = False
    fine_tuning: bool = False
    vision: bool = False
    classification: bool = False
    moderation: bool = False


class BaseModelCard(Tagged, kw_only=True, tag="base", tag_field="type"):
    """A model that the server can run conversations with."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    capabilities: ModelCapabilities
    name: str | None = None
    description: str | None = None
    max_context_length: int = 32768
    aliases: list[str] = []
    deprecation: datetime | None = None
    default_model_temperature: float | None = None


class ModelList(Struct, kw_only=True):
    """The models that the server can run conversations with."""

    object: Literal["list"] = "list"
    data: list[BaseModelCard]
