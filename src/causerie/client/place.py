"""How far the events of a run have been read, whichever way they come. No I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from causerie.types.base import UNSET, Struct, UnsetType
from causerie.types.events import LAST_EVENTS, Event, ResponseStartedEvent, RunCancelledEvent

from .unknown import UnknownEvent

if TYPE_CHECKING:
    import httpx2 as httpx


class ConversationEvents(Struct, kw_only=True, forbid_unknown_fields=False):
    """One item of a stream: an event, its kind, and its id where the server gave one."""

    event: str
    data: Event | Any
    id: str | UnsetType = UNSET


class Place:
    """How far a stream has been read, and of which run.

    Attributes:
        response: the response that is being read; None in process.
        seen: how many events were handed out.
        ended: whether the last one was among them.
    """

    def __init__(self, follows: tuple[str, str, str | None] | None) -> None:
        """Stand at the beginning, or where a stream goes on: at a conversation, a run, the last event that is known."""
        place: tuple[str | None, str | None, str | None] = follows or (None, None, None)
        self.conversation_id, self.run_id, self.last_id = place
        self.response: httpx.Response | None = None
        self.seen = 0
        self.ended = False
        self._cancelled = False

    def take(self, kind: str, data: Event | UnknownEvent, id: str | None) -> ConversationEvents | None:
        """Take an event; return it as an item, or None where it came before."""
        if id:
            self.last_id = id
        if not self._note(data):
            return None
        self.seen += 1
        item = ConversationEvents(event=kind, data=data)
        if id is not None:
            item.id = id
        return item

    def _note(self, data: Event | UnknownEvent) -> bool:
        if isinstance(data, ResponseStartedEvent):
            self.conversation_id = data.conversation_id
            self.run_id = data.run_id or self.run_id
        elif isinstance(data, RunCancelledEvent):
            # It shares its id with the event that follows: whoever is cut off between the two is sent both again.
            known, self._cancelled = self._cancelled, True
            return not known
        elif isinstance(data, LAST_EVENTS):
            self.ended = True
        return True
