"""The operations of `beta.conversations`: what each takes, and the call that it is.

Names, order and defaults are those of the official SDK; what is ours stands at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from causerie.types.base import UNSET, UnsetType
from causerie.types.completion import CompletionArgs, GuardrailConfig
from causerie.types.operations import ConversationEntity
from causerie.types.requests import AgentVersion, HandoffExecution
from causerie.types.responses import (
    ConversationHistory,
    ConversationMessages,
    ConversationResponse,
    ConversationRun,
    RunList,
)
from causerie.types.tools import Tool, ToolCallConfirmation

from .operations import Operations, awaited, plain, streaming, streaming_async
from .request import Call, Inputs, Options, Retries, present, query_json
from .runs import Runs

Args = CompletionArgs | Mapping[str, Any]
Guardrails = Iterable[GuardrailConfig | Mapping[str, Any]]
Handoff = HandoffExecution | str


class Conversations(Operations, Runs):
    """Conversations: start, continue, branch, read, list, delete, follow and cancel them; run functions in them."""

    def _start(
        self,
        *,
        inputs: Inputs,
        store: bool | None | UnsetType = UNSET,
        handoff_execution: Handoff | None | UnsetType = UNSET,
        instructions: str | None | UnsetType = UNSET,
        tools: Iterable[Tool | Mapping[str, Any]] | None | UnsetType = UNSET,
        completion_args: Args | None | UnsetType = UNSET,
        guardrails: Guardrails | None | UnsetType = UNSET,
        name: str | None | UnsetType = UNSET,
        description: str | None | UnsetType = UNSET,
        metadata: Mapping[str, Any] | None | UnsetType = UNSET,
        agent_id: str | None | UnsetType = UNSET,
        agent_version: AgentVersion | None | UnsetType = UNSET,
        model: str | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ConversationResponse]:
        """Start a conversation with a model or an agent, and run it."""
        body = {
            "inputs": inputs, "store": store, "handoff_execution": handoff_execution, "instructions": instructions,
            "tools": tools, "completion_args": completion_args, "guardrails": guardrails, "name": name,
            "description": description, "metadata": metadata, "agent_id": agent_id, "agent_version": agent_version,
            "model": model,
        }  # fmt: skip
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.start", options, body=body)

    def _append(
        self,
        *,
        conversation_id: str,
        inputs: Inputs | None = None,
        store: bool | None = True,
        handoff_execution: Handoff | None = "server",
        completion_args: Args | None = None,
        tool_confirmations: Iterable[ToolCallConfirmation | Mapping[str, Any]] | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ConversationResponse]:
        """Append entries to a conversation, and run it."""
        body = {
            "inputs": present(inputs), "store": present(store), "handoff_execution": present(handoff_execution),
            "completion_args": present(completion_args), "tool_confirmations": tool_confirmations,
        }  # fmt: skip
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.append", options, path={"conversation_id": conversation_id}, body=body)

    def _restart(
        self,
        *,
        conversation_id: str,
        from_entry_id: str,
        inputs: Inputs | None = None,
        store: bool | None = True,
        handoff_execution: Handoff | None = "server",
        completion_args: Args | None = None,
        guardrails: Guardrails | None | UnsetType = UNSET,
        metadata: Mapping[str, Any] | None | UnsetType = UNSET,
        agent_version: AgentVersion | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ConversationResponse]:
        """Branch a conversation after one of its entries, and run the branch."""
        body = {
            "from_entry_id": from_entry_id, "inputs": present(inputs), "store": present(store),
            "handoff_execution": present(handoff_execution), "completion_args": present(completion_args),
            "guardrails": guardrails, "metadata": metadata, "agent_version": agent_version,
        }  # fmt: skip
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.restart", options, path={"conversation_id": conversation_id}, body=body)

    def _list(
        self,
        *,
        page: int | None = 0,
        page_size: int | None = 100,
        metadata: Mapping[str, Any] | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[list[ConversationEntity]]:
        """List conversations, newest first."""
        query = {"page": present(page), "page_size": present(page_size), "metadata": query_json(metadata)}
        return Call("conversations.list", Options(retries, server_url, timeout_ms, http_headers), query=query)

    def _get(
        self,
        *,
        conversation_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ConversationEntity]:
        """Get a conversation's settings."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.get", options, path={"conversation_id": conversation_id})

    def _delete(
        self,
        *,
        conversation_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[None]:
        """Delete a conversation."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.delete", options, path={"conversation_id": conversation_id})

    def _get_history(
        self,
        *,
        conversation_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ConversationHistory]:
        """Get all entries of a conversation, oldest first."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.get_history", options, path={"conversation_id": conversation_id})

    def _get_messages(
        self,
        *,
        conversation_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ConversationMessages]:
        """Get all messages of a conversation, oldest first."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.get_messages", options, path={"conversation_id": conversation_id})

    def _list_runs(
        self,
        *,
        conversation_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[RunList]:
        """List a conversation's runs, newest first."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.list_runs", options, path={"conversation_id": conversation_id})

    def _get_run(
        self,
        *,
        conversation_id: str,
        run_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ConversationRun]:
        """Get a run: its state, what it used, why it failed."""
        where = {"conversation_id": conversation_id, "run_id": run_id}
        return Call("conversations.get_run", Options(retries, server_url, timeout_ms, http_headers), path=where)

    def _follow_run(
        self,
        *,
        conversation_id: str,
        run_id: str,
        last_event_id: str | None = None,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[None]:
        """Read a run's events: all, or those after the one whose id is given."""
        where = {"conversation_id": conversation_id, "run_id": run_id}
        follows = (conversation_id, run_id, last_event_id)
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.follow_run", options, path=where, follows=follows)

    def _cancel_run(
        self,
        *,
        conversation_id: str,
        run_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ConversationRun]:
        """End a run now, keeping what it has made."""
        where = {"conversation_id": conversation_id, "run_id": run_id}
        return Call("conversations.cancel_run", Options(retries, server_url, timeout_ms, http_headers), path=where)

    def _cancel(
        self,
        *,
        conversation_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[RunList]:
        """End whatever runs in a conversation now; the answer names what was ended."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("conversations.cancel", options, path={"conversation_id": conversation_id})

    start, start_async = plain(_start), awaited(_start)
    start_stream, start_stream_async = streaming(_start), streaming_async(_start)
    append, append_async = plain(_append), awaited(_append)
    append_stream, append_stream_async = streaming(_append), streaming_async(_append)
    restart, restart_async = plain(_restart), awaited(_restart)
    restart_stream, restart_stream_async = streaming(_restart), streaming_async(_restart)
    list, list_async = plain(_list), awaited(_list)
    get, get_async = plain(_get), awaited(_get)
    delete, delete_async = plain(_delete), awaited(_delete)
    get_history, get_history_async = plain(_get_history), awaited(_get_history)
    get_messages, get_messages_async = plain(_get_messages), awaited(_get_messages)
    list_runs, list_runs_async = plain(_list_runs), awaited(_list_runs)
    get_run, get_run_async = plain(_get_run), awaited(_get_run)
    follow_run, follow_run_async = streaming(_follow_run, ""), streaming_async(_follow_run, "_async")
    cancel_run, cancel_run_async = plain(_cancel_run), awaited(_cancel_run)
    cancel, cancel_async = plain(_cancel), awaited(_cancel)
