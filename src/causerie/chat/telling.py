"""The events of a run as they are told to a screen: what is said piece by piece, what is done line by line."""

from __future__ import annotations

from typing import Any

from causerie.ids import Clock
from causerie.types.content import ThinkChunk
from causerie.types.events import (
    OUTPUT_EVENTS,
    AgentHandoffDoneEvent,
    MessageOutputEvent,
    ResponseDoneEvent,
    RunAdoptedEvent,
    RunCancelledEvent,
    ToolExecutionDoneEvent,
)
from causerie.types.fold import Fold

from .screen import Screen
from .words import done, of_chunk, thought, used


class Telling:
    """Tells one run."""

    def __init__(self, screen: Screen) -> None:
        """Tell it to `screen`."""
        self._screen = screen
        self._fold = Fold(Clock().now)
        self.usage = ""

    def tell(self, event: Any) -> None:
        """Take the next event; kinds that are not known are passed over."""
        if isinstance(event, OUTPUT_EVENTS):
            self._did(self._fold.feed(event))
            if isinstance(event, MessageOutputEvent):
                self._said(event.content)
            elif isinstance(event, (ToolExecutionDoneEvent, AgentHandoffDoneEvent)):
                self._did(self._fold.close())
        elif isinstance(event, ResponseDoneEvent):
            self._did(self._fold.close())
            self.usage = used(event.usage) if event.usage.total_tokens else ""  # of a cancelled run nothing is known
        elif isinstance(event, RunCancelledEvent):
            self._fold.discard(event.discard)
        elif isinstance(event, RunAdoptedEvent):
            self._fold.discard(event.discard)
            if event.discard:
                self._screen.end()
                self._screen.note("the server was started anew and begins this answer again")

    def _said(self, content: Any) -> None:
        if isinstance(content, ThinkChunk):
            self._screen.thought(thought(content))
        else:
            self._screen.text(content if isinstance(content, str) else of_chunk(content))

    def _did(self, entry: Any) -> None:
        line = done(entry)
        if line is not None:
            self._screen.did(line)
