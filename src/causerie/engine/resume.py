"""What a client that comes back has missed, where the log that it read from is gone: pure, from what is stored.

Entries are durable turn by turn. What the client has of a turn that is not stored does not count: it is told to
discard it. What it has only partly of a stored entry is discarded too, and sent again whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from causerie.ids import Clock
from causerie.stores.base import BEYOND, EntryRow, RunRow
from causerie.types.base import UNSET, decode
from causerie.types.entries import OutputEntry
from causerie.types.events import (
    Event,
    ResponseDoneEvent,
    ResponseErrorEvent,
    ResponseStartedEvent,
    RunAdoptedEvent,
    RunCancelledEvent,
)
from causerie.types.responses import ConversationUsageInfo
from causerie.types.unfold import unfold

from .history import Private
from .plan import Request
from .runlog import Cursor, Numbered


def caught_up(
    run: RunRow, outputs: Sequence[EntryRow], cursor: Cursor | None, clock: Clock, again: Sequence[EntryRow] = ()
) -> list[Numbered]:
    """Return the events that bring a client from `cursor` to where the stored outputs of the run end.

    Args:
        outputs: the run's stored entries that are outputs, in order; committed or not.
        cursor: where the client is; None if it has nothing.
        again: entries of earlier runs that the run told last. Where it told them is not kept: what the client has of
            them is discarded.
    """
    found = list[Numbered]()
    if cursor is None:
        started = ResponseStartedEvent(created_at=run.started_at, conversation_id=run.conversation_id, run_id=run.id)
        place = Cursor(0, 0)
        found.append(Numbered(str(place), started))
        missing, discard = list(outputs), list[str]()
    else:
        missing = [row for row in outputs if _place(row)[:2] > cursor[:2]]
        kept = {row.id for row in outputs} - {row.id for row in missing}
        discard = [entry_id for entry_id in cursor.loose if entry_id not in kept]
        discard += [row.id for row in again if row.id not in discard]
        had = [row for row in outputs if row.id in kept]
        place = _place(had[-1]) if had else Cursor(0, 0)
    if discard or (run.state == "running" and cursor is not None):
        adopted = RunAdoptedEvent(created_at=clock.now(), run_id=run.id, discard=discard)
        found.append(Numbered(str(place), adopted))
    for row in missing:
        entry: OutputEntry = decode(row.body, OutputEntry)  # type: ignore[arg-type]
        events = unfold(entry, _private(row).output_index or 0)
        partly = place._replace(loose=(row.id,))
        place = _place(row)
        found += [Numbered(str(partly), event) for event in events[:-1]]
        found.append(Numbered(str(place), events[-1]))
    following = (_private(outputs[-1]).output_index or 0) + 1 if outputs else 0
    for index, row in enumerate(again, following):
        place = place._replace(loose=(*place.loose, row.id))
        entry = decode(row.body, OutputEntry)  # type: ignore[arg-type]  # a union is a type
        found += [Numbered(str(place), event) for event in unfold(entry, index)]
    return found


def last_events(run: RunRow, clock: Clock) -> list[Numbered]:
    """Return how a stored run ended, as events; nothing if it has not."""
    events: list[Event] = []
    reports = decode(run.request, Request).guardrails or UNSET
    at = run.ended_at or clock.now()
    usage = decode(run.usage, ConversationUsageInfo) if run.usage else ConversationUsageInfo()
    if run.state == "failed":
        events = [ResponseErrorEvent(created_at=at, message=run.error or "The run failed.", code=run.code or 500)]
    elif run.state == "cancelled":
        cancelled = RunCancelledEvent(created_at=at, run_id=run.id, discard=[])
        events = [cancelled, ResponseDoneEvent(created_at=at, usage=usage, guardrails=reports)]
    elif run.state == "done":
        events = [ResponseDoneEvent(created_at=at, usage=usage, guardrails=reports)]
    # Behind everything that the run's log may have held: a client that comes back with this has all.
    return [Numbered(str(Cursor(run.fence, BEYOND)), event) for event in events]


def _private(row: EntryRow) -> Private:
    return decode(row.private, Private) if row.private else Private()


def _place(row: EntryRow) -> Cursor:
    private = _private(row)
    return Cursor(private.epoch or 0, private.event or 0)
