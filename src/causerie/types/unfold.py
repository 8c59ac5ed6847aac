"""The fold the other way round: the events that an entry could have come from, each of its pieces whole.

For whoever comes back to a run whose own events are gone: `fold(unfold(entry)) == entry`.
"""

from __future__ import annotations

from datetime import UTC, datetime

from .entries import AgentHandoffEntry, FunctionCallEntry, MessageOutputEntry, OutputEntry
from .events import (
    AgentHandoffDoneEvent,
    AgentHandoffStartedEvent,
    FunctionCallEvent,
    MessageOutputEvent,
    OutputEvent,
    ToolExecutionDeltaEvent,
    ToolExecutionDoneEvent,
    ToolExecutionStartedEvent,
)


def unfold(entry: OutputEntry, output_index: int) -> list[OutputEvent]:
    """Return events that fold to `entry`, as the output number `output_index` of its run."""
    entry_id = str(entry.id)
    at = entry.created_at if isinstance(entry.created_at, datetime) else datetime.now(UTC)
    if isinstance(entry, MessageOutputEntry):
        chunks = [entry.content] if isinstance(entry.content, str) else entry.content
        return [
            MessageOutputEvent(
                created_at=at, output_index=output_index, id=entry_id, content_index=index, model=entry.model,
                agent_id=entry.agent_id, content=chunk,
            )
            for index, chunk in enumerate(chunks)
        ]  # fmt: skip
    if isinstance(entry, FunctionCallEntry):
        return [
            FunctionCallEvent(
                created_at=at, output_index=output_index, id=entry_id, model=entry.model, agent_id=entry.agent_id,
                name=entry.name, tool_call_id=entry.tool_call_id, arguments=str(entry.arguments),
                confirmation_status=entry.confirmation_status,
            )
        ]  # fmt: skip
    if isinstance(entry, AgentHandoffEntry):
        return [
            AgentHandoffStartedEvent(
                created_at=at, output_index=output_index, id=entry_id, previous_agent_id=entry.previous_agent_id,
                previous_agent_name=entry.previous_agent_name,
            ),
            AgentHandoffDoneEvent(
                created_at=at, output_index=output_index, id=entry_id, next_agent_id=entry.next_agent_id,
                next_agent_name=entry.next_agent_name,
            ),
        ]  # fmt: skip
    return [
        ToolExecutionStartedEvent(
            created_at=at, output_index=output_index, id=entry_id, model=entry.model, agent_id=entry.agent_id,
            name=entry.name, arguments="", function=entry.function,
        ),
        ToolExecutionDeltaEvent(
            created_at=at, output_index=output_index, id=entry_id, name=entry.name, arguments=entry.arguments,
            function=entry.function,
        ),
        ToolExecutionDoneEvent(
            created_at=at, output_index=output_index, id=entry_id, name=entry.name,
            function=entry.function, info=entry.info,
        ),
    ]  # fmt: skip
