"""The jobs of the SQLite store: each a plain function of a connection, run inside somebody else's transaction."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from causerie.errors import Conflict, NotFound, RepeatedKey, Superseded, TakenOver

from .base import (
    BEYOND,
    WAITED,
    ConversationRow,
    EntryRow,
    Range,
    Recorded,
    Repeat,
    Reservation,
    RunEnd,
    RunKey,
    RunRow,
    RunStart,
    Segment,
    Settlement,
)
from .labels import labels
from .statements import statements

SQL = statements("sqlite")


def now() -> str:
    """The time as rows have it."""
    return stamp(datetime.now(UTC))


def stamp(moment: datetime) -> str:
    """Return `moment` as rows have it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def over(db: sqlite3.Connection, statement: str, workspace: str, ranges: Sequence[Range]) -> list[Any]:
    """Run a query over ranges of entries, in order."""
    return [row for part in ranges for row in db.execute(statement, {"workspace": workspace, **part._asdict()})]


def sound(found: list[Any]) -> list[Any]:
    """Return rows as they are; all that is stored is text, and damage that SQLite does not see shows as what is none.

    Raises:
        UnicodeDecodeError: a row is damaged.
    """
    for row in found:
        for value in row:
            if isinstance(value, bytes):
                value.decode()
    return found


def load(db: sqlite3.Connection, workspace: str, conversation_id: str, *, announced: bool) -> ConversationRow:
    """Read a conversation; see `Store.load`."""
    query = {"workspace": workspace, "id": conversation_id, "announced": announced}
    found = db.execute(SQL["load"], query).fetchone()
    if found is None:
        raise _no_such(conversation_id)
    row = conversation(db, workspace, found)
    said = settlements(db, row)
    return msgspec.structs.replace(row, settlements=said) if said else row


def settlements(db: sqlite3.Connection, row: ConversationRow) -> tuple[Settlement, ...]:
    """Read what was said of a conversation's calls, by it and by those that it stands on."""
    return tuple(Settlement(*one) for one in over(db, SQL["settlements"], row.workspace, row.ranges(BEYOND)))


def conversation(db: sqlite3.Connection, workspace: str, row: Any) -> ConversationRow:
    """Make a `ConversationRow` of what was selected."""
    id_, created_at, updated_at, settings, name, description, metadata, head, parent, parent_entry, run_id = row
    segments = db.execute(SQL["segments"], {"workspace": workspace, "id": id_}).fetchall() if parent else ()
    return ConversationRow(
        workspace=workspace, id=id_, created_at=datetime.fromisoformat(created_at),
        updated_at=datetime.fromisoformat(updated_at), settings=settings, name=name, description=description,
        metadata=metadata, head=head, segments=tuple(Segment(*segment) for segment in segments), parent_id=parent,
        parent_entry_id=parent_entry, run_id=run_id,
    )  # fmt: skip


def run(row: Any) -> RunRow:
    """Make a `RunRow` of what was selected."""
    workspace, id_, owner, operation, state, fence, head, request, *used, error, code, started, ended = row
    calls, handoffs, usage = used
    return RunRow(
        workspace=workspace, id=id_, conversation_id=owner, operation=operation, state=state, fence=fence, head=head,
        request=request, model_calls=calls, handoffs=handoffs, usage=usage, error=error, code=code,
        started_at=datetime.fromisoformat(started), ended_at=datetime.fromisoformat(ended) if ended else None,
    )  # fmt: skip


def take_store(db: sqlite3.Connection, owner: str) -> None:
    """Make `owner` the only one, and drop starts that no client knows of or can ask for again."""
    query = {"id": owner, "process": os.getpid(), "host": platform.node(), "now": now()}
    db.execute(SQL["add_owner"], query)
    db.execute(SQL["retire_owners"], query)
    db.execute(SQL["expire"], query)
    for workspace, conversation_id, run_id, fence in db.execute(SQL["lost"]).fetchall():
        end = RunEnd(ended_at=datetime.now(UTC), state="failed", error="The server stopped during the run.", code=503)
        fail(db, RunKey(workspace, conversation_id, run_id, fence), end)


def begin(db: sqlite3.Connection, start: RunStart, owner: str) -> RunKey:
    """Write a run and its inputs; see `Store.begin`."""
    _check_owner(db, owner)
    row = start.conversation
    query = {"workspace": row.workspace, "id": row.id, "run_id": start.run_id, "head": start.head}
    if start.operation == "append":
        spoken = any(db.execute(SQL["spoken_of"], {**query, "entry": entry}).fetchone() for entry in start.waiting)
        found = None if spoken else db.execute(SQL["begin_next"], query).fetchone()
        if found is None:
            raise _in_the_way(db, query)
    else:
        found = _add_conversation(db, start, query)
    (fence,) = found
    db.execute(SQL["add_run"], {
        **query, "id": start.run_id, "conversation": row.id, "operation": start.operation, "owner": owner,
        "fence": fence, "request": start.request, "started_at": stamp(start.started_at),
    })  # fmt: skip
    right = RunKey(row.workspace, row.id, start.run_id, fence)
    if start.repeat is not None:
        _add_repeat(db, right, start.repeat)
    _add_entries(db, right, start.entries)
    return right


