"""A client that reads a run's events in as many pieces as it takes, and knows what of them counts.

`Reading` is deliberately naive: it drops what it is told to discard, groups the rest by entry, and joins the pieces.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

from .raw import Frame

STARTED = "conversation.response.started"
DONE = "conversation.response.done"
FAILED = "conversation.response.error"
ADOPTED = "conversation.run.adopted"
CANCELLED = "conversation.run.cancelled"


class Reading:
    """The events that came so far, and where to go on.

    Attributes:
        frames: all that came, comments left out.
        events: what of it counts.
    """

    def __init__(self, frames: Iterable[Frame] = ()) -> None:
        """Begin with `frames`."""
        self.frames: list[Frame] = []
        self.events: list[dict[str, Any]] = []
        self.take(frames)

    def take(self, frames: Iterable[Frame]) -> Reading:
        """Take what came after the rest. An entry that is discarded may come again, under the same id."""
        for frame in frames:
            if frame.data is not None:
                assert frame.id, f"an event without an id: {frame.text!r}"
                gone = frame.json.get("discard", [])
                self.frames.append(frame)
                self.events = [event for event in self.events if event.get("id") not in gone] + [frame.json]
        return self

    @property
    def place(self) -> str:
        """The id of the last event; empty before the first, as ``Last-Event-ID`` has it."""
        return str(self.frames[-1].id) if self.frames else ""

    @property
    def types(self) -> list[str]:
        """The types of what counts, neighbours of one type told once."""
        return [kind for kind, _ in groupby(str(event["type"]) for event in self.events)]

    @property
    def said(self) -> list[dict[str, Any]]:
        """The entries that the events add up to, as far as events tell; see `said`."""
        outputs = [event for event in self.events if "output_index" in event]
        groups = [list(group) for _, group in groupby(outputs, key=lambda event: event["id"])]
        return [_joined(group) for group in groups]

    def check(self, outputs: list[dict[str, Any]], *, last: str = DONE) -> None:
        """See that this is one whole run: everything once, in order, and adding up to the entries `outputs`."""
        types = [event["type"] for event in self.events]
        assert types[0] == STARTED
        assert types[-1] == last
        assert [kind for kind in types if kind in (STARTED, DONE, FAILED)] == [STARTED, last]
        assert self.said == [said(entry) for entry in outputs]
        indexes = [entry["output_index"] for entry in self.events if "output_index" in entry]
        assert indexes == sorted(indexes)
        assert len(set(indexes)) == len(outputs)


def said(entry: dict[str, Any]) -> dict[str, Any]:
    """Return of an entry what its events tell of it, whatever pieces they came in."""
    content = entry.get("content", "")
    chunks = [content] if isinstance(content, str) else content
    return {
        "id": entry["id"],
        "type": entry["type"],
        "text": "".join(chunk if isinstance(chunk, str) else chunk.get("text", "") for chunk in chunks),
        "thoughts": "".join(
            part["text"] for chunk in chunks if isinstance(chunk, dict) for part in chunk.get("thinking", [])
        ),
        "name": entry.get("name"),
        "tool_call_id": entry.get("tool_call_id"),
        "arguments": entry.get("arguments"),
        "info": entry.get("info"),
        "agents": [entry.get(name) for name in ("agent_id", "previous_agent_id", "next_agent_id")],
    }


def _joined(events: list[dict[str, Any]]) -> dict[str, Any]:
    first = events[0]
    pieces = [event["content"] for event in events if "content" in event]
    arguments = [event["arguments"] for event in events if "arguments" in event]
    return said(
        {
            **{name: value for event in reversed(events) for name, value in event.items() if name.endswith("agent_id")},
            **first,
            "type": first["type"].rpartition(".")[0],
            "content": [{"text": piece} if isinstance(piece, str) else piece for piece in pieces],
            "arguments": "".join(arguments) if arguments else None,
            "info": next((event["info"] for event in events if "info" in event), None),
        }
    )
