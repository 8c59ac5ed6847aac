"""What a naive observer remembers: who asked for what, what they were told, and what each conversation must show.

It keeps lists and copies them. Whatever was told to anybody, or was once seen in a history, has to stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from causerie.engine.runlog import Numbered
from causerie.errors import CauserieError, UpstreamError
from causerie.types.base import encode
from causerie.types.events import ResponseDoneEvent, ResponseErrorEvent, ResponseStartedEvent
from causerie.types.fold import collect

from .world import stopped_clock, without_end

Listed = dict[str, Any]


@dataclass
class Ask:
    """A start, append or restart: the token in its inputs names it, however often it is sent.

    Attributes:
        target: the conversation that it goes to; None for a start.
        base: what a new conversation begins with.
        inputs: what it says.
        runs: the runs that it came to, as far as anybody was told, with the conversation of each.
        outputs: what history shows of its answer, once it does; None before.
        where: the conversation that shows it.
        bodies: the answers that were told, byte for byte, by run.
    """

    token: str
    operation: str
    target: str | None
    base: list[Listed]
    inputs: list[Listed]
    body: dict[str, Any]
    key: str | None = None
    stored: bool = True
    runs: dict[str, str] = field(default_factory=dict)
    outputs: list[Listed] | None = None
    where: str = ""
    bodies: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Sent:
    """One sending of an ask, or one reading of its run: what whoever did it was told."""

    ask: Ask
    stream: bool
    cancels: bool = False
    run_id: str = ""
    conversation_id: str = ""
    events: list[Numbered] = field(default_factory=list)
    body: bytes | None = None
    error: CauserieError | None = None
    answerable: Any = None
    reading: Any = None
    task: Any = None
    connected: bool = True
    judged: bool = False

    @property
    def started(self) -> ResponseStartedEvent | None:
        """The event that told the ids, once there is one."""
        first = self.events[0].event if self.events else None
        return first if isinstance(first, ResponseStartedEvent) else None

    @property
    def done(self) -> bool:
        """Whether it was told that the run is done, and all that came of it."""
        return self.body is not None or bool(self.events and isinstance(self.events[-1].event, ResponseDoneEvent))

    @property
    def failed(self) -> bool:
        """Whether it was told that its run failed."""
        told = bool(self.events and isinstance(self.events[-1].event, ResponseErrorEvent))
        return told or (isinstance(self.error, UpstreamError) and bool(self.run_id))

    def told(self) -> list[Listed]:
        """Return the entries that it was told of, after all discards."""
        if self.body is not None:
            return [without_end(entry) for entry in json.loads(self.body)["outputs"]]
        collected = collect([event for _, event in self.events], stopped_clock)
        return [without_end(json.loads(encode(entry))) for entry in collected.outputs]


@dataclass
class Remembered:
    """A conversation: what it was seen to have, and who may add to it."""

    id: str
    known: list[Listed]
    pending: list[Ask] = field(default_factory=list)

    def look(self, history: list[Listed]) -> list[Ask]:
        """See that nothing is lost, and that what is new was asked for and is there once; return who asked for it."""
        assert history[: len(self.known)] == self.known, "what was there is not there any more"
        rest, found = history[len(self.known) :], list[Ask]()
        while rest:
            ask = next((one for one in self.pending if begins(rest, one.inputs)), None)
            assert ask is not None, f"nobody asked for {rest}"
            assert ask.outputs is None, f"{ask.token} was carried out twice"
            outputs = _outputs(rest[len(ask.inputs) :])
            ask.outputs, ask.where = outputs, self.id
            self.pending.remove(ask)
            found.append(ask)
            rest = rest[len(ask.inputs) + len(outputs) :]
        self.known = history
        assert valid(history) == []
        return found


def begins(entries: Sequence[Listed], inputs: Sequence[Listed]) -> bool:
    """Whether `entries` begin with `inputs`, apart from what a server fills in."""
    return len(entries) >= len(inputs) and all(
        entry.get(name) == value for entry, given in zip(entries, inputs, strict=False) for name, value in given.items()
    )


def valid(history: Sequence[Listed]) -> list[str]:
    """Say what is wrong with a history: a result without its call or a second one, a call left behind.

    What comes of a call that was allowed is its execution; nothing comes of one that was denied.
    """
    found, waiting, ids = list[str](), set[str](), [entry["id"] for entry in history]
    allowed = list[str]()
    for entry in history:
        status = entry.get("confirmation_status")
        if status == "allowed":
            allowed.append(entry["arguments"])
        elif entry["type"] == "tool.execution" and entry["name"] == "mail":
            if entry["arguments"] not in allowed:
                found.append(f"nobody allowed this: {entry}")
            else:
                allowed.remove(entry["arguments"])
        if entry["type"] == "function.result":
            if entry["tool_call_id"] not in waiting:
                found.append(f"a result that nobody waits for: {entry}")
            waiting.discard(entry["tool_call_id"])
        elif entry["type"] == "function.call" and status not in ("allowed", "denied"):
            waiting.add(entry["tool_call_id"])
        elif entry["type"] == "message.input" and waiting:
            found.append(f"calls left without results: {sorted(waiting)}")
    found += [f"it was allowed, and nothing came of it: {one}" for one in allowed]
    return found + [f"an id that is there twice: {one}" for one in set(ids) if ids.count(one) > 1]


def _outputs(entries: Sequence[Listed]) -> list[Listed]:
    until = next((place for place, entry in enumerate(entries) if entry["type"] in _INPUTS), len(entries))
    return list(entries[:until])


_INPUTS = ("message.input", "function.result")