def journal(db: sqlite3.Connection, key: RunKey, entries: Sequence[EntryRow], progress: RunEnd) -> None:
    """Write entries beyond the head; see `Store.journal`."""
    _check_right(db, key)
    _add_entries(db, key, entries)
    db.execute(SQL["progress"], {
        "workspace": key.workspace, "run_id": key.run_id, "model_calls": progress.model_calls,
        "handoffs": progress.handoffs, "usage": progress.usage,
    })  # fmt: skip


def commit(
    db: sqlite3.Connection, key: RunKey, entries: Sequence[EntryRow], *, start: int, head: int, end: RunEnd
) -> None:
    """Move the head; see `Store.commit`."""
    query = {**_right(key), "start": start, "head": head, "at": stamp(end.ended_at)}
    if db.execute(SQL["commit"], query).rowcount != 1:
        raise _lost(key)
    _add_entries(db, key, entries)
    if end.state == "cancelled":  # it may have been cancelled while a turn was on its way here
        db.execute(SQL["prune"], {**query, "upto": head})
    _end_run(db, key, end)
    db.executemany(SQL["add_settlement"], [{**query, **one._asdict()} for one in end.settlements])
    # What was recorded holds until the head moves; of a call that still waits, until it does not.
    db.execute(SQL["forget_made"], {**query, "waited": WAITED})
    if end.response is not None:
        db.execute(SQL["answer_repeat"], {**query, "response": end.response})


def fail(db: sqlite3.Connection, key: RunKey, end: RunEnd) -> bool:
    """Take a run back; see `Store.fail`."""
    query = _right(key)
    if not db.execute(SQL["holds"], query).fetchone():
        return False
    _end_run(db, key, end)
    db.execute(SQL["release_repeat"], query)
    db.execute(SQL["take_back"], query)
    db.execute(SQL["release"], query)
    if db.execute(SQL["unannounced"], query).fetchone():
        _forget(db, key.workspace, key.conversation_id)
    return True


def adopt(db: sqlite3.Connection, found: RunRow, owner: str) -> RunKey:
    """Take a run over; see `Store.adopt`."""
    _check_owner(db, owner)
    key = RunKey(found.workspace, found.conversation_id, found.id, found.fence)
    taken = db.execute(SQL["take_over"], _right(key)).fetchone()
    if taken is None:
        raise _lost(key)
    (fence,) = taken
    db.execute(SQL["own_run"], {"workspace": found.workspace, "run_id": found.id, "owner": owner, "fence": fence})
    return key._replace(fence=fence)


def announce(db: sqlite3.Connection, workspace: str, conversation_id: str) -> None:
    """Note that a conversation's id has left; see `Store.announce`."""
    if db.execute(SQL["announce"], {"workspace": workspace, "id": conversation_id}).rowcount == 0:
        raise _no_such(conversation_id)


def reserve(db: sqlite3.Connection, key: RunKey, call: Reservation) -> Recorded | None:
    """Note that a tool is about to be called; see `Store.reserve`."""
    _check_right(db, key)
    query = {"workspace": key.workspace, "id": key.conversation_id, "key": call.key}
    if found := recorded(db, key.workspace, key.conversation_id, call.key):
        return found
    db.execute(SQL["reserve"], {
        **query, "run_id": key.run_id, "tool": call.tool, "arguments": call.arguments, "now": now(),
    })  # fmt: skip
    return None


def recorded(db: sqlite3.Connection, workspace: str, conversation_id: str, key: str) -> Recorded | None:
    """Return what is known of a call; see `Store.recorded`."""
    found = db.execute(SQL["reserved"], {"workspace": workspace, "id": conversation_id, "key": key}).fetchone()
    return Recorded(found[1] if found[0] == "settled" else None) if found else None


def settle(db: sqlite3.Connection, key: RunKey, reservation: str, result: bytes) -> None:
    """Note what a call came to, whoever owns the run by now: it did happen."""
    db.execute(SQL["settle"], {
        "workspace": key.workspace, "id": key.conversation_id, "key": reservation, "result": result, "now": now(),
    })  # fmt: skip


def delete(db: sqlite3.Connection, workspace: str, conversation_id: str, at: datetime) -> None:
    """Delete a conversation; see `Store.delete`."""
    query = {"workspace": workspace, "id": conversation_id, "at": stamp(at)}
    if db.execute(SQL["bury"], query).fetchone() is None:
        raise _no_such(conversation_id)
    for name in ("labels", "runs", "ledger", "idempotency"):
        db.execute(SQL[f"forget_{name}"], query)
    _release_ground(db, workspace, conversation_id)


def _right(key: RunKey) -> dict[str, Any]:
    return {"workspace": key.workspace, "id": key.conversation_id, "fence": key.fence, "run_id": key.run_id}


