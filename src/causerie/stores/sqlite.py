"""The embedded store: one SQLite file, one writer thread, a few readers (D14).

Every method is one job: a plain function of a connection, run in the writer's transaction or on a reader. No
transaction outlives its job, so none spans an await.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from causerie.errors import Conflict, NotFound, StoreUnavailable

from .base import ConversationRow, EntryRow, Place, Range, RunEnd, RunKey, RunStart, Segment
from .labels import labels
from .sqlite_file import MEMORY, FileLock, connect, migrate
from .statements import statements
from .writer import Job, Writer

T = TypeVar("T")
SQL = statements("sqlite")
READERS = 4


class SQLiteStore:
    """Conversations in one SQLite file, or in memory."""

    def __init__(self, path: str | Path) -> None:
        """Take the path of the database; ``":memory:"`` keeps everything in this process and forgets it."""
        self._path = str(path)
        self._memory = self._path == MEMORY
        self._lock = None if self._memory else FileLock(Path(path))
        self._writer = Writer(self._open_writer)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="causerie-reader")
        self._local = threading.local()
        self._closed = False
        self._connections: list[sqlite3.Connection] = []

    async def open(self) -> None:
        """Take the lock, bring the schema up to date, clear what a crash left."""
        if self._lock is not None:
            self._lock.take()
        self._writer.start()
        try:
            await self._writer.submit(_clear_after_crash)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what was submitted and let go of the file."""
        self._closed = True
        await self._writer.close()
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()
        if self._lock is not None:
            self._lock.release()

    async def load(self, workspace: str, conversation_id: str) -> ConversationRow:
        """Return a conversation; see `Store.load`."""
        return await self._read(lambda db: _load(db, workspace, conversation_id))

    async def page(
        self, workspace: str, *, offset: int, limit: int, metadata: Mapping[str, Any]
    ) -> list[ConversationRow]:
        """Return a page of conversations; see `Store.page`."""
        wanted = json.dumps(labels(metadata))
        query = {"workspace": workspace, "limit": limit, "offset": offset, "labels": wanted}
        return await self._read(lambda db: [_row(db, workspace, row) for row in db.execute(SQL["page"], query)])

    async def entries(self, workspace: str, ranges: Sequence[Range]) -> list[EntryRow]:
        """Return entry rows; see `Store.entries`."""
        rows = await self._read(lambda db: _over(db, SQL["entries"], workspace, ranges))
        return [
            EntryRow(
                position=position, id=id_, kind=kind, body=body, tool_call_id=call, prompt=prompt, covers=covers,
                private=private,
            )
            for position, id_, kind, body, call, prompt, covers, private in rows
        ]  # fmt: skip

    async def bodies(self, workspace: str, ranges: Sequence[Range], *, messages_only: bool = False) -> list[bytes]:
        """Return entries as the API shows them; see `Store.bodies`."""
        name = "messages" if messages_only else "bodies"
        rows = await self._read(lambda db: _over(db, SQL[name], workspace, ranges))
        return [body for (body,) in rows]

    async def locate(self, workspace: str, ranges: Sequence[Range], entry_id: str) -> Place | None:
        """Find an entry; see `Store.locate`."""

        def look(db: sqlite3.Connection) -> Place | None:
            for part in ranges:
                query = {"workspace": workspace, "id": entry_id, **part._asdict()}
                if found := db.execute(SQL["locate"], query).fetchone():
                    return Place(part.owner, *found)
            return None

        return await self._read(look)

    def begin(self, start: RunStart) -> Awaitable[RunKey]:
        """Write a run and its inputs; see `Store.begin`."""
        return self._writer.submit(lambda db: _begin(db, start))

    def journal(self, key: RunKey, entries: Sequence[EntryRow]) -> Awaitable[None]:
        """Write entries beyond the head; see `Store.journal`."""
        return self._writer.submit(lambda db: _journal(db, key, entries))

    def commit(
        self, key: RunKey, entries: Sequence[EntryRow], *, start: int, head: int, end: RunEnd
    ) -> Awaitable[None]:
        """Move the head; see `Store.commit`."""
        return self._writer.submit(lambda db: _commit(db, key, entries, start=start, head=head, end=end))

    def fail(self, key: RunKey, end: RunEnd) -> Awaitable[None]:
        """Take a run back; see `Store.fail`."""
        return self._writer.submit(lambda db: _fail(db, key, end))

    def delete(self, workspace: str, conversation_id: str, at: datetime) -> Awaitable[None]:
        """Delete a conversation; see `Store.delete`."""
        return self._writer.submit(lambda db: _delete(db, workspace, conversation_id, at))

    def _open_writer(self) -> sqlite3.Connection:
        connection = connect(self._path)
        migrate(connection)
        return connection

    async def _read(self, job: Job[T]) -> T:
        if self._memory or self._closed:  # one connection is all there is; or none, and the writer says so
            return await self._writer.submit(job)
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read_here, job)

    def _read_here(self, job: Callable[[sqlite3.Connection], T]) -> T:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        try:
            if connection is None:
                connection = self._local.connection = connect(self._path, read_only=True)
                self._connections.append(connection)
            return job(connection)
        except sqlite3.Error as error:
            raise StoreUnavailable(f"The database could not be read: {error}.") from error


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


