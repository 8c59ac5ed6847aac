"""What a conversation is set up with, and how it is shown: the entity of PROTOCOL §7.1.

Settings are written once, when a conversation starts, and copied into a branch; there is nothing here that a run
changes.
"""

from __future__ import annotations

import msgspec

from causerie.errors import InvalidRequest
from causerie.stores.base import ConversationRow
from causerie.types.base import UNSET, Struct, UnsetType, decode, encode
from causerie.types.completion import CompletionArgs, GuardrailConfig
from causerie.types.requests import RestartRequest, StartRequest
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


def of_start(request: StartRequest, model: str | None) -> ConversationSettings:
    """Return what a start sets a conversation up with; `model` is None where an agent brings its own."""
    return ConversationSettings(
        model=model, agent_id=request.agent_id, agent_version=request.agent_version,
        instructions=request.instructions, tools=request.tools, completion_args=request.completion_args,
    )  # fmt: skip


def of_branch(parent: ConversationSettings, request: RestartRequest) -> ConversationSettings:
    """Return what a branch is set up with: what its parent is, but perhaps another version of its agent.

    Raises:
        InvalidRequest: it asks for a version, and there is no agent.
    """
    version = request.agent_version
    if isinstance(version, UnsetType) or (version is None and parent.agent_id is None):
        return parent
    if parent.agent_id is None:
        raise InvalidRequest(
            "This conversation runs a model, not an agent: leave agent_version out.", loc=("body", "agent_version")
        )
    return msgspec.structs.replace(parent, agent_version=version)


def encode_metadata(metadata: dict[str, object] | None) -> bytes | None:
    """Encode metadata for its row; none and null are the same."""
    return None if metadata is None else encode(metadata)


def _shown(text: str | None) -> str | UnsetType:
    return UNSET if text is None else text
