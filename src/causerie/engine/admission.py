"""What a request alone shows to be wrong, and inputs made complete. Pure but for the clock and the ids it is given.

Refusals name the field. What a later version will do is refused here too: nothing is accepted and ignored (D11).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from causerie.errors import InvalidRequest
from causerie.ids import Clock, Ids
from causerie.moderation.base import NOTHING, Offered
from causerie.types.agents import CreateAgentRequest, UpdateAgentRequest
from causerie.types.base import UnsetType, encode, to_utc
from causerie.types.content import DocumentURLChunk, ImageURLChunk, ThinkChunk, ToolFileChunk
from causerie.types.entries import (
    AgentHandoffEntry,
    ConversationInputs,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)
from causerie.types.requests import AppendRequest, RestartRequest, StartRequest
from causerie.types.tools import FunctionTool, Tool

from .guardrails import check_config
from .structured import check_form

T = TypeVar("T")
MAX_TOOLS = 128
MAX_METADATA_KEYS = 64
MAX_METADATA_BYTES = 16 * 1024
MAX_ID = 256
MAX_IMAGE_BYTES = 20 * 1024 * 1024
NOTHING_GIVEN = "Value error, Either inputs or tool_confirmations must be provided."

_PREFIX: dict[type, str] = {
    MessageInputEntry: "msg",
    MessageOutputEntry: "msg",
    FunctionCallEntry: "fc",
    FunctionResultEntry: "fr",
    ToolExecutionEntry: "tool_exec",
    AgentHandoffEntry: "handoff",
}


def check_start(
    request: StartRequest, default_model: str | None, served: Collection[str], scored: Offered = NOTHING
) -> str | None:
    """See that a start makes sense by itself; return its model, None for an agent's.

    Args:
        default_model: what runs where the request names nothing.
        served: the wire types of the tools that this server can run.
        scored: what guardrails can check here.

    Raises:
        InvalidRequest: something is missing, contradictory or not offered; the message says what to do.
    """
    if request.model is not None and request.agent_id is not None:
        raise _wrong("Give either model or agent_id, not both: an agent brings its model.", "agent_id")
    model = None if request.agent_id is not None else request.model or default_model
    if request.agent_id is not None:
        _check_agents_own(request)
    elif request.agent_version is not None:
        raise _wrong("agent_version goes with agent_id, which is not given.", "agent_version")
    elif not model:
        raise _wrong(
            "Give a model or an agent_id: there is no default model (the setting `model`, a server's --model).",
            "model",
        )  # fmt: skip
    check_config(request.guardrails, scored)
    check_form(request.completion_args)
    _check_tools(request.tools or [], served)
    check_metadata(request.metadata)
    if not request.inputs:
        raise _wrong("inputs must not be empty: give a text or at least one entry.", "inputs")
    _check_inputs(request.inputs)
    return model


def check_append(request: AppendRequest) -> None:
    """See that an append makes sense by itself.

    Raises:
        InvalidRequest: there is nothing to run on (PROTOCOL §2.3: the SDK's run loop ends by this refusal).
    """
    if not request.inputs and not request.tool_confirmations:
        raise InvalidRequest(NOTHING_GIVEN, loc=("body",))
    check_form(request.completion_args)
    _check_inputs(request.inputs or [])


def check_restart(request: RestartRequest, scored: Offered = NOTHING) -> None:
    """See that a restart makes sense by itself.

    Args:
        scored: what guardrails can check here.

    Raises:
        InvalidRequest: it asks for what this server does not offer, or its metadata is too large.
    """
    check_config(_value(request.guardrails), scored)
    check_form(request.completion_args)
    check_metadata(_value(request.metadata))
    _check_inputs(request.inputs or [])


def check_agent(
    request: CreateAgentRequest | UpdateAgentRequest, served: Collection[str], scored: Offered = NOTHING
) -> None:
    """See that what a request says of an agent makes sense by itself.

    Args:
        served: the wire types of the tools that this server can run.
        scored: what guardrails can check here.

    Raises:
        InvalidRequest: something is contradictory, too much or not offered; the message says what to do.
    """
    check_config(_value(request.guardrails), scored)
    check_form(_value(request.completion_args))
    _check_tools(_value(request.tools) or [], served)
    check_metadata(_value(request.metadata))
    handoffs = _value(request.handoffs) or []
    if len(handoffs) > MAX_TOOLS:
        raise _wrong(f"{len(handoffs)} handoffs were given; at most {MAX_TOOLS} are taken.", "handoffs")
    for index, agent_id in enumerate(handoffs):
        if agent_id in handoffs[:index]:
            raise _wrong(f"The agent '{agent_id}' is among the handoffs twice.", "handoffs", index)


def check_metadata(metadata: dict[str, Any] | None) -> None:
    """See that metadata can be stored and found by (O20).

    Raises:
        InvalidRequest: it has too many keys, or is too large.
    """
    if metadata is None:
        return
    if len(metadata) > MAX_METADATA_KEYS:
        raise _wrong(f"metadata has {len(metadata)} keys; at most {MAX_METADATA_KEYS} are taken.", "metadata")
    size = len(encode(metadata))
    if size > MAX_METADATA_BYTES:
        raise _wrong(f"metadata takes {size} bytes; at most {MAX_METADATA_BYTES} are taken.", "metadata")


def complete(inputs: ConversationInputs | None, ids: Ids, clock: Clock) -> list[Entry]:
    """Return the inputs as entries with everything that the server fills in: ids and times.

    Raises:
        InvalidRequest: two entries have the same id.
    """
    if not inputs:
        return []
    now = clock.now()
    entries: list[Entry] = [MessageInputEntry(role="user", content=inputs)] if isinstance(inputs, str) else list(inputs)
    seen = set[str]()
    found = list[Entry]()
    for index, entry in enumerate(entries):
        given = entry.id
        if isinstance(given, str):
            if given in seen:
                raise repeated_id(index, given)
            seen.add(given)
        created = now if isinstance(entry.created_at, UnsetType) else _utc(entry.created_at, index, "created_at")
        ended = entry.completed_at
        if isinstance(ended, UnsetType):
            ended = None if isinstance(entry, FunctionCallEntry) else created
        found.append(
            msgspec.structs.replace(
                entry, id=given or ids.new(_PREFIX[type(entry)]), created_at=created,
                completed_at=ended and _utc(ended, index, "completed_at"),
            )
        )  # fmt: skip
    return found


def echoes(inputs: ConversationInputs | None, handoff: AgentHandoffEntry | None) -> bool:
    """Whether the first input is the handoff that the conversation stopped at: it says "go on", no more (O1)."""
    if handoff is None or not inputs or isinstance(inputs, str):
        return False
    first = inputs[0]
    if not isinstance(first, AgentHandoffEntry) or (isinstance(first.id, str) and first.id != handoff.id):
        return False
    return (first.previous_agent_id, first.next_agent_id) == (handoff.previous_agent_id, handoff.next_agent_id)


def given_ids(inputs: ConversationInputs | None) -> list[tuple[int, str]]:
    """The ids that the caller chose, with their places."""
    if not inputs or isinstance(inputs, str):
        return []
    return [(index, entry.id) for index, entry in enumerate(inputs) if isinstance(entry.id, str)]


def repeated_id(index: int, entry_id: str) -> InvalidRequest:
    """Return the refusal of an id that the conversation has already."""
    return InvalidRequest(
        f"The conversation already has an entry with the id '{entry_id}'. Leave the id out to get a new one.",
        loc=("body", "inputs", index, "id"), given=entry_id,
    )  # fmt: skip


def _check_agents_own(request: StartRequest) -> None:
    for field in ("instructions", "tools"):
        if getattr(request, field) is not None:
            raise _wrong(f"An agent brings its own {field}: change the agent, or leave the field out.", field)


def _check_tools(tools: Sequence[Tool], served: Collection[str]) -> None:
    if len(tools) > MAX_TOOLS:
        raise _wrong(f"{len(tools)} tools were given; at most {MAX_TOOLS} are taken.", "tools")
    names = set[str]()
    for index, tool in enumerate(tools):
        if isinstance(tool, FunctionTool):
            if not tool.function.name:
                raise _wrong("A function needs a name.", "tools", index, "function", "name")
            if tool.function.name in names:
                raise _wrong(
                    f"Two functions are called '{tool.function.name}'; names must differ.",
                    "tools", index, "function", "name",
                )  # fmt: skip
            names.add(tool.function.name)
        else:
            _check_served(tool, index, served)


def _check_served(tool: Tool, index: int, served: Collection[str]) -> None:
    kind = str(tool.__struct_config__.tag)
    if kind not in served or isinstance(tool, FunctionTool):
        raise _wrong(f"The tool '{kind}' is not offered by this server yet.", "tools", index, "type")
    configuration = tool.tool_configuration
    if configuration is None or isinstance(configuration, UnsetType):
        return
    if configuration.include and configuration.exclude:
        raise _wrong("Give either include or exclude, not both.", "tools", index, "tool_configuration", "exclude")


def _check_inputs(inputs: ConversationInputs) -> None:
    for index, entry in enumerate([] if isinstance(inputs, str) else inputs):
        if isinstance(entry.id, str) and not 0 < len(entry.id) <= MAX_ID:
            raise _wrong(f"An id has 1 to {MAX_ID} characters.", "inputs", index, "id")
        if isinstance(entry, (FunctionCallEntry, FunctionResultEntry)) and not 0 < len(entry.tool_call_id) <= MAX_ID:
            raise _wrong(f"A tool_call_id has 1 to {MAX_ID} characters.", "inputs", index, "tool_call_id")
        if isinstance(entry, MessageInputEntry):
            _check_content(entry, index)
            if entry.prefix and entry.role != "assistant":
                raise _wrong(
                    "prefix is for an assistant's message: the answer begins with it.", "inputs", index, "prefix"
                )


def _utc(moment: datetime, index: int, field: str) -> datetime:
    try:
        return to_utc(moment)
    except OverflowError:
        raise _wrong("This time cannot be written in UTC.", "inputs", index, field) from None


def _check_content(entry: MessageInputEntry, index: int) -> None:
    # What the model would never see must not be taken: images are a user's, thoughts an assistant's (D11).
    foreign = ThinkChunk if entry.role == "user" else ImageURLChunk
    for place, chunk in enumerate([] if isinstance(entry.content, str) else entry.content):
        if isinstance(chunk, foreign):
            kind = str(chunk.__struct_config__.tag)
            raise _wrong(f"A message of role '{entry.role}' has no '{kind}' chunks.", "inputs", index, "content", place)
        if isinstance(chunk, (DocumentURLChunk, ToolFileChunk)):
            kind = str(chunk.__struct_config__.tag)
            raise _wrong(
                f"This server does not read '{kind}' chunks yet: send the text itself.",
                "inputs", index, "content", place, "type",
            )  # fmt: skip
        if isinstance(chunk, ImageURLChunk) and len(chunk.url) * 3 // 4 > MAX_IMAGE_BYTES:
            raise _wrong(
                f"An image takes at most {MAX_IMAGE_BYTES // 1024 // 1024} MiB.", "inputs", index, "content", place
            )


def _value(member: T | None | UnsetType) -> T | None:
    return None if isinstance(member, UnsetType) else member


def _wrong(message: str, *loc: str | int) -> InvalidRequest:
    return InvalidRequest(message, loc=("body", *loc))
