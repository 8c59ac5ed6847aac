"""The operations of `beta.agents`: what each takes, and the call that it is.

Names, order and defaults are those of the official SDK.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from causerie.types.agents import Agent, AgentAlias, AgentListPage, Source
from causerie.types.base import UNSET, UnsetType
from causerie.types.completion import CompletionArgs, GuardrailConfig
from causerie.types.requests import AgentVersion
from causerie.types.tools import Tool

from .operations import Operations, awaited, paged, paged_async, plain
from .request import Call, Options, Retries, present, query_flag, query_json

Args = CompletionArgs | Mapping[str, Any]
Guardrails = Iterable[GuardrailConfig | Mapping[str, Any]]
Tools = Iterable[Tool | Mapping[str, Any]]


class Agents(Operations):
    """Agents: make, find, change and delete them, and their versions and the names of those."""

    def _create(
        self,
        *,
        model: str,
        name: str,
        instructions: str | None | UnsetType = UNSET,
        tools: Tools | None = None,
        completion_args: Args | None = None,
        guardrails: Guardrails | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        handoffs: Iterable[str] | None | UnsetType = UNSET,
        metadata: Mapping[str, Any] | None | UnsetType = UNSET,
        version_message: str | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[Agent]:
        """Make an agent, in its version 0."""
        body = {
            "model": model, "name": name, "instructions": instructions, "tools": present(tools),
            "completion_args": present(completion_args), "guardrails": guardrails, "description": description,
            "handoffs": handoffs, "metadata": metadata, "version_message": version_message,
        }  # fmt: skip
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.create", options, body=body)

    def _list(
        self,
        *,
        page: int | None = 0,
        page_size: int | None = 20,
        deployment_chat: bool | None | UnsetType = UNSET,
        sources: Iterable[Source | str] | None | UnsetType = UNSET,
        name: str | None | UnsetType = UNSET,
        search: str | None | UnsetType = UNSET,
        id: str | None | UnsetType = UNSET,
        metadata: Mapping[str, Any] | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[list[Agent]]:
        """List agents, newest first."""
        query = {
            "page": present(page), "page_size": present(page_size), "deployment_chat": query_flag(deployment_chat),
            "sources": _names(sources), "name": present(name), "search": present(search), "id": present(id),
            "metadata": query_json(metadata),
        }  # fmt: skip
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.list", options, query=query)

    def _list_pages(
        self,
        *,
        page_size: int | None = 20,
        deployment_chat: bool | None | UnsetType = UNSET,
        sources: Iterable[Source | str] | None | UnsetType = UNSET,
        name: str | None | UnsetType = UNSET,
        search: str | None | UnsetType = UNSET,
        id: str | None | UnsetType = UNSET,
        metadata: Mapping[str, Any] | None | UnsetType = UNSET,
        page_token: str | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[AgentListPage]:
        """List agents, newest first, from page to page."""
        query = {
            "page_size": present(page_size), "deployment_chat": query_flag(deployment_chat),
            "sources": _names(sources), "name": present(name), "search": present(search), "id": present(id),
            "metadata": query_json(metadata), "page_token": present(page_token),
        }  # fmt: skip
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.list_pages", options, query=query)

    def _get(
        self,
        *,
        agent_id: str,
        agent_version: AgentVersion | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[Agent]:
        """Get an agent, as it is or in one of its versions."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        query = {"agent_version": present(agent_version)}
        return Call("agents.get", options, path={"agent_id": agent_id}, query=query)

    def _update(
        self,
        *,
        agent_id: str,
        instructions: str | None | UnsetType = UNSET,
        tools: Tools | None = None,
        completion_args: Args | None = None,
        guardrails: Guardrails | None | UnsetType = UNSET,
        model: str | None | UnsetType = UNSET,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        handoffs: Iterable[str] | None | UnsetType = UNSET,
        deployment_chat: bool | None | UnsetType = UNSET,
        metadata: Mapping[str, Any] | None | UnsetType = UNSET,
        version_message: str | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[Agent]:
        """Change an agent: make a new version, which becomes current."""
        body = {
            "instructions": instructions, "tools": present(tools), "completion_args": present(completion_args),
            "guardrails": guardrails, "model": model, "name": name, "description": description, "handoffs": handoffs,
            "deployment_chat": deployment_chat, "metadata": metadata, "version_message": version_message,
        }  # fmt: skip
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.update", options, path={"agent_id": agent_id}, body=body)

    def _delete(
        self,
        *,
        agent_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[None]:
        """Delete an agent."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.delete", options, path={"agent_id": agent_id})

    def _update_version(
        self,
        *,
        agent_id: str,
        version: int,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[Agent]:
        """Make another version of an agent current."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.update_version", options, path={"agent_id": agent_id}, query={"version": version})

    def _list_versions(
        self,
        *,
        agent_id: str,
        page: int | None = 0,
        page_size: int | None = 20,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[list[Agent]]:
        """List an agent's versions, newest first."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        query = {"page": present(page), "page_size": present(page_size)}
        return Call("agents.list_versions", options, path={"agent_id": agent_id}, query=query)

    def _get_version(
        self,
        *,
        agent_id: str,
        version: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[Agent]:
        """Get an agent in one of its versions."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.get_version", options, path={"agent_id": agent_id, "version": version})

    def _create_version_alias(
        self,
        *,
        agent_id: str,
        alias: str,
        version: int,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[AgentAlias]:
        """Give a version of an agent a name, or move the name to it."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        query = {"alias": alias, "version": version}
        return Call("agents.create_version_alias", options, path={"agent_id": agent_id}, query=query)

    def _list_version_aliases(
        self,
        *,
        agent_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[list[AgentAlias]]:
        """List an agent's names for versions."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.list_version_aliases", options, path={"agent_id": agent_id})

    def _delete_version_alias(
        self,
        *,
        agent_id: str,
        alias: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[None]:
        """Take a name away from an agent's version."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("agents.delete_version_alias", options, path={"agent_id": agent_id}, query={"alias": alias})

    create, create_async = plain(_create), awaited(_create)
    list, list_async = plain(_list), awaited(_list)
    list_pages, list_pages_async = paged(_list_pages), paged_async(_list_pages)
    get, get_async = plain(_get), awaited(_get)
    update, update_async = plain(_update), awaited(_update)
    delete, delete_async = plain(_delete), awaited(_delete)
    update_version, update_version_async = plain(_update_version), awaited(_update_version)
    list_versions, list_versions_async = plain(_list_versions), awaited(_list_versions)
    get_version, get_version_async = plain(_get_version), awaited(_get_version)
    create_version_alias, create_version_alias_async = plain(_create_version_alias), awaited(_create_version_alias)
    list_version_aliases, list_version_aliases_async = plain(_list_version_aliases), awaited(_list_version_aliases)
    delete_version_alias, delete_version_alias_async = plain(_delete_version_alias), awaited(_delete_version_alias)


def _names(sources: Iterable[str] | None | UnsetType) -> Any:
    return UNSET if sources is None or isinstance(sources, UnsetType) else [*sources]
