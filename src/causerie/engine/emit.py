"""Upstream deltas become events: ids, indexes and stamps are given here. Pure but for the clock and the ids.

One emitter serves one run. `output_index` never goes back (PROTOCOL §8.3), so what cannot leave in order waits:
parallel calls that an upstream interleaves, and everything after a call of a tool that the server runs itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from causerie.ids import Clock, Ids
from causerie.types.agents import Agent
from causerie.types.base import UNSET, UnsetType
from causerie.types.content import TextChunk, ThinkChunk
from causerie.types.entries import ConfirmationStatus, OutputEntry
from causerie.types.events import (
    AgentHandoffDoneEvent,
    AgentHandoffStartedEvent,
    FunctionCallEvent,
    MessageOutputEvent,
    OutputEvent,
    ToolExecutionDeltaEvent,
    ToolExecutionDoneEvent,
    ToolExecutionStartedEvent,
)
from causerie.types.unfold import unfold
from causerie.upstreams.base import CallDelta, Delta, FinishDelta, ReasoningDelta, ReasoningField, TextDelta, UsageDelta

from .history import outward_id
from .prompt import Call


class Pending:
    """A call as far as it has come in."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self.upstream_id = ""
        self.tool_call_id = ""
        self.entry_id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.sent = 0  # pieces of the arguments that have left
        self.output_index = -1
        self.closed = False  # another call has taken over: JSON that is whole can only be followed by white space
        self.waited_as = ""  # the entry of an earlier run in which it waited for a word; it is made now

    @property
    def call(self) -> Call:
        """The call as the upstream knows it."""
        return Call(self.upstream_id, self.name, self.text)

    @property
    def text(self) -> str:
        """The arguments, which are JSON even when the model gave none."""
        return "".join(self.arguments) or "{}"

    @property
    def whole(self) -> bool:
        """Whether the arguments are complete JSON, so that nothing more can belong to them."""
        try:
            json.loads("".join(self.arguments))
        except (ValueError, RecursionError):
            return False
        return True


