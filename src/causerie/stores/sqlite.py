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
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from causerie.errors import StoreUnavailable

from . import sqlite_agents as agents
from . import sqlite_rows as rows
from .base import (
    AgentQuery,
    AgentRow,
    AliasRow,
    ConversationRow,
    EntryRow,
    Place,
    Range,
    Recalled,
    Recorded,
    Reservation,
    RunEnd,
    RunKey,
    RunRow,
    RunStart,
)
from .labels import labels
from .sqlite_file import MEMORY, TROUBLE, FileLock, connect, migrate, unavailable
from .sqlite_rows import SQL
from .writer import Job, Writer

T = TypeVar("T")
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
        self._owner = ""
        self._connections: list[sqlite3.Connection] = []

    async def open(self, owner: str) -> None:
        """Take the lock, bring the schema up to date, drop what nobody can ask for; see `Store.open`."""
        if self._lock is not None:
            self._lock.take()
        self._writer.start()
        try:
            await self._writer.submit(lambda db: rows.take_store(db, owner))
            await self._writer.submit(agents.sweep)
            self._owner = owner
        except StoreUnavailable as error:
            await self.close()
            raise StoreUnavailable(f"{self._path}: {error.message}") from error
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

    async def load(self, workspace: str, conversation_id: str, *, announced: bool = True) -> ConversationRow:
        """Return a conversation; see `Store.load`."""
        return await self._read(lambda db: rows.load(db, workspace, conversation_id, announced=announced))

    async def page(
        self, workspace: str, *, offset: int, limit: int, metadata: Mapping[str, Any]
    ) -> list[ConversationRow]:
        """Return a page of conversations; see `Store.page`."""
        wanted = json.dumps(labels(metadata))
        query = {"workspace": workspace, "limit": limit, "offset": offset, "labels": wanted}
        return await self._read(
            lambda db: [rows.conversation(db, workspace, row) for row in db.execute(SQL["page"], query)]
        )

    async def entries(self, workspace: str, ranges: Sequence[Range]) -> list[EntryRow]:
        """Return entry rows; see `Store.entries`."""
        found = await self._read(lambda db: rows.sound(rows.over(db, SQL["entries"], workspace, ranges)))
        return [
            EntryRow(
                position=position, id=id_, kind=kind, body=body, tool_call_id=call, prompt=prompt, covers=covers,
                private=private,
            )
            for position, id_, kind, body, call, prompt, covers, private in found
        ]  # fmt: skip

    async def bodies(self, workspace: str, ranges: Sequence[Range], *, messages_only: bool = False) -> list[bytes]:
        """Return entries as the API shows them; see `Store.bodies`."""
        name = "messages" if messages_only else "bodies"
        found = await self._read(lambda db: rows.sound(rows.over(db, SQL[name], workspace, ranges)))
        return [body for (body,) in found]

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
        return self._writer.submit(lambda db: rows.begin(db, start, self._owner))

    def journal(self, key: RunKey, entries: Sequence[EntryRow], progress: RunEnd) -> Awaitable[None]:
        """Write entries beyond the head; see `Store.journal`."""
        return self._writer.submit(lambda db: rows.journal(db, key, entries, progress))

    def commit(
        self, key: RunKey, entries: Sequence[EntryRow], *, start: int, head: int, end: RunEnd
    ) -> Awaitable[None]:
        """Move the head; see `Store.commit`."""
        return self._writer.submit(lambda db: rows.commit(db, key, entries, start=start, head=head, end=end))

    def fail(self, key: RunKey, end: RunEnd) -> Awaitable[bool]:
        """Take a run back; see `Store.fail`."""
        return self._writer.submit(lambda db: rows.fail(db, key, end))

    async def unfinished(self) -> list[RunRow]:
        """Return runs without an owner; see `Store.unfinished`."""
        return await self._read(lambda db: [rows.run(row) for row in db.execute(SQL["unfinished"])])

    async def runs(self, workspace: str, conversation_id: str, *, limit: int) -> list[RunRow]:
        """Return a conversation's runs; see `Store.runs`."""
        query = {"workspace": workspace, "id": conversation_id, "limit": limit}
        return await self._read(lambda db: [rows.run(row) for row in db.execute(SQL["runs"], query)])

    async def run(self, workspace: str, conversation_id: str, run_id: str) -> RunRow | None:
        """Return one run; see `Store.run`."""
        query = {"workspace": workspace, "id": conversation_id, "run_id": run_id}
        found = await self._read(lambda db: db.execute(SQL["run"], query).fetchone())
        return rows.run(found) if found else None

    def adopt(self, run: RunRow) -> Awaitable[RunKey]:
        """Take a run over; see `Store.adopt`."""
        return self._writer.submit(lambda db: rows.adopt(db, run, self._owner))

    def announce(self, workspace: str, conversation_id: str) -> Awaitable[None]:
        """Note that a conversation's id has left; see `Store.announce`."""
        return self._writer.submit(lambda db: rows.announce(db, workspace, conversation_id))

    async def recall(self, workspace: str, scope: str, key: str) -> Recalled | None:
        """Return what an idempotency key stands for; see `Store.recall`."""
        query = {"workspace": workspace, "scope": scope, "key": key, "now": rows.now()}
        found = await self._read(lambda db: db.execute(SQL["recall"], query).fetchone())
        return Recalled(*found) if found else None

    def reserve(self, key: RunKey, call: Reservation) -> Awaitable[Recorded | None]:
        """Note that a tool is about to be called; see `Store.reserve`."""
        return self._writer.submit(lambda db: rows.reserve(db, key, call))

    async def recorded(self, workspace: str, conversation_id: str, reservation: str) -> Recorded | None:
        """Return what is known of a call; see `Store.recorded`."""
        return await self._read(lambda db: rows.recorded(db, workspace, conversation_id, reservation))

    def settle(self, key: RunKey, reservation: str, result: bytes) -> Awaitable[None]:
        """Note what a call came to; see `Store.settle`."""
        return self._writer.submit(lambda db: rows.settle(db, key, reservation, result))

    def beat(self) -> Awaitable[bool]:
        """Say that this owner is alive; see `Store.beat`."""
        query = {"id": self._owner, "now": rows.now()}
        return self._writer.submit(lambda db: db.execute(SQL["beat"], query).rowcount == 1)

    def delete(self, workspace: str, conversation_id: str, at: datetime) -> Awaitable[None]:
        """Delete a conversation; see `Store.delete`."""
        return self._writer.submit(lambda db: rows.delete(db, workspace, conversation_id, at))

    def add_agent(self, row: AgentRow) -> Awaitable[None]:
        """Write a new agent; see `AgentStore.add_agent`."""
        return self._writer.submit(lambda db: agents.add(db, row))

    async def agent(
        self, workspace: str, agent_id: str, version: int | str | None = None, *, deleted: bool = False
    ) -> AgentRow:
        """Return an agent in one of its versions; see `AgentStore.agent`."""
        return await self._read(lambda db: agents.find(db, workspace, agent_id, version, deleted=deleted))

    async def agents(self, workspace: str, query: AgentQuery) -> list[AgentRow]:
        """Return a page of agents; see `AgentStore.agents`."""
        return await self._read(lambda db: agents.page(db, workspace, query))

    async def missing_agents(self, workspace: str, agent_ids: Sequence[str]) -> list[str]:
        """Say which ids are no agents'; see `AgentStore.missing_agents`."""
        return await self._read(lambda db: agents.missing(db, workspace, agent_ids))

    async def agent_versions(self, workspace: str, agent_id: str, *, offset: int, limit: int) -> list[AgentRow]:
        """Return an agent's versions; see `AgentStore.agent_versions`."""
        return await self._read(lambda db: agents.versions(db, workspace, agent_id, offset=offset, limit=limit))

    def change_agent(
        self, workspace: str, agent_id: str, change: Callable[[AgentRow], AgentRow]
    ) -> Awaitable[AgentRow]:
        """Write a new version; see `AgentStore.change_agent`."""
        return self._writer.submit(lambda db: agents.change(db, workspace, agent_id, change))

    def switch_agent(self, workspace: str, agent_id: str, version: int, at: datetime) -> Awaitable[AgentRow]:
        """Make another version current; see `AgentStore.switch_agent`."""
        return self._writer.submit(lambda db: agents.switch(db, workspace, agent_id, version, at))

    def set_alias(self, workspace: str, agent_id: str, alias: str, version: int, at: datetime) -> Awaitable[AliasRow]:
        """Name a version; see `AgentStore.set_alias`."""
        return self._writer.submit(lambda db: agents.set_alias(db, workspace, agent_id, alias, version=version, at=at))

    async def aliases(self, workspace: str, agent_id: str) -> list[AliasRow]:
        """Return an agent's names for versions; see `AgentStore.aliases`."""
        return await self._read(lambda db: agents.aliases(db, workspace, agent_id))

    def drop_alias(self, workspace: str, agent_id: str, alias: str) -> Awaitable[None]:
        """Take a name away; see `AgentStore.drop_alias`."""
        return self._writer.submit(lambda db: agents.drop_alias(db, workspace, agent_id, alias))

    def delete_agent(self, workspace: str, agent_id: str, at: datetime) -> Awaitable[None]:
        """Delete an agent; see `AgentStore.delete_agent`."""
        return self._writer.submit(lambda db: agents.delete(db, workspace, agent_id, at))

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
        except TROUBLE as error:
            raise unavailable(error) from error