def _over(db: sqlite3.Connection, statement: str, workspace: str, ranges: Sequence[Range]) -> list[Any]:
    return [row for part in ranges for row in db.execute(statement, {"workspace": workspace, **part._asdict()})]


def _load(db: sqlite3.Connection, workspace: str, conversation_id: str) -> ConversationRow:
    found = db.execute(SQL["load"], {"workspace": workspace, "id": conversation_id}).fetchone()
    if found is None:
        raise _no_such(conversation_id)
    return _row(db, workspace, found)


def _row(db: sqlite3.Connection, workspace: str, row: Any) -> ConversationRow:
    id_, created_at, updated_at, settings, name, description, metadata, head, parent, parent_entry, run_id = row
    segments = db.execute(SQL["segments"], {"workspace": workspace, "id": id_}).fetchall() if parent else ()
    return ConversationRow(
        workspace=workspace, id=id_, created_at=datetime.fromisoformat(created_at),
        updated_at=datetime.fromisoformat(updated_at), settings=settings, name=name, description=description,
        metadata=metadata, head=head, segments=tuple(Segment(*segment) for segment in segments), parent_id=parent,
        parent_entry_id=parent_entry, run_id=run_id,
    )  # fmt: skip


def _no_such(conversation_id: str) -> NotFound:
    return NotFound(f"Conversation not found: {conversation_id}")


def _begin(db: sqlite3.Connection, start: RunStart) -> RunKey:
    row = start.conversation
    query = {"workspace": row.workspace, "id": row.id, "run_id": start.run_id, "head": start.head}
    if start.operation == "append":
        found = db.execute(SQL["begin_next"], query).fetchone()
        if found is None:
            raise _in_the_way(db, query)
    else:
        stamp = _stamp(row.created_at)
        found = db.execute(SQL["begin_new"], {
            **query, "created_at": stamp, "updated_at": stamp, "settings": row.settings, "name": row.name,
            "description": row.description, "metadata": row.metadata, "parent_id": row.parent_id,
            "parent_entry_id": row.parent_entry_id, "announced": start.announced,
        }).fetchone()  # fmt: skip
        _add_segments(db, row)
        for key, value in labels(json.loads(row.metadata)) if row.metadata else ():
            db.execute(SQL["add_label"], {"workspace": row.workspace, "thing": row.id, "key": key, "value": value})
    (fence,) = found
    db.execute(SQL["add_run"], {
        **query, "id": start.run_id, "conversation": row.id, "operation": start.operation, "owner": start.owner,
        "fence": fence, "started_at": _stamp(start.started_at),
    })  # fmt: skip
    right = RunKey(row.workspace, row.id, start.run_id, fence)
    _add_entries(db, right, start.entries)
    return right


def _in_the_way(db: sqlite3.Connection, query: dict[str, Any]) -> Exception:
    found = db.execute(SQL["in_the_way"], query).fetchone()
    if found is None:
        return _no_such(query["id"])
    run_id, _ = found
    return busy(run_id)


def busy(run_id: str | None) -> Conflict:
    """Return the refusal of a second run; `run_id` is the one in the way, None where it has just ended."""
    which = f"by run {run_id}" if run_id else "by a run that has just ended"
    return Conflict(f"Conversation is already being processed {which}. Wait for it to end, then try again.")


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