class Emitter:
    """Gives a run's outputs their ids and indexes, and keeps what the turn's chat message is made of."""

    def __init__(
        self, ids: Ids, clock: Clock, *, model: str, agent_id: str | UnsetType = UNSET,
        taken: Collection[str] = (), first_index: int = 0,
    ) -> None:  # fmt: skip
        """Begin at output `first_index`. `taken` are the tool call ids that must not be given again."""
        self._ids, self._clock = ids, clock
        self._model, self._agent_id = model, agent_id
        self._taken = set(taken)
        self._next_index = first_index
        self.begin_turn(())

    def speak_as(self, model: str, agent_id: str | UnsetType) -> None:
        """From the next turn on outputs are that model's and that agent's."""
        self._model, self._agent_id = model, agent_id

    def begin_turn(self, held: Collection[str], asking: Collection[str] = ()) -> None:
        """Forget the last turn.

        Args:
            held: the names whose calls are not the caller's: they wait for the end of the turn.
            asking: the names whose calls the caller has to allow.
        """
        self._held_names, self._asking = held, asking
        self._message_id = ""
        self._message_index = self._content_index = 0
        self._thinking = False
        self._live: Pending | None = None
        self._late: list[TextDelta | ReasoningDelta] = []
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.reasoning_field: ReasoningField = "reasoning_content"
        self.signature: str | None = None
        self.calls: dict[int, Pending] = {}
        self.usage: UsageDelta | None = None
        self.finish_reason: str | None = None

    def feed(self, deltas: Sequence[Delta]) -> list[OutputEvent]:
        """Take what one read brought; return the events that can leave."""
        events: list[OutputEvent] = []
        now = self._clock.now()
        for delta in deltas:
            if isinstance(delta, (TextDelta, ReasoningDelta)):
                events += self._say(delta, now)
            elif isinstance(delta, CallDelta):
                events += self._call(delta, now)
            elif isinstance(delta, UsageDelta):
                self.usage = delta
            elif isinstance(delta, FinishDelta):
                self.finish_reason = delta.reason
        return events

    def end_turn(self) -> list[OutputEvent]:
        """No more deltas: name the calls. A model that said nothing at all still answered, with an empty message."""
        for pending in self.calls.values():
            self._name(pending)
        now, self._live = self._clock.now(), None
        events = self._say_late(now)
        if events or self.calls or self._message_id:
            return events
        return [self._message("", now, thinking=False)]

    def take_up(self, calls: Sequence[Pending]) -> None:
        """Begin a turn that the model has no part in: calls of an earlier run are made."""
        self.begin_turn(())
        self.calls = dict(enumerate(calls))
        self._taken.update(call.tool_call_id for call in calls)

    @property
    def ordered_calls(self) -> list[Pending]:
        """This turn's calls, in the upstream's order."""
        return [self.calls[index] for index in sorted(self.calls)]

    def rest(self, pending: Pending) -> list[OutputEvent]:
        """What has not left yet of a call that the caller answers, or has to allow."""
        if not pending.arguments:
            pending.arguments = ["{}"]
        return self._pieces(pending, self._clock.now())

    def execution_started(self, pending: Pending, name: str) -> list[OutputEvent]:
        """A tool of the server's begins: `name` is its wire type, the called sub-tool stands in `function`."""
        now = self._clock.now()
        pending.entry_id, pending.output_index = self._ids.new("tool_exec"), self._take_index()
        return [
            ToolExecutionStartedEvent(
                created_at=now, output_index=pending.output_index, id=pending.entry_id, model=self._model,
                agent_id=self._agent_id, name=name, arguments="", function=pending.name,
            ),
            ToolExecutionDeltaEvent(
                created_at=now, output_index=pending.output_index, id=pending.entry_id, name=name,
                arguments=pending.text, function=pending.name,
            ),
        ]  # fmt: skip

    def execution_done(self, pending: Pending, name: str, info: dict[str, Any]) -> list[OutputEvent]:
        """A tool of the server's is done."""
        return [
            ToolExecutionDoneEvent(
                created_at=self._clock.now(), output_index=pending.output_index, id=pending.entry_id, name=name,
                function=pending.name, info=info,
            )
        ]  # fmt: skip

    def handed_over(self, pending: Pending, previous: Agent, following: Agent) -> list[OutputEvent]:
        """One agent hands the conversation over to another."""
        now = self._clock.now()
        pending.entry_id, pending.output_index = self._ids.new("handoff"), self._take_index()
        return [
            AgentHandoffStartedEvent(
                created_at=now, output_index=pending.output_index, id=pending.entry_id,
                previous_agent_id=previous.id, previous_agent_name=previous.name,
            ),
            AgentHandoffDoneEvent(
                created_at=now, output_index=pending.output_index, id=pending.entry_id,
                next_agent_id=following.id, next_agent_name=following.name,
            ),
        ]  # fmt: skip

    def said_again(self, entry: OutputEntry) -> list[OutputEvent]:
        """An entry of an earlier run that is still waited for."""
        return unfold(entry, self._take_index())

    def _say(self, delta: TextDelta | ReasoningDelta, now: datetime) -> list[OutputEvent]:
        """Let what the model says leave, unless a call is half sent: its pieces cannot be interrupted."""
        if self._live is not None and not self._live.whole:
            self._late.append(delta)
            return []
        events = self._close_live()
        events += self._say_late(now)
        if isinstance(delta, ReasoningDelta):
            return events + self._think(delta, now)
        if delta.text:
            self.text.append(delta.text)
            events.append(self._message(delta.text, now, thinking=False))
        return events

    def _say_late(self, now: datetime) -> list[OutputEvent]:
        late, self._late = self._late, []
        return [event for delta in late for event in self._say(delta, now)]

    def _message(self, content: str | ThinkChunk, now: datetime, *, thinking: bool) -> MessageOutputEvent:
        if not self._message_id:
            self._message_index = self._take_index()
            self._message_id = self._ids.new("msg")
            self._content_index, self._thinking = 0, thinking
        elif self._thinking is not thinking:
            self._content_index += 1
            self._thinking = thinking
        return MessageOutputEvent(
            created_at=now, output_index=self._message_index, id=self._message_id, model=self._model,
            content_index=self._content_index, agent_id=self._agent_id, content=content,
        )  # fmt: skip

    def _think(self, delta: ReasoningDelta, now: datetime) -> list[OutputEvent]:
        self.reasoning.append(delta.text)
        self.reasoning_field = delta.field
        self.signature = delta.signature or self.signature
        if not delta.text and delta.signature is None:
            return []
        signature = UNSET if delta.signature is None else delta.signature
        text = [TextChunk(text=delta.text)] if delta.text else []
        return [self._message(ThinkChunk(thinking=[*text], signature=signature), now, thinking=True)]

    def _call(self, delta: CallDelta, now: datetime) -> list[OutputEvent]:
        pending = self.calls.setdefault(delta.index, Pending())
        pending.upstream_id += delta.id or ""
        pending.name += delta.name or ""
        if not delta.arguments or pending.closed:
            return []
        pending.arguments.append(delta.arguments)
        # The name is complete once the arguments begin; before that nobody knows whose call this is.
        if self._held(pending):
            return []
        if self._live is not pending:
            if self._live is not None and not self._live.whole:
                return []
            before = self._close_live()
            before += self._say_late(now)
            self._live = pending
            return before + self._pieces(pending, now)
        return self._pieces(pending, now)

    def _close_live(self) -> list[OutputEvent]:
        live, self._live = self._live, None
        if live is None:
            return []
        live.closed = True
        return self.rest(live)

    def _held(self, pending: Pending) -> bool:
        """Whether a call stands before this one that is not the caller's, or may turn out not to be; or this one is."""
        for one in self.calls.values():
            if one.name in self._held_names:
                return True
            if one is pending:
                return False
            if not one.arguments:
                return True
        return False

    def _pieces(self, pending: Pending, now: datetime) -> list[OutputEvent]:
        if not pending.entry_id:
            self._name(pending)
            pending.entry_id, pending.output_index = self._ids.new("fc"), self._take_index()
        pieces, pending.sent = pending.arguments[pending.sent :], len(pending.arguments)
        status: ConfirmationStatus | UnsetType = "pending" if pending.name in self._asking else UNSET
        return [
            FunctionCallEvent(
                created_at=now, output_index=pending.output_index, id=pending.entry_id, model=self._model,
                agent_id=self._agent_id, name=pending.name, tool_call_id=pending.tool_call_id, arguments=piece,
                confirmation_status=status,
            )
            for piece in pieces
        ]  # fmt: skip

    def _name(self, pending: Pending) -> None:
        if pending.tool_call_id:
            return
        outward = outward_id(pending.upstream_id, self._taken)
        while outward is None or outward in self._taken:
            outward = self._ids.tool_call()
        twice = any(one is not pending and one.upstream_id == pending.upstream_id for one in self.calls.values())
        if not pending.upstream_id or twice:
            pending.upstream_id = outward
        self._taken.add(outward)
        pending.tool_call_id = outward

    def _take_index(self) -> int:
        index = self._next_index
        self._next_index += 1
        self._message_id = ""
        return index
