"""Agents: a model with instructions, tools and settings under a name, in numbered versions (PROTOCOL §10).

What the twelve operations take and answer with. A version is never edited: a change makes the next one, and the agent
says which of its versions is current.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta, field

from .base import UNSET, Struct, UnsetType
from .completion import CompletionArgs, GuardrailConfig
from .requests import AgentVersion, Page, PageSize
from .tools import Tool

Source = Literal["api", "playground", "agent_builder_v1"]
Text = Annotated[str, Meta(min_length=1)]
Handoffs = Annotated[list[str], Meta(min_length=1)]
VersionMessage = Annotated[str, Meta(max_length=500)]
# It begins with a letter, so that it is never taken for a number. `$` alone would let a line end pass.
Alias = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z]([a-z0-9_-]*[a-z0-9])?(?!\n)$")]
VersionsPageSize = Annotated[int, Meta(ge=1, le=100)]


class AgentContent(Struct, kw_only=True):
    """What one version of an agent says. It is stored as it is."""

    model: Text
    name: Text
    instructions: str | None = None
    tools: list[Tool] = []
    completion_args: CompletionArgs = field(default_factory=CompletionArgs)
    guardrails: list[GuardrailConfig] | None = None
    description: str | None = None
    handoffs: Handoffs | None = None
    metadata: dict[str, Any] | None = None
    version_message: VersionMessage | None = None


class Agent(AgentContent, kw_only=True):
    """An agent, as one of its versions has it."""

    object: Literal["agent"] = "agent"
    id: str
    version: int
    versions: list[int]
    created_at: datetime
    updated_at: datetime
    deployment_chat: bool
    source: str
    owner_id: str | None = None


class AgentListPage(Struct, kw_only=True):
    """A page of agents, newest first, and the token that leads to the next; null on the last."""

    object: Literal["list"] = "list"
    data: list[Agent]
    next_page_token: str | None = None


class AgentAlias(Struct, kw_only=True):
    """A name for one version of an agent; it can be moved to another."""

    alias: str
    version: int
    created_at: datetime
    updated_at: datetime


class CreateAgentRequest(AgentContent, kw_only=True):
    """create: the content of version 0."""


class UpdateAgentRequest(Struct, kw_only=True):
    """update: what is absent stays, null clears. An agent is never without a model, a name and a place: null keeps."""

    instructions: str | None | UnsetType = UNSET
    tools: list[Tool] | UnsetType = UNSET
    completion_args: CompletionArgs | UnsetType = UNSET
    guardrails: list[GuardrailConfig] | None | UnsetType = UNSET
    model: Text | None = None
    name: Text | None = None
    description: str | None | UnsetType = UNSET
    handoffs: Handoffs | None | UnsetType = UNSET
    deployment_chat: bool | None = None
    metadata: dict[str, Any] | None | UnsetType = UNSET
    version_message: VersionMessage | None | UnsetType = UNSET


class GetAgentRequest(Struct, kw_only=True):
    """get: a version by its number or by an alias; the current one where none is given."""

    agent_version: AgentVersion | None = None


class AgentFilter(Struct, kw_only=True):
    """Which agents are listed: those that have everything that is given."""

    deployment_chat: bool | None = None
    sources: list[Source] | None = None
    name: str | None = None
    search: str | None = None
    id: str | None = None
    metadata: dict[str, Any] | None = None


class ListAgentsRequest(AgentFilter, kw_only=True):
    """list: a page by its number."""

    page: Page = 0
    page_size: PageSize = 20


class AgentPagesRequest(AgentFilter, kw_only=True):
    """list_pages: a page by the token that the one before it ended with."""

    page_size: PageSize = 20
    page_token: str | None = None


class UpdateVersionRequest(Struct, kw_only=True):
    """update_version: which version becomes current."""

    version: int


class ListVersionsRequest(Struct, kw_only=True):
    """list_versions: a page by its number."""

    page: Page = 0
    page_size: VersionsPageSize = 20


class SetAliasRequest(Struct, kw_only=True):
    """create_version_alias: a new alias, or one that moves."""

    alias: Alias
    version: int


class DeleteAliasRequest(Struct, kw_only=True):
    """delete_version_alias."""

    alias: Alias