def _add_entries(db: sqlite3.Connection, key: RunKey, entries: Sequence[EntryRow]) -> None:
    db.executemany(SQL["add_entry"], [
        (key.workspace, key.conversation_id, entry.position, entry.id, entry.kind, entry.body, entry.tool_call_id,
         entry.prompt, entry.covers, entry.private)
        for entry in entries
    ])  # fmt: skip


def _journal(db: sqlite3.Connection, key: RunKey, entries: Sequence[EntryRow]) -> None:
    query = {"workspace": key.workspace, "id": key.conversation_id, "fence": key.fence, "run_id": key.run_id}
    if not db.execute(SQL["holds"], query).fetchone():
        raise _lost(key)
    _add_entries(db, key, entries)


def _commit(
    db: sqlite3.Connection, key: RunKey, entries: Sequence[EntryRow], *, start: int, head: int, end: RunEnd
) -> None:
    query = {
        "workspace": key.workspace, "id": key.conversation_id, "fence": key.fence, "run_id": key.run_id,
        "start": start, "head": head, "at": _stamp(end.ended_at),
    }  # fmt: skip
    if db.execute(SQL["commit"], query).rowcount != 1:
        raise _lost(key)
    _add_entries(db, key, entries)
    _end_run(db, key, "done", end)


def _lost(key: RunKey) -> Conflict:
    return Conflict(
        f"Run {key.run_id} no longer owns conversation {key.conversation_id}: it was deleted, or another run took over."
    )


def _end_run(db: sqlite3.Connection, key: RunKey, state: str, end: RunEnd) -> None:
    db.execute(SQL["end_run"], {
        "workspace": key.workspace, "run_id": key.run_id, "state": state, "model_calls": end.model_calls,
        "usage": end.usage, "error": end.error, "at": _stamp(end.ended_at),
    })  # fmt: skip


def _fail(db: sqlite3.Connection, key: RunKey, end: RunEnd) -> None:
    query = {"workspace": key.workspace, "id": key.conversation_id, "run_id": key.run_id, "fence": key.fence}
    _end_run(db, key, "failed", end)
    if db.execute(SQL["holds"], query).fetchone():
        db.execute(SQL["take_back"], query)
        db.execute(SQL["release"], query)
        if db.execute(SQL["unannounced"], query).fetchone():
            _forget(db, key.workspace, key.conversation_id)


def _delete(db: sqlite3.Connection, workspace: str, conversation_id: str, at: datetime) -> None:
    query = {"workspace": workspace, "id": conversation_id, "at": _stamp(at)}
    if db.execute(SQL["bury"], query).fetchone() is None:
        raise _no_such(conversation_id)
    db.execute(SQL["forget_labels"], query)
    _release_ground(db, workspace, conversation_id)


def _release_ground(db: sqlite3.Connection, workspace: str, conversation_id: str) -> None:
    """Keep of a deleted conversation only what living branches stand on; nothing at all if there are none."""
    query = {"workspace": workspace, "id": conversation_id}
    (needed,) = db.execute(SQL["needed"], query).fetchone()
    if needed is None:
        _forget(db, workspace, conversation_id)
    else:
        db.execute(SQL["prune"], {**query, "upto": needed})


def _forget(db: sqlite3.Connection, workspace: str, conversation_id: str) -> None:
    query = {"workspace": workspace, "id": conversation_id}
    below = {owner for owner, _ in db.execute(SQL["segments"], query)}
    db.execute(SQL["prune"], {**query, "upto": 0})
    for name in ("labels", "runs", "settlements", "ledger", "idempotency", "segments", "conversation"):
        db.execute(SQL[f"forget_{name}"], query)
    for owner in below:
        if db.execute(SQL["buried"], {"workspace": workspace, "id": owner}).fetchone():
            _release_ground(db, workspace, owner)


def _clear_after_crash(db: sqlite3.Connection) -> None:
    """Fail the runs of a process that is gone: their conversations are as they were and free again."""
    for workspace, run_id, conversation_id in db.execute(SQL["running"]).fetchall():
        query = {"workspace": workspace, "id": conversation_id}
        found = db.execute(SQL["fence"], query).fetchone()
        end = RunEnd(ended_at=datetime.now(UTC), error="The server stopped during the run.")
        _fail(db, RunKey(workspace, conversation_id, run_id, found[0] if found else 0), end)
