"""Entries are a fold of events (D10): the one function that turns a stream into what history will show.

Pure but for the clock it is given: engine and client use the same. The two fields that events do not carry are an
entry's `completed_at` (the clock says) and the response's `guardrails` where the stream leaves them out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from causerie.errors import APIError

from .base import UNSET
from .content import OutputChunk, TextChunk, ThinkChunk
from .entries import AgentHandoffEntry, FunctionCallEntry, MessageOutputEntry, OutputEntry, ToolExecutionEntry
from .events import (
    AgentHandoffDoneEvent,
    AgentHandoffStartedEvent,
    Event,
    FunctionCallEvent,
    MessageOutputEvent,
    OutputEvent,
    ResponseDoneEvent,
    ResponseErrorEvent,
    ResponseStartedEvent,
    RunAdoptedEvent,
    RunCancelledEvent,
    ToolExecutionDeltaEvent,
    ToolExecutionDoneEvent,
    ToolExecutionStartedEvent,
)
from .responses import ConversationResponse


class Fold:
    """Takes the events of one run in order and hands out its entries as they complete."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Take the clock that stamps `completed_at`."""
        self._now = now
        self._open: OutputEvent | None = None
        self._pieces: list[str] = []
        self._chunks: list[OutputChunk] = []
        self._content_index = 0
        self._chunk_ended = False
        self._last: OutputEvent | None = None

    def feed(self, event: OutputEvent) -> OutputEntry | None:
        """Take one event; return the entry that it completes by beginning another, if any."""
        opened = self._open
        if opened is not None and opened.id == event.id:
            self._add(event)
            return None
        completed = self.close()
        self._open = self._last = event
        self._content_index = 0
        self._add(event)
        return completed

    def close(self) -> OutputEntry | None:
        """The turn ended: return the entry that was still open, if any."""
        opened, last = self._open, self._last
        if opened is None or last is None:
            return None
        entry = self._complete(opened, last)
        self._open = self._last = None
        self._pieces, self._chunks = [], []
        return entry

    def discard(self, ids: Iterable[str]) -> None:
        """Forget the entry that is open if it is one of `ids`: its replacement has another id (D4)."""
        if self._open is not None and self._open.id in ids:
            self._open = self._last = None
            self._pieces, self._chunks = [], []

    def _add(self, event: OutputEvent) -> None:
        if isinstance(event, MessageOutputEvent):
            content = event.content
            if event.content_index != self._content_index:
                self._end_text()
                self._content_index, self._chunk_ended = event.content_index, True
            if isinstance(content, str):
                self._pieces.append(content)
            elif isinstance(content, TextChunk):
                self._pieces.append(content.text)
            else:
                self._add_chunk(content)
        elif isinstance(event, (FunctionCallEvent, ToolExecutionStartedEvent, ToolExecutionDeltaEvent)):
            self._pieces.append(event.arguments)
        self._last = event

    def _add_chunk(self, chunk: OutputChunk) -> None:
        goes_on = self._chunks and not self._pieces and not self._chunk_ended
        before = self._chunks[-1] if goes_on else None
        self._chunk_ended = False
        if isinstance(chunk, ThinkChunk) and isinstance(before, ThinkChunk):
            self._chunks[-1] = _joined(before, chunk)
        else:
            self._end_text()
            self._chunks.append(chunk)

    def _end_text(self) -> None:
        if self._pieces:
            self._chunks.append(TextChunk(text="".join(self._pieces)))
            self._pieces = []

    def _complete(self, opened: OutputEvent, last: OutputEvent) -> OutputEntry:
        now = self._now()
        text = "".join(self._pieces)
        if isinstance(opened, MessageOutputEvent):
            if self._chunks:
                self._end_text()
            return MessageOutputEntry(
                id=opened.id, created_at=opened.created_at, completed_at=now, model=opened.model,
                agent_id=opened.agent_id, content=self._chunks or text,
            )  # fmt: skip
        if isinstance(opened, FunctionCallEvent):
            return FunctionCallEntry(
                id=opened.id, created_at=opened.created_at, completed_at=None, tool_call_id=opened.tool_call_id,
                name=opened.name, arguments=text, confirmation_status=opened.confirmation_status,
                agent_id=opened.agent_id, model=opened.model,
            )  # fmt: skip
        if isinstance(opened, ToolExecutionStartedEvent):
            done = last if isinstance(last, ToolExecutionDoneEvent) else None
            return ToolExecutionEntry(
                id=opened.id, created_at=opened.created_at, completed_at=now, name=opened.name, arguments=text,
                function=opened.function, info=done.info if done else UNSET, agent_id=opened.agent_id,
                model=opened.model,
            )  # fmt: skip
        if isinstance(opened, AgentHandoffStartedEvent) and isinstance(last, AgentHandoffDoneEvent):
            return AgentHandoffEntry(
                id=opened.id, created_at=opened.created_at, completed_at=now,
                previous_agent_id=opened.previous_agent_id, previous_agent_name=opened.previous_agent_name,
                next_agent_id=last.next_agent_id, next_agent_name=last.next_agent_name,
            )  # fmt: skip
        raise ValueError(f"the events of entry {opened.id} begin with {type(opened).__name__} and end too early")


def collect(events: Iterable[Event], now: Callable[[], datetime]) -> ConversationResponse:
    """Turn all events of a run into the answer that its JSON form gives (D9).

    Raises:
        APIError: the run failed, or the events end before the run does.
    """
    fold, outputs, conversation_id = Fold(now), list[OutputEntry](), ""
    for event in events:
        if isinstance(event, ResponseStartedEvent):
            conversation_id = event.conversation_id
        elif isinstance(event, ResponseDoneEvent):
            outputs += filter(None, [fold.close()])
            guardrails = None if event.guardrails is UNSET else event.guardrails
            return ConversationResponse(
                conversation_id=conversation_id, outputs=outputs, usage=event.usage, guardrails=guardrails or None
            )
        elif isinstance(event, ResponseErrorEvent):
            raise APIError(event.message, code=event.code)
        elif isinstance(event, (RunAdoptedEvent, RunCancelledEvent)):
            fold.discard(event.discard)
            outputs = [entry for entry in outputs if entry.id not in event.discard]
        else:
            outputs += filter(None, [fold.feed(event)])
    raise APIError("The stream ended before the run did.")


def _joined(before: ThinkChunk, after: ThinkChunk) -> ThinkChunk:
    thinking = list(before.thinking)
    for part in after.thinking:
        last = thinking[-1] if thinking else None
        if isinstance(part, TextChunk) and isinstance(last, TextChunk):
            thinking[-1] = TextChunk(text=last.text + part.text)
        else:
            thinking.append(part)
    signature = before.signature if after.signature is UNSET else after.signature
    return ThinkChunk(thinking=thinking, closed=after.closed, signature=signature)
