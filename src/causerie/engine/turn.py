"""A turn: one model call and what it causes. Its events leave, its entries are folded, its rows are made here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from causerie.ids import Clock
from causerie.stores.base import EntryRow
from causerie.tools.base import ToolResult
from causerie.types.base import decode
from causerie.types.entries import FunctionCallEntry, OutputEntry
from causerie.types.events import OutputEvent
from causerie.types.fold import Fold

from .emit import Emitter, Pending
from .history import History, Private, row
from .prompt import Rendered, assistant_message, tool_message
from .runlog import RunLog


class Announced(NamedTuple):
    """Where an entry stands in its run's events: its output index, and the number of its last event."""

    output_index: int
    event: int


class Turn:
    """The turn that a run is in; `begin` makes it the next.

    Attributes:
        emitter: gives the outputs their ids and indexes.
        announced: where each entry stands that anything was said of, by its id.
        results: what came of the calls that the server made, by tool call id.
        again: entries of earlier runs that this turn ends with.
    """

    def __init__(self, emitter: Emitter, log: RunLog, clock: Clock) -> None:
        """Let events leave through `log`."""
        self.emitter = emitter
        self.announced: dict[str, Announced] = {}
        self.results: dict[str, ToolResult] = {}
        self._log = log
        self._fold = Fold(clock.now)
        self._entries: list[OutputEntry] = []
        self._taken_up = False
        self.again: Sequence[EntryRow] = ()

    def begin(self) -> None:
        """Forget the turn before: its rows are durable, and whoever comes between now finds nothing of it to keep."""
        self.announced, self.results, self._taken_up, self.again = {}, {}, False, ()
        self.emitter.begin_turn(())

    def take_up(self, calls: Sequence[Pending]) -> None:
        """Make this the turn that begins with calls of an earlier one: the model has asked for them already."""
        self._taken_up = True
        self.emitter.take_up(calls)

    def say_again(self, rows: Sequence[EntryRow]) -> None:
        """Let entries of earlier runs leave that are still waited for; they are not this run's to store."""
        self.again = rows
        for one in rows:
            entry: OutputEntry = decode(one.body, OutputEntry)  # type: ignore[arg-type]  # a union is a type
            self._log.append([*self.emitter.said_again(entry)])

    def publish(self, events: Sequence[OutputEvent]) -> None:
        """Let events leave, and fold them."""
        number = len(self._log.events)
        self._log.append([*events])
        for event in events:
            number += 1
            self.announced[event.id] = Announced(event.output_index, number)
            if entry := self._fold.feed(event):
                self._entries.append(entry)

    def start_execution(self, call: Pending, name: str) -> None:
        """A tool of the server's begins, if it has not been announced yet."""
        if not call.entry_id:
            self.publish(self.emitter.execution_started(call, name))

    def end_execution(self, call: Pending, name: str, result: ToolResult) -> None:
        """A tool of the server's is done."""
        self.results[call.tool_call_id] = result
        self.publish(self.emitter.execution_done(call, name, result.info))

    def close(self) -> list[OutputEntry]:
        """The model has ended: everything that it has said is an entry now."""
        if entry := self._fold.close():
            self._entries.append(entry)
        entries, self._entries = self._entries, []
        return entries

    def rows(
        self, entries: Sequence[OutputEntry], calls: Sequence[Pending], history: History, *, cut: bool = False
    ) -> list[EntryRow]:
        """Turn entries into rows that follow `history`; the turn's chat messages stand with the last.

        Where it began with calls of an earlier turn, each result stands for itself.

        Args:
            calls: those that the model's chat message keeps, in order.
            cut: whether the turn was interrupted while the model was still writing.
        """
        upstream_ids = {call.entry_id: call.upstream_id for call in calls}
        at_last = Rendered(self._prompt(calls), len(entries) + (history.prefix is not None))
        found = []
        for index, entry in enumerate(entries):
            last = index == len(entries) - 1
            rendered = at_last if last else None
            if self._taken_up:
                rendered = Rendered(self._told(calls[index]), 1)
            place = self.announced[str(entry.id)]
            private = Private(
                epoch=self._log.epoch, event=place.event, output_index=place.output_index, cut=cut and last
            )
            if isinstance(entry, FunctionCallEntry) and upstream_ids[str(entry.id)] != entry.tool_call_id:
                private.upstream_id = upstream_ids[str(entry.id)]
            private.pending = isinstance(entry, FunctionCallEntry) and entry.confirmation_status == "pending"
            found.append(row(entry, history.head + 1 + index, rendered, private))
        return found

    def _prompt(self, calls: Sequence[Pending]) -> bytes:
        said = self.emitter
        message = assistant_message(
            "".join(said.text), [call.call for call in calls], reasoning="".join(said.reasoning),
            field=said.reasoning_field, signature=said.signature,
        )  # fmt: skip
        return b",".join([message, *(self._told(call) for call in calls if call.tool_call_id in self.results)])

    def _told(self, call: Pending) -> bytes:
        """What the model reads of a result."""
        result = self.results[call.tool_call_id]
        return tool_message(call.upstream_id, result.output if result.error is None else f"Error: {result.error}")
