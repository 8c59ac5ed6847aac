"""What a conversation is set up with, and how it is shown: the entity of PROTOCOL §7.1.

Settings are written once, when a conversation starts, and copied into a branch; there is nothing here that a run
changes.
"""

from __future__ import annotations

import msgspec

from causerie.stores.base import ConversationRow
from causerie.types.base import UNSET, Struct, UnsetType, decode, encode
from causerie.types.completion import CompletionArgs, GuardrailConfig
from causerie.types.requests import RestartRequest
from causerie.types.responses import AgentConversation, ModelConversation
from causerie.types.tools import Tool


class ConversationSettings(Struct, kw_only=True, omit_defaults=True):
    """What every run of a conversation begins with. Stored as JSON in the conversation's row."""

    model: str | None = None
    agent_id: str | None = None
    agent_version: str | int | None = None
    instructions: str | None = None
    tools: list[Tool] | None = None
    completion_args: CompletionArgs | None = None
    guardrails: list[GuardrailConfig] | None = None


def settings_of(row: ConversationRow) -> ConversationSettings:
    """Read the settings out of a row."""
    return decode(row.settings, ConversationSettings)


def branched(settings: ConversationSettings, request: RestartRequest) -> ConversationSettings:
    """Return the settings of a branch: guardrails that are given replace the conversation's, null keeps them."""
    guardrails = request.guardrails
    if guardrails is None or isinstance(guardrails, UnsetType):
        return settings
    return msgspec.structs.replace(settings, guardrails=guardrails)


def entity(row: ConversationRow) -> ModelConversation | AgentConversation:
    """Show a conversation as the API does: with a model or with an agent, never with both keys."""
    settings = settings_of(row)
    metadata: dict[str, object] | UnsetType = msgspec.json.decode(row.metadata) if row.metadata else UNSET
    if settings.agent_id is not None:
        return AgentConversation(
            id=row.id, created_at=row.created_at, updated_at=row.updated_at, agent_id=settings.agent_id,
            agent_version=settings.agent_version, name=_shown(row.name), description=_shown(row.description),
            metadata=metadata,
        )  # fmt: skip
    return ModelConversation(
        id=row.id, created_at=row.created_at, updated_at=row.updated_at, model=settings.model or "",
        instructions=_shown(settings.instructions), tools=settings.tools or [],
        completion_args=settings.completion_args or CompletionArgs(), guardrails=settings.guardrails,
        name=_shown(row.name), description=_shown(row.description), metadata=metadata,
    )  # fmt: skip


def encode_metadata(metadata: dict[str, object] | None) -> bytes | None:
    """Encode metadata for its row; none and null are the same."""
    return None if metadata is None else encode(metadata)


def _shown(text: str | None) -> str | UnsetType:
    return UNSET if text is None else text
