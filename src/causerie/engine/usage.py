"""Tokens and tools that a run used, summed over its turns (PROTOCOL §6.4)."""

from __future__ import annotations

from causerie.tools.base import ToolResult
from causerie.types.responses import ConversationUsageInfo
from causerie.upstreams.base import UsageDelta


def count_model(usage: ConversationUsageInfo, used: UsageDelta | None) -> None:
    """Add the tokens of one model call, as far as the upstream counted them."""
    if used is not None:
        usage.prompt_tokens += used.prompt_tokens
        usage.completion_tokens += used.completion_tokens
        usage.total_tokens += used.prompt_tokens + used.completion_tokens


def count_tool(usage: ConversationUsageInfo, name: str, result: ToolResult) -> None:
    """Add one call of a tool, under the name that entries show."""
    tokens, connectors = result.tokens or 0, usage.connectors or {}
    usage.connector_tokens = (usage.connector_tokens or 0) + tokens
    usage.total_tokens += tokens
    usage.connectors = {**connectors, name: connectors.get(name, 0) + 1}
