"""The table of operations: what routes, client methods, docs and tests are checked against."""

from __future__ import annotations

from typing import Any, NamedTuple

from .events import Event
from .moderation import ChatModerationRequest, ClassificationRequest, ModerationResponse
from .requests import AppendRequest, ListRequest, RestartRequest, StartRequest
from .responses import (
    AgentConversation,
    ConversationHistory,
    ConversationMessages,
    ConversationResponse,
    ConversationRun,
    ModelConversation,
    RunList,
)

ConversationEntity = ModelConversation | AgentConversation


class Operation(NamedTuple):
    """One operation: how it is called and what it takes and answers with.

    Attributes:
        name: the method of the client, in its group.
        request: the type of the body or, for a GET, of the query; None where there is neither.
        response: the type of the JSON answer; None where there is no body.
        status: the only status that the SDKs take for success (PROTOCOL §1.1).
        stream: the name of the streaming twin: the same request with ``stream: true``, answered with events; for an
            operation that can only stream, its own name.
        ours: whether it is an addition, which the official SDK does not know.
        group: what the client has it under, such as ``conversations`` or ``classifiers``.
    """

    name: str
    method: str
    path: str
    summary: str
    request: Any
    response: Any
    status: int = 200
    stream: str | None = None
    ours: bool = False
    group: str = "conversations"


OPERATIONS = (
    Operation(
        "start", "POST", "/v1/conversations", "Create a conversation and run it.",
        StartRequest, ConversationResponse, stream="start_stream",
    ),
    Operation(
        "list", "GET", "/v1/conversations", "List conversations, newest first.",
        ListRequest, list[ConversationEntity],
    ),
    Operation(
        "get", "GET", "/v1/conversations/{conversation_id}", "Get a conversation's settings.",
        None, ConversationEntity,
    ),
    Operation(
        "delete", "DELETE", "/v1/conversations/{conversation_id}", "Delete a conversation.", None, None, status=204,
    ),
    Operation(
        "append", "POST", "/v1/conversations/{conversation_id}", "Append entries and run the conversation.",
        AppendRequest, ConversationResponse, stream="append_stream",
    ),
    Operation(
        "get_history", "GET", "/v1/conversations/{conversation_id}/history", "Get all entries, oldest first.",
        None, ConversationHistory,
    ),
    Operation(
        "get_messages", "GET", "/v1/conversations/{conversation_id}/messages", "Get all messages, oldest first.",
        None, ConversationMessages,
    ),
    Operation(
        "restart", "POST", "/v1/conversations/{conversation_id}/restart",
        "Branch a conversation after one of its entries and run the branch.",
        RestartRequest, ConversationResponse, stream="restart_stream",
    ),
    Operation(
        "list_runs", "GET", "/v1/conversations/{conversation_id}/runs", "List a conversation's runs, newest first.",
        None, RunList, ours=True,
    ),
    Operation(
        "get_run", "GET", "/v1/conversations/{conversation_id}/runs/{run_id}",
        "Get a run: its state, what it used, why it failed.",
        None, ConversationRun, ours=True,
    ),
    Operation(
        "follow_run", "GET", "/v1/conversations/{conversation_id}/runs/{run_id}/events",
        "Go on reading a run's events after the one whose id is given.",
        None, None, stream="follow_run", ours=True,
    ),
    Operation(
        "cancel_run", "POST", "/v1/conversations/{conversation_id}/runs/{run_id}/cancel",
        "End a run now, keeping what it has made.",
        None, ConversationRun, ours=True,
    ),
    Operation(
        "cancel", "POST", "/v1/conversations/{conversation_id}/cancel",
        "End whatever runs in a conversation now; the answer names what was ended.",
        None, RunList, ours=True,
    ),
)  # fmt: skip
"""The operations of `beta.conversations`."""

CLASSIFIERS = (
    Operation(
        "moderate", "POST", "/v1/moderations", "Score texts by category, as guardrails do.",
        ClassificationRequest, ModerationResponse, group="classifiers",
    ),
    Operation(
        "moderate_chat", "POST", "/v1/chat/moderations", "Score the last messages of chats by category.",
        ChatModerationRequest, ModerationResponse, group="classifiers",
    ),
)  # fmt: skip
"""The operations of `classifiers`."""
STREAM_EVENTS = Event
