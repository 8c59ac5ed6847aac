"""Agents: made, changed into new versions, named and found.

Whoever runs one asks `resolve`, which is a single read of the store each time: what it returns is right at that
moment for any number of processes, which no memory of what was read before would be.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Collection, Sequence

import msgspec

from causerie.errors import InvalidRequest, NotFound
from causerie.ids import Clock, Ids
from causerie.stores.base import AgentQuery, AgentRow, AgentStore, AliasRow
from causerie.types.agents import (
    Agent,
    AgentAlias,
    AgentContent,
    AgentFilter,
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
from causerie.types.base import UNSET, decode, encode

from . import admission

SOURCE = "api"
"""Where agents come from that were made through the API; others the API only knows as filters."""
_NUMBER = re.compile(r"[0-9]{1,18}")
_MOST = 10**18
_CURSOR = re.compile(r"[!-~]{1,256}")


class Agents:
    """The twelve operations of agents, and what runs need of them.

    The methods are called as the table of operations has them: with the workspace, what stands in the path, and the
    request, where there is one.
    """

    def __init__(
        self, store: AgentStore, ids: Ids, clock: Clock, served: Collection[str] = (),
        check_serving: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Take the store.

        Args:
            served: the wire types of the tools that this server can run.
            check_serving: is called before anything is written, and raises where that is no longer ours to do.
        """
        self._store, self._ids, self._clock, self._served = store, ids, clock, served
        self._check_serving = check_serving

    async def resolve(
        self, workspace: str, agent_id: str, version: str | int | None, *, deleted: bool = False
    ) -> Agent:
        """Return an agent in the version that is meant: a number, also as text; an alias; None for the current one.

        Args:
            deleted: also find what is left of a deleted agent, for a run that began before.

        Raises:
            NotFound: there is no such agent, version or alias; the message says which.
        """
        return _entity(await self._store.agent(workspace, agent_id, _version(agent_id, version), deleted=deleted))

    async def create(self, workspace: str, request: CreateAgentRequest) -> Agent:
        """Make an agent, in its version 0.

        Raises:
            InvalidRequest: something of it is not offered, or too much.
            NotFound: an agent among its handoffs is not there.
        """
        admission.check_agent(request, self._served)
        await self._check_handoffs(workspace, request.handoffs)
        now = self._clock.now()
        row = AgentRow(
            workspace=workspace, id=self._ids.new("ag"), source=SOURCE, created_at=now, updated_at=now, made_at=now,
            name=request.name, body=_body(request),
        )  # fmt: skip
        self._check_serving()
        await self._store.add_agent(row)
        return _entity(row)

    async def update(self, workspace: str, agent_id: str, request: UpdateAgentRequest) -> Agent:
        """Change an agent: make a new version of it, and make that current. What is absent stays, null clears.

        Raises:
            InvalidRequest: something of it is not offered, or too much.
            NotFound: there is no such agent, or one among its handoffs is not there.
        """
        admission.check_agent(request, self._served)
        given = {name: value for name, value in msgspec.structs.asdict(request).items() if value is not UNSET}
        await self._check_handoffs(workspace, given.get("handoffs"))
        chat = given.pop("deployment_chat")
        given = {name: value for name, value in given.items() if value is not None or name not in {"model", "name"}}
        now = self._clock.now()

        def change(row: AgentRow) -> AgentRow:
            content = msgspec.structs.replace(decode(row.body, AgentContent), **given)
            return msgspec.structs.replace(
                row, name=content.name, body=_body(content), made_at=now, updated_at=now,
                deployment_chat=row.deployment_chat if chat is None else chat,
            )  # fmt: skip

        self._check_serving()
        return _entity(await self._store.change_agent(workspace, agent_id, change))

    async def get(self, workspace: str, agent_id: str, request: GetAgentRequest) -> Agent:
        """Return an agent as it is, or in one of its versions; raises `NotFound`."""
        return await self.resolve(workspace, agent_id, request.agent_version)

    async def get_version(self, workspace: str, agent_id: str, version: str) -> Agent:
        """Return an agent in one of its versions, by number or alias; raises `NotFound`."""
        return await self.resolve(workspace, agent_id, version)

    async def list(self, workspace: str, request: ListAgentsRequest) -> Sequence[Agent]:
        """Return a page of agents, newest first."""
        query = _query(request, request.page_size)._replace(offset=request.page * request.page_size)
        return [_entity(row) for row in await self._store.agents(workspace, query)]

    async def list_pages(self, workspace: str, request: AgentPagesRequest) -> AgentListPage:
        """Return the page of agents that a token leads to, the newest without one, and the token of the next.

        Raises:
            InvalidRequest: the token is none.
        """
        before = None if request.page_token is None else _parse(request.page_token)
        size = request.page_size
        found = await self._store.agents(workspace, _query(request, size + 1)._replace(before=before))
        token = _token(found[size - 1].id) if len(found) > size else None
        return AgentListPage(data=[_entity(row) for row in found[:size]], next_page_token=token)

    async def update_version(self, workspace: str, agent_id: str, request: UpdateVersionRequest) -> Agent:
        """Make another version current; raises `NotFound`."""
        self._check_serving()
        version = _number(agent_id, request.version)
        return _entity(await self._store.switch_agent(workspace, agent_id, version, self._clock.now()))

    async def list_versions(self, workspace: str, agent_id: str, request: ListVersionsRequest) -> Sequence[Agent]:
        """Return a page of an agent's versions, the newest first; raises `NotFound`."""
        offset, limit = request.page * request.page_size, request.page_size
        found = await self._store.agent_versions(workspace, agent_id, offset=offset, limit=limit)
        return [_entity(row) for row in found]

    async def create_version_alias(self, workspace: str, agent_id: str, request: SetAliasRequest) -> AgentAlias:
        """Give a version a name, or move the name to it; raises `NotFound`."""
        self._check_serving()
        version = _number(agent_id, request.version)
        alias = await self._store.set_alias(workspace, agent_id, request.alias, version, self._clock.now())
        return _alias(alias)

    async def list_version_aliases(self, workspace: str, agent_id: str) -> Sequence[AgentAlias]:
        """Return an agent's names for versions; raises `NotFound`."""
        return [_alias(row) for row in await self._store.aliases(workspace, agent_id)]

    async def delete_version_alias(self, workspace: str, agent_id: str, request: DeleteAliasRequest) -> None:
        """Take a name away; raises `NotFound`."""
        self._check_serving()
        await self._store.drop_alias(workspace, agent_id, request.alias)

    async def delete(self, workspace: str, agent_id: str) -> None:
        """Delete an agent; a run under way ends as it began. Raises `NotFound`."""
        self._check_serving()
        await self._store.delete_agent(workspace, agent_id, self._clock.now())

    async def _check_handoffs(self, workspace: str, handoffs: Sequence[str] | None) -> None:
        missing = await self._store.missing_agents(workspace, handoffs) if handoffs else []
        if missing:
            raise NotFound(f"Agent not found: {missing[0]}, which is among the handoffs")


