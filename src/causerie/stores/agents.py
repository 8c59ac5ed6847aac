"""The part of the store's port that is about agents: a row for each, a row a version, names for versions.

A version's body is written once. What it means is not known here, but for `metadata` in it, which it is found by.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec


class AgentRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored agent, with one of its versions.

    Attributes:
        version: which version `name`, `body` and `made_at` are of.
        latest: the highest number that a version has; they count from 0 without a gap.
        current: the version that those who name none get.
    """

    workspace: str
    id: str
    source: str
    created_at: datetime
    updated_at: datetime
    name: str
    body: bytes
    made_at: datetime
    deployment_chat: bool = False
    version: int = 0
    latest: int = 0
    current: int = 0


class AliasRow(NamedTuple):
    """A name for a version."""

    alias: str
    version: int
    created_at: datetime
    updated_at: datetime


class AgentQuery(NamedTuple):
    """Which agents are wanted: those whose current version has all that is given.

    Attributes:
        search: part of the name, in whatever case, or of the id.
        before: an id; only agents that were made before it.
    """

    limit: int
    offset: int = 0
    before: str | None = None
    deployment_chat: bool | None = None
    sources: Sequence[str] | None = None
    name: str | None = None
    search: str | None = None
    id: str | None = None
    metadata: Mapping[str, Any] = {}


class AgentStore(Protocol):
    """Where agents live. Every method may raise `StoreUnavailable`; of a deleted agent all raise `NotFound`."""

    def add_agent(self, row: AgentRow) -> Awaitable[None]:
        """Write a new agent with its version 0, durably."""
        ...

    async def agent(
        self, workspace: str, agent_id: str, version: int | str | None = None, *, deleted: bool = False
    ) -> AgentRow:
        """Return an agent in one of its versions, by number or alias, the current one where none is given. One read.

        Args:
            deleted: also find what is left of a deleted agent: versions that a run under way may stand on.

        Raises:
            NotFound: there is no such agent, version or alias; the message says which.
        """
        ...

    async def agents(self, workspace: str, query: AgentQuery) -> list[AgentRow]:
        """Return agents in their current versions, newest first."""
        ...

    async def missing_agents(self, workspace: str, agent_ids: Sequence[str]) -> list[str]:
        """Return those of `agent_ids` that are no agents, in their order."""
        ...

    async def agent_versions(self, workspace: str, agent_id: str, *, offset: int, limit: int) -> list[AgentRow]:
        """Return an agent in each of its versions, the newest first.

        Raises:
            NotFound: there is no such agent.
        """
        ...

    def change_agent(
        self, workspace: str, agent_id: str, change: Callable[[AgentRow], AgentRow]
    ) -> Awaitable[AgentRow]:
        """Write a new version, which becomes current, durably; return the agent with it.

        Args:
            change: is given the agent as it is and returns it as it is to be; the store counts the versions. It is
                called where the store writes, so that no other change comes between, and must be quick and pure.

        Raises:
            NotFound: there is no such agent.
        """
        ...

    def switch_agent(self, workspace: str, agent_id: str, version: int, at: datetime) -> Awaitable[AgentRow]:
        """Make another version current, durably; return the agent with it.

        Raises:
            NotFound: there is no such agent or version.
        """
        ...

    def set_alias(self, workspace: str, agent_id: str, alias: str, version: int, at: datetime) -> Awaitable[AliasRow]:
        """Give a version a name, or move the name to it, durably.

        Raises:
            NotFound: there is no such agent or version.
        """
        ...

    async def aliases(self, workspace: str, agent_id: str) -> list[AliasRow]:
        """Return an agent's names for versions, in their order.

        Raises:
            NotFound: there is no such agent.
        """
        ...

    def drop_alias(self, workspace: str, agent_id: str, alias: str) -> Awaitable[None]:
        """Take a name away, durably.

        Raises:
            NotFound: there is no such agent or name.
        """
        ...

    def delete_agent(self, workspace: str, agent_id: str, at: datetime) -> Awaitable[None]:
        """Delete an agent; its versions stay as long as a run is under way that may have begun with one of them.

        Raises:
            NotFound: there is no such agent.
        """
        ...
