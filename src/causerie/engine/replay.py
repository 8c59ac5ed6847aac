"""An answer that was given before, or is being given: what a caller can read without being its first reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from .runlog import Numbered, Reader


class Events(Protocol):
    """Something to read events from."""

    @property
    def ended(self) -> bool:
        """Whether nothing is left to read."""
        ...

    async def batch(self, silence: float | None = None) -> list[Numbered]:
        """Return the next events, or an empty list after `silence` seconds without any."""
        ...

    def leave(self) -> None:
        """Wait no longer."""
        ...


class Answerable(Protocol):
    """A run, or what is kept of one."""

    @property
    def id(self) -> str:
        """The run's id."""
        ...

    @property
    def conversation_id(self) -> str:
        """The conversation that it belongs to."""
        ...

    def reader(self) -> Events:
        """Return its events from the first on."""
        ...

    async def body(self) -> bytes:
        """Return the JSON of its `ConversationResponse`; raises what the run failed with."""
        ...

    def cancel(self) -> None:
        """End it now, if it has not ended."""
        ...


class Following:
    """Events that were missed, then those that a run still writes."""

    def __init__(self, missed: Sequence[Numbered], live: Reader | None) -> None:
        """Begin with `missed`; `live` is None where the run is over and its log is gone."""
        self._missed, self._live = list(missed), live

    @property
    def ended(self) -> bool:
        """See `Events.ended`."""
        return not self._missed and (self._live is None or self._live.ended)

    async def batch(self, silence: float | None = None) -> list[Numbered]:
        """See `Events.batch`."""
        if self._missed or self._live is None:
            missed, self._missed = self._missed, []
            return missed
        return await self._live.batch(silence)

    def leave(self) -> None:
        """See `Events.leave`."""
        self._missed = []
        if self._live is not None:
            self._live.leave()


class Replay:
    """The answer of a run that was committed, for a retry under the same idempotency key."""

    def __init__(self, run_id: str, conversation_id: str, body: bytes, events: Sequence[Numbered]) -> None:
        """Take what was kept: the answer byte for byte, and the events that amount to it."""
        self.id, self.conversation_id = run_id, conversation_id
        self._body, self._events = body, events

    def reader(self) -> Following:
        """Return the events."""
        return Following(self._events, None)

    async def body(self) -> bytes:
        """Return the answer."""
        return self._body

    def cancel(self) -> None:
        """Nothing runs any more."""
