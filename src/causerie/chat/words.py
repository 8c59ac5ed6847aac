"""How things of a conversation are put into words, for a person. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from causerie.types.base import encode, given
from causerie.types.content import (
    DocumentURLChunk,
    ImageURLChunk,
    TextChunk,
    ThinkChunk,
    ToolFileChunk,
    ToolReferenceChunk,
)
from causerie.types.entries import (
    AgentHandoffEntry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)
from causerie.types.operations import ConversationEntity
from causerie.types.responses import AgentConversation, ConversationUsageInfo

NAME = 60
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Row(NamedTuple):
    """One of several things that are shown below each other."""

    number: str
    who: str
    text: str


def clean(text: str) -> str:
    """Return `text` without what would command a terminal: a model must not."""
    return _CONTROLS.sub("", text)


def excerpt(text: str, width: int) -> str:
    """Return `text` as one line of at most `width` characters."""
    line = " ".join(text[: 4 * width].split())
    return line if len(line) <= width and len(text) <= 4 * width else line[: width - 1].rstrip() + "…"


def said(content: str | Iterable[Any]) -> str:
    """Return what a message says, with a word for each thing in it that is not text."""
    return content if isinstance(content, str) else "\n".join(filter(None, map(of_chunk, content)))


def of_chunk(chunk: Any) -> str:
    """Return a chunk in words; thinking is not what was said."""
    if isinstance(chunk, TextChunk):
        return chunk.text
    if isinstance(chunk, ThinkChunk):
        return ""
    if isinstance(chunk, ToolReferenceChunk):
        return f"[{chunk.title}]({chunk.url})" if chunk.url else f"[{chunk.title}]"
    if isinstance(chunk, ImageURLChunk):
        return "[image]" if chunk.url.startswith("data:") else f"[image {chunk.url}]"
    if isinstance(chunk, DocumentURLChunk):
        return f"[document {chunk.document_name or chunk.document_url}]"
    if isinstance(chunk, ToolFileChunk):
        return f"[file {chunk.file_name or chunk.file_id}]"
    return f"[{getattr(chunk, 'type', 'something')}]"


def thought(chunk: ThinkChunk) -> str:
    """Return what was thought."""
    return "".join(part.text for part in chunk.thinking if isinstance(part, TextChunk))


def called(name: str, arguments: str | dict[str, Any]) -> str:
    """Return a call as a line of code."""
    return f"{name}({arguments if isinstance(arguments, str) else encode(arguments).decode()})"


def done(entry: Any) -> str | None:
    """Return in a line what an entry did; None for one that only says something."""
    if isinstance(entry, FunctionCallEntry):
        return called(entry.name, entry.arguments)
    if isinstance(entry, ToolExecutionEntry):
        return called(entry.function or entry.name, entry.arguments)
    if isinstance(entry, AgentHandoffEntry):
        return f"{entry.previous_agent_name} hands over to {entry.next_agent_name}"
    return None


def row(number: int, entry: Any) -> Row:
    """Return an entry as a row of a history."""
    if isinstance(entry, MessageInputEntry):
        return Row(str(number), "you" if entry.role == "user" else entry.role, said(entry.content))
    if isinstance(entry, MessageOutputEntry):
        return Row(str(number), entry.agent_id or entry.model or entry.role, said(entry.content))
    if isinstance(entry, FunctionResultEntry):
        return Row(str(number), "result", entry.result)
    return Row(str(number), getattr(entry, "type", "entry").partition(".")[0], done(entry) or "")


def listed(number: int, entity: ConversationEntity) -> Row:
    """Return a conversation as a row of a list."""
    when = f"{entity.updated_at.astimezone():%Y-%m-%d %H:%M}"
    return Row(str(number), entity.id, f"{when}  {partner(entity)}  {given(entity.name, '')}".rstrip())


def partner(entity: ConversationEntity) -> str:
    """Return the agent or the model that a conversation is held with."""
    return entity.agent_id if isinstance(entity, AgentConversation) else entity.model


def used(usage: ConversationUsageInfo) -> str:
    """Return what a run used."""
    calls = sorted(given(usage.connectors, {}).items())
    more = "".join(f", {name} {_counted(count, 'time')}" for name, count in calls)
    return f"{_counted(usage.prompt_tokens, 'token')} in, {usage.completion_tokens} out{more}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