def _check_right(db: sqlite3.Connection, key: RunKey) -> None:
    if not db.execute(SQL["holds"], _right(key)).fetchone():
        raise _lost(key)


def _check_owner(db: sqlite3.Connection, owner: str) -> None:
    # What is superseded must not even begin: whatever it began would wait for the next owner to take it over again.
    if db.execute(SQL["owner"], {"id": owner}).fetchone() is None:
        raise TakenOver


def _lost(key: RunKey) -> Superseded:
    return Superseded(
        f"Run {key.run_id} no longer owns conversation {key.conversation_id}: it was deleted, or another run took over."
    )


def _no_such(conversation_id: str) -> NotFound:
    return NotFound(f"Conversation not found: {conversation_id}")


def _in_the_way(db: sqlite3.Connection, query: dict[str, Any]) -> Exception:
    found = db.execute(SQL["in_the_way"], query).fetchone()
    if found is None:
        return _no_such(query["id"])
    run_id, _ = found
    which = f"by run {run_id}" if run_id else "by a run that has just ended"
    return Conflict(f"Conversation is already being processed {which}. Wait for it to end, then try again.")


def _add_conversation(db: sqlite3.Connection, start: RunStart, query: dict[str, Any]) -> Any:
    row, at = start.conversation, stamp(start.conversation.created_at)
    found = db.execute(SQL["begin_new"], {
        **query, "created_at": at, "updated_at": at, "settings": row.settings, "name": row.name,
        "description": row.description, "metadata": row.metadata, "parent_id": row.parent_id,
        "parent_entry_id": row.parent_entry_id, "announced": start.announced,
    }).fetchone()  # fmt: skip
    _add_segments(db, row)
    for key, value in labels(json.loads(row.metadata)) if row.metadata else ():
        db.execute(SQL["add_label"], {"workspace": row.workspace, "thing": row.id, "key": key, "value": value})
    return found


def _add_segments(db: sqlite3.Connection, row: ConversationRow) -> None:
    after = 0
    for ordinal, (owner, upto) in enumerate(row.segments):
        query = {"workspace": row.workspace, "conversation": row.id, "ordinal": ordinal, "owner": owner, "upto": upto}
        # The parent may have been deleted since the cut was looked up; then what to stand on may be gone.
        here = {"workspace": row.workspace, "owner": owner, "after": max(after, upto - 1), "upto": upto}
        if not db.execute(SQL["bodies"], here).fetchone():
            raise _no_such(row.parent_id or owner)
        db.execute(SQL["add_segment"], query)
        after = upto


def _add_repeat(db: sqlite3.Connection, key: RunKey, repeat: Repeat) -> None:
    db.execute(SQL["expire"], {"now": now()})
    added = db.execute(SQL["add_repeat"], {
        "workspace": key.workspace, "scope": repeat.scope, "key": repeat.key, "digest": repeat.digest,
        "conversation": key.conversation_id, "run_id": key.run_id, "expires_at": stamp(repeat.expires_at),
    })  # fmt: skip
    if added.rowcount != 1:
        raise RepeatedKey


def _add_entries(db: sqlite3.Connection, key: RunKey, entries: Sequence[EntryRow]) -> None:
    db.executemany(SQL["add_entry"], [
        (key.workspace, key.conversation_id, entry.position, entry.id, entry.kind, entry.body, entry.tool_call_id,
         entry.prompt, entry.covers, entry.private)
        for entry in entries
    ])  # fmt: skip


def _end_run(db: sqlite3.Connection, key: RunKey, end: RunEnd) -> None:
    db.execute(SQL["end_run"], {
        "workspace": key.workspace, "run_id": key.run_id, "state": end.state, "model_calls": end.model_calls,
        "handoffs": end.handoffs, "usage": end.usage, "error": end.error, "code": end.code, "at": stamp(end.ended_at),
    })  # fmt: skip


def _release_ground(db: sqlite3.Connection, workspace: str, conversation_id: str) -> None:
    """Keep of a deleted conversation only what living branches stand on; nothing at all if there are none."""
    query = {"workspace": workspace, "id": conversation_id}
    (needed,) = db.execute(SQL["needed"], query).fetchone()
    if needed is None:
        _forget(db, workspace, conversation_id)
    else:
        db.execute(SQL["prune"], {**query, "upto": needed})
        db.execute(SQL["prune_settlements"], {**query, "upto": needed})


def _forget(db: sqlite3.Connection, workspace: str, conversation_id: str) -> None:
    query = {"workspace": workspace, "id": conversation_id}
    below = {owner for owner, _ in db.execute(SQL["segments"], query)}
    db.execute(SQL["prune"], {**query, "upto": 0})
    for name in ("labels", "runs", "settlements", "ledger", "idempotency", "segments", "conversation"):
        db.execute(SQL[f"forget_{name}"], query)
    for owner in below:
        if db.execute(SQL["buried"], {"workspace": workspace, "id": owner}).fetchone():
            _release_ground(db, workspace, owner)