def _entity(row: AgentRow) -> Agent:
    content = msgspec.structs.asdict(decode(row.body, AgentContent))
    return Agent(
        **content, id=row.id, version=row.version, versions=[*range(row.latest + 1)], created_at=row.created_at,
        updated_at=row.updated_at if row.version == row.current else row.made_at, deployment_chat=row.deployment_chat,
        source=row.source,
    )  # fmt: skip


def _alias(row: AliasRow) -> AgentAlias:
    return AgentAlias(**row._asdict())


def _body(content: AgentContent) -> bytes:
    members = {name: getattr(content, name) for name in AgentContent.__struct_fields__}
    return encode(AgentContent(**(members | {"completion_args": content.completion_args.completed()})))


def _version(agent_id: str, version: str | int | None) -> str | int | None:
    if isinstance(version, int):
        return _number(agent_id, version)
    return int(version) if version is not None and _NUMBER.fullmatch(version) else version


def _number(agent_id: str, version: int) -> int:
    # A number that no database takes is one that no version has.
    if abs(version) > _MOST:
        raise NotFound(f"Agent {agent_id} has no version {version}")
    return version


def _query(wanted: AgentFilter, limit: int) -> AgentQuery:
    return AgentQuery(
        limit=limit, deployment_chat=wanted.deployment_chat, sources=wanted.sources, name=wanted.name,
        search=wanted.search, id=wanted.id, metadata=wanted.metadata or {},
    )  # fmt: skip


def _token(agent_id: str) -> str:
    return base64.urlsafe_b64encode(agent_id.encode()).decode()


def _parse(token: str) -> str:
    try:
        text = base64.b64decode(token.encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        text = ""
    if not _CURSOR.fullmatch(text):
        raise InvalidRequest(
            "That is not a page_token of this server's. Send the next_page_token of the page before, or none.",
            loc=("query", "page_token"), given=token,
        )  # fmt: skip
    return text
