"""The table of operations: what routes, client methods, docs and tests are checked against."""

from __future__ import annotations

from typing import Any, NamedTuple

from .agents import (
    Agent,
    AgentAlias,
    AgentListPage,
    AgentPagesRequest,
    CreateAgentRequest,
    DeleteAliasRequest,
    GetAgentRequest,
    ListAgentsRequest,
    ListVersionsRequest,
    SetAliasRequest,
    UpdateAgentRequest,
    UpdateVersionRequest,
)
from .events import Event
from .requests import AppendRequest, FollowRequest, ListRequest, Nothing, RestartRequest, StartRequest
from .responses import (
    AgentConversation,
    BaseModelCard,
    ConversationHistory,
    ConversationMessages,
    ConversationResponse,
    ConversationRun,
    ModelConversation,
    ModelList,
    RunList,
)

ConversationEntity = ModelConversation | AgentConversation


class Operation(NamedTuple):
    """One operation: how it is called and what it takes and answers with.

    Attributes:
        name: the method of the client, in its group.
        request: the type of the body or, where `in_query`, of the query; None where there is neither.
        response: the type of the JSON answer; None where there is no body.
        status: the only status that the SDKs take for success (PROTOCOL §1.1).
        stream: the name of the streaming twin: the same request with ``stream: true``, answered with events; for an
            operation that can only stream, its own name.
        ours: whether it is an addition, which the official SDK does not know.
        group: where the client has it, such as ``conversations`` (of `beta`) or ``models``.
        in_query: whether what it takes stands in the query. Of a method that has a body, it may stand there instead.
        also: another method that does the same.
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
    in_query: bool = False
    also: str | None = None

    @property
    def key(self) -> str:
        """Its name among the operations of all groups."""
        return f"{self.group}.{self.name}"

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called where all groups stand together: its own name and, where it can stream, its twin's."""
        names = dict.fromkeys(name for name in (self.name, self.stream) if name)
        return tuple(names if self.group == "conversations" else (f"{self.group}.{name}" for name in names))


OPERATIONS = (
    Operation(
        "start", "POST", "/v1/conversations", "Create a conversation and run it.",
        StartRequest, ConversationResponse, stream="start_stream",
    ),
    Operation(
        "list", "GET", "/v1/conversations", "List conversations, newest first.",
        ListRequest, list[ConversationEntity], in_query=True,
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
        FollowRequest, None, stream="follow_run", ours=True, in_query=True,
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

AGENTS = (
    Operation(
        "create", "POST", "/v1/agents", "Make an agent, in its version 0.", CreateAgentRequest, Agent, group="agents",
    ),
    Operation(
        "list", "GET", "/v1/agents", "List agents, newest first, by the number of the page.",
        ListAgentsRequest, list[Agent], group="agents", in_query=True,
    ),
    Operation(
        "list_pages", "GET", "/v1/agents/pages", "List agents, newest first, from page to page.",
        AgentPagesRequest, AgentListPage, group="agents", in_query=True,
    ),
    Operation(
        "get", "GET", "/v1/agents/{agent_id}", "Get an agent, as it is or in one of its versions.",
        GetAgentRequest, Agent, group="agents", in_query=True,
    ),
    Operation(
        "update", "PATCH", "/v1/agents/{agent_id}", "Change an agent: make a new version, which becomes current.",
        UpdateAgentRequest, Agent, group="agents", also="POST",
    ),
    Operation("delete", "DELETE", "/v1/agents/{agent_id}", "Delete an agent.", None, None, status=204, group="agents"),
    Operation(
        "update_version", "PATCH", "/v1/agents/{agent_id}/version", "Make another version of an agent current.",
        UpdateVersionRequest, Agent, group="agents", in_query=True, also="POST",
    ),
    Operation(
        "list_versions", "GET", "/v1/agents/{agent_id}/versions", "List an agent's versions, newest first.",
        ListVersionsRequest, list[Agent], group="agents", in_query=True,
    ),
    Operation(
        "get_version", "GET", "/v1/agents/{agent_id}/versions/{version}", "Get an agent in one of its versions.",
        None, Agent, group="agents",
    ),
    Operation(
        "create_version_alias", "PUT", "/v1/agents/{agent_id}/aliases",
        "Give a version of an agent a name, or move the name to it.",
        SetAliasRequest, AgentAlias, group="agents", in_query=True,
    ),
    Operation(
        "list_version_aliases", "GET", "/v1/agents/{agent_id}/aliases", "List an agent's names for versions.",
        None, list[AgentAlias], group="agents",
    ),
    Operation(
        "delete_version_alias", "DELETE", "/v1/agents/{agent_id}/aliases", "Take a name away from an agent's version.",
        DeleteAliasRequest, None, status=204, group="agents", in_query=True,
    ),
)  # fmt: skip
"""The operations of `beta.agents`."""

MODELS = (
    Operation("list", "GET", "/v1/models", "List the models.", Nothing, ModelList, group="models", in_query=True),
    Operation("retrieve", "GET", "/v1/models/{model_id}", "Get one model.", None, BaseModelCard, group="models"),
)
"""The operations of `models`."""

BY_KEY = {one.key: one for one in (*OPERATIONS, *AGENTS, *MODELS)}
STREAM_EVENTS = Event
