"""What a client has seen of a run: its events, what they fold to, and whether anything is missing or there twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec

from causerie.types.base import encode
from causerie.types.entries import OutputEntry
from causerie.types.events import (
    OUTPUT_EVENTS,
    Event,
    ResponseDoneEvent,
    ResponseErrorEvent,
    ResponseStartedEvent,
    RunAdoptedEvent,
    RunCancelledEvent,
    ToolExecutionDoneEvent,
    ToolExecutionStartedEvent,
)
from causerie.types.fold import collect


@dataclass
class Story:
    """What a client has seen of one run."""

    conversation_id: str = ""
    run_id: str = ""
    place: str = ""
    events: list[Event] = field(default_factory=list)
    places: list[str] = field(default_factory=list)

    def add(self, place: str, event: Event) -> None:
        """Take in the next event and the id that it came with."""
        self.events.append(event)
        self.places.append(place)
        self.place = place
        if isinstance(event, ResponseStartedEvent):
            self.conversation_id, self.run_id = event.conversation_id, str(event.run_id)

    @property
    def end(self) -> ResponseDoneEvent | ResponseErrorEvent | None:
        """The last event, once it is there."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, ResponseDoneEvent | ResponseErrorEvent) else None

    def cut(self, length: int) -> Story:
        """Return what was seen when `length` events had come."""
        return Story(
            self.conversation_id, self.run_id, self.places[length - 1], self.events[:length], self.places[:length]
        )

    def outputs(self) -> Sequence[OutputEntry]:
        """Fold everything, what was taken back left out."""
        return collect(self.events, lambda: datetime.now(UTC)).outputs

    def __str__(self) -> str:
        """Show the ids that events came with, and what they were about."""
        about = [getattr(event, "id", getattr(event, "discard", "")) for event in self.events]
        kinds = [type(event).__name__.removesuffix("Event") for event in self.events]
        return " ".join(f"[{place} {kind} {one}]" for place, kind, one in zip(self.places, kinds, about, strict=True))

    def disorder(self) -> str:
        """Say what is missing or repeated among the events that count; empty if nothing is."""
        kept = list[Any]()
        for event in self.events:
            if isinstance(event, RunAdoptedEvent | RunCancelledEvent):
                kept = [one for one in kept if one.id not in event.discard]
            elif isinstance(event, OUTPUT_EVENTS):
                kept.append(event)
        pairs = list(dict.fromkeys((one.output_index, one.id) for one in kept))
        if pairs != sorted(pairs, key=lambda pair: pair[0]) or len(dict(pairs)) != len(pairs):
            return f"output_index goes back or stands for two entries: {pairs}"
        if [one for one, after in pairwise(kept) if one.output_index > after.output_index]:
            return f"events of entries are mixed: {pairs}"
        for kind in (ToolExecutionStartedEvent, ToolExecutionDoneEvent):
            ids = [one.id for one in kept if isinstance(one, kind)]
            if len(ids) != len(set(ids)):
                return f"{kind.__name__} twice: {ids}"
        for kind in (ResponseStartedEvent, ResponseDoneEvent, ResponseErrorEvent):
            if sum(isinstance(event, kind) for event in self.events) > 1:
                return f"{kind.__name__} twice"
        return ""


@dataclass(frozen=True)
class Answered:
    """What an operation came to: the outputs as JSON, either to the byte or as they were folded."""

    conversation_id: str
    run_id: str
    exact: list[bytes] | None
    folded: list[dict[str, Any]] | None
    story: Story | None = None

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The outputs, parsed."""
        return [json.loads(raw) for raw in self.exact] if self.exact is not None else self.folded or []


class _Whole(msgspec.Struct):
    conversation_id: str
    outputs: list[msgspec.Raw]


class _History(msgspec.Struct):
    entries: list[msgspec.Raw]


def whole(body: bytes) -> Answered:
    """Read a JSON answer, its entries to the byte."""
    answer = msgspec.json.decode(body, type=_Whole)
    return Answered(answer.conversation_id, "", [bytes(raw) for raw in answer.outputs], None)


def folded(story: Story) -> Answered:
    """Read a stream that came to a good end; what was taken back does not count."""
    outputs = [json.loads(encode(entry)) for entry in story.outputs()]
    return Answered(story.conversation_id, story.run_id, None, outputs, story)


def entries_of(history: bytes) -> list[bytes]:
    """Return the entries of a history, to the byte."""
    return [bytes(raw) for raw in msgspec.json.decode(history, type=_History).entries]


def comparable(entry: dict[str, Any]) -> dict[str, Any]:
    """What events and entries have in common: all but the moment of completion, which the fold takes from its clock."""
    return {name: value for name, value in entry.items() if name != "completed_at"}
