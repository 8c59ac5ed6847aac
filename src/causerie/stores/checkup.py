"""Verifies a database: that it is whole as a file, and that what the design promises of its rows holds.

It only reads, at one moment, beside a running server if there is one. What it finds it names; it mends nothing.
"""

from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from causerie.errors import SchemaMismatch, StoreUnavailable
from causerie.types.agents import AgentContent
from causerie.types.base import decode

from .base import BEYOND, ConversationRow, EntryRow
from .beside import read_beside
from .checkup_log import Log
from .labels import labels
from .sqlite_file import MEMORY, TROUBLE, connect, migrate
from .sqlite_rows import SQL as STORE
from .sqlite_rows import conversation, over, settlements
from .statements import migrations, statements

SQL = statements("sqlite_checkup")
LARGE = 50_000  # entries, from which on somebody who waits is told how far it is

_COLUMNS = (int, str, str, bytes, str | None, bytes | None, int, bytes | None)

Told = Callable[[str], None]

# What must not be: by the name of the statement that finds it, what is said of each.
RELATIONS = {
    "lost_entries": "entry {} belongs to no conversation",
    "lost_segments": "segment {} belongs to no conversation",
    "lost_labels": "label {!r} belongs to no conversation or agent",
    "lost_runs": "run {} belongs to no conversation",
    "lost_calls": "the record of tool call {} belongs to no conversation",
    "lost_keys": "idempotency key {!r} belongs to no conversation",
    "lost_settlements": "the settlement of {} belongs to no conversation",
    "settlements_in_no_state": "the settlement of {} neither allows nor denies it",
    "settlements_of_no_run": "the settlement of {} belongs to no run",
    "runs_unnamed": "run {} is under way, but the conversation does not name it",
    "runs_not_running": "run {} is named as under way, but is not",
    "runs_overtaken": "run {} has a fencing number that the conversation did not give it",
    "runs_from_elsewhere": "run {} is under way from another head",
    "runs_in_no_state": "run {} is in no state that a run can be in",
    "runs_unreadable": "what run {} was asked for, or what it used, cannot be read",
    "runs_without_inputs": "run {} is under way without all of its inputs",
    "starts_unseen": "it was never announced, and no run is under way that could announce it",
    "calls_in_no_state": "the record of tool call {} is neither reserved nor settled",
    "calls_of_no_run": "the record of tool call {} belongs to no run",
    "keys_of_no_run": "idempotency key {!r} belongs to no run",
    "keys_answered_wrongly": "idempotency key {!r} does not have the answer of its run",
    "tombstones_telling": "it was deleted, but more is kept of it than entries",
    "lost_versions": "version {} belongs to no agent",
    "lost_aliases": "alias {!r} belongs to no agent",
    "aliases_astray": "alias {!r} leads to no version",
    "agents_without_current": "its current version {} is missing",
    "agents_with_gaps": "it has not every version from 0 to {}",
}


class Fault(NamedTuple):
    """Something that must not be with a conversation or an agent; where that has no id it is about the file."""

    workspace: str
    thing: str
    position: int | None
    what: str

    def __str__(self) -> str:
        """Say where, and what is wrong there."""
        place = f"{self.workspace}/{self.thing}" if self.thing else "the file"
        return f"{place}{'' if self.position is None else f', entry {self.position}'}: {self.what}"


class Findings(NamedTuple):
    """What a checkup saw."""

    conversations: int
    entries: int
    agents: int
    faults: list[Fault]

    def __str__(self) -> str:
        """Sum it up."""
        seen = f"{_counted(self.conversations, 'conversation')}, {_counted(self.entries, 'entry', 'entries')}"
        seen += f", {_counted(self.agents, 'agent')}" if self.agents else ""
        return f"{_counted(len(self.faults), 'fault')} in {seen}" if self.faults else f"ok: {seen}"


def check(path: Path, told: Told = lambda _: None) -> Findings:
    """Verify the database at `path`.

    Args:
        told: is told how far it is, where that takes a while.

    Raises:
        StoreUnavailable: there is no database, or nothing of it can be read.
        SchemaMismatch: another version of Causerie wrote it.
    """
    return read_beside(path, lambda db: _Checkup(db, path, told).findings())


class _Checkup:
    """One checkup, on one connection."""

    def __init__(self, db: sqlite3.Connection, path: Path, told: Told) -> None:
        self._db, self._path, self._told = db, path, told
        self._faults = dict[Fault, None]()  # the entries under a branch are met more than once
        self._conversations = self._total = self._read = self._living = 0

    def findings(self) -> Findings:
        _check_version(self._db, self._path)
        relations = [partial(self._relation, name) for name in RELATIONS]
        parts: list[Callable[[], None]] = [self._file, self._schema, self._histories, self._agents, *relations]
        for part in parts:
            try:
                part()
            except TROUBLE as error:
                self._note("", "", None, f"it cannot be read to its end: {error}")
        return Findings(self._conversations, self._total, self._living, list(self._faults))

    def _note(self, workspace: str, id_: str, position: int | None, *faults: str) -> None:
        self._faults.update(dict.fromkeys(Fault(workspace, id_, position, fault) for fault in faults))

    def _file(self) -> None:
        (self._total,) = self._db.execute(SQL["size"]).fetchone()
        if self._total >= LARGE:
            self._told(f"reading every page of {self._path}")
        for (found,) in self._db.execute("PRAGMA integrity_check"):
            lines = [line for line in found.splitlines() if not line.startswith("***")]
            self._note("", "", None, *(line for line in lines if line != "ok"))
        for table, _, parent, _ in self._db.execute("PRAGMA foreign_key_check"):
            self._note("", "", None, f"a row of {table} refers to what is not in {parent}")

    def _schema(self) -> None:
        query = "SELECT name, type, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'"
        with closing(connect(MEMORY)) as model:
            migrate(model)
            expected = {name: rest for name, *rest in model.execute(query)}
        found = {name: rest for name, *rest in self._db.execute(query)}
        for name, (kind, sql) in expected.items():
            if name not in found:
                self._note("", "", None, f"{kind} {name} is missing")
            elif found[name] != [kind, sql]:
                self._note("", "", None, f"{kind} {name} is not what this version made it")

    def _relation(self, name: str) -> None:
        for workspace, id_, which in self._db.execute(SQL[name]):
            self._note(workspace, id_, None, RELATIONS[name].format(which))

    def _histories(self) -> None:
        step = self._total // 10 if self._total >= LARGE else BEYOND
        said = 0
        for workspace, id_ in self._db.execute(SQL["keys"]).fetchall():
            try:
                self._conversation(workspace, id_)
            except (*TROUBLE, TypeError) as error:  # a damaged column can hold anything
                self._note(workspace, id_, None, f"it cannot be read: {error}")
            if self._read - said >= step:
                said = self._read
                self._told(f"{said:,} of {self._total:,} entries")

    def _conversation(self, workspace: str, id_: str) -> None:
        query = {"workspace": workspace, "id": id_}
        found = self._db.execute(SQL["conversation"], query).fetchone()
        if found is None:
            raise TypeError("the index has it, the table has not")
        *columns, deleted_at = found
        if deleted_at is not None:
            self._tombstone(query)
            return
        self._conversations += 1
        try:
            row = conversation(self._db, workspace, columns)
            described = _object(row.metadata) if row.metadata else {}
            _object(row.settings)
        except (ValueError, TypeError, RecursionError) as error:
            self._note(workspace, id_, None, f"its row cannot be read: {error}")
            return
        self._labels(query, described)
        self._ground(row, query)
        self._history(row)

    def _labels(self, query: dict[str, Any], metadata: dict[str, Any]) -> None:
        found = dict(self._db.execute(SQL["labels"], query).fetchall())
        expected = dict(labels(metadata))
        for key in sorted(expected.keys() | found.keys()):
            if expected.get(key) != found.get(key):
                self._note(query["workspace"], query["id"], None, f"label {key!r} is not what its metadata says")

    def _ground(self, row: ConversationRow, query: dict[str, Any]) -> None:
        """See what a branch stands on (D6)."""
        uptos = [upto for _, upto in row.segments]
        ground = max(uptos, default=0)
        ordinals = [ordinal for (ordinal,) in self._db.execute(SQL["ordinals"], query)]
        faults = []
        if ordinals != list(range(len(uptos))) or (row.parent_id is None) != (not uptos):
            faults.append("it has not the segments of a branch, or is none")
        if uptos != sorted(set(uptos)) or min(uptos, default=1) < 1:
            faults.append("its segments do not grow from one to the next")
        if row.head < ground:
            faults.append(f"its head {row.head} lies before the end of what it stands on, {ground}")
        for owner, upto in row.segments:
            after, last = self._db.execute(SQL["owned"], {**query, "id": owner}).fetchone() or (0, 0)
            if owner == row.id or not after < upto <= last:
                faults.append(f"it stands on entry {upto} of {owner}, which owns none there")
        self._note(row.workspace, row.id, None, *faults)
        for (position,) in self._db.execute(SQL["underground"], {**query, "ground": ground}):
            self._note(row.workspace, row.id, position, "it has an entry of its own where it stands on another's")

    def _history(self, row: ConversationRow) -> None:
        """Go through all entries, those beyond the head included: whoever adopts the run goes on from them."""
        log, ground = Log({upto for _, upto in row.segments}), max((upto for _, upto in row.segments), default=0)
        last, whole, said = (row.id, 0), True, deque(sorted(settlements(self._db, row)))
        for owner, position, entry in self._steps(row):
            if entry is None:
                self._note(row.workspace, owner, position, "it is missing")
                whole = False
                continue
            if position > row.head and row.run_id is None:
                self._note(row.workspace, owner, position, "it lies beyond the head, and no run is under way")
            if position == ground and entry.id != row.parent_entry_id:
                self._note(row.workspace, row.id, None, f"it stands on {entry.id}, not on {row.parent_entry_id}")
            while whole and said and said[0].position <= position:
                self._note(row.workspace, owner, position, *log.settle(said.popleft()))
            if whole:
                self._note(row.workspace, owner, position, *log.feed(entry))
            self._read += owner == row.id
            last = (owner, position)
        for one in said if whole else ():
            beyond = [] if one.position <= row.head + 1 else [f"the settlement of {one.entry} lies beyond the head"]
            self._note(row.workspace, row.id, None, *beyond, *log.settle(one))
        if whole and last[1]:
            self._note(row.workspace, *last, *log.close())

    def _steps(self, row: ConversationRow) -> Iterator[tuple[str, int, EntryRow | None]]:
        """Yield each position that there is, or has to be: whose it is, and the entry, None where it is missing."""
        expected = 0
        for part in row.ranges(BEYOND):
            expected = part.after
            for found in over(self._db, STORE["entries"], row.workspace, [part]):
                entry = _entry(found)
                yield from ((part.owner, position, None) for position in range(expected + 1, entry.position))
                yield part.owner, entry.position, entry
                expected = entry.position
            upto = row.head if part.owner == row.id else part.upto
            yield from ((part.owner, position, None) for position in range(expected + 1, upto + 1))

    def _tombstone(self, query: dict[str, Any]) -> None:
        last, said, needed = self._db.execute(SQL["kept"], query).fetchone()
        place = (query["workspace"], query["id"])
        if needed is None:
            self._note(*place, None, "it was deleted and no branch stands on it, but it is kept")
        elif last is not None and last > needed:
            self._note(*place, last, f"it was deleted, and no branch stands on its entries behind {needed}")
        elif said is not None and said > needed:
            self._note(*place, said, "it was deleted, and no branch sees the settlement that stands there")

    def _agents(self) -> None:
        for workspace, id_, *row in self._db.execute(SQL["agents"]).fetchall():
            query = {"workspace": workspace, "id": id_}
            try:
                self._agent(query, *row)
            except (*TROUBLE, ValueError, TypeError, RecursionError) as error:
                self._note(workspace, id_, None, f"its row cannot be read: {error}")

    def _agent(self, query: dict[str, Any], current: int, created_at: str, updated_at: str, deleted_at: Any) -> None:
        for moment in (created_at, updated_at):
            datetime.fromisoformat(moment)
        metadata = dict[str, Any]()
        for number, name, body, made_at in self._db.execute(SQL["agent_versions"], query):
            try:
                datetime.fromisoformat(made_at)
                content = decode(body, AgentContent)
            except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
                self._note(query["workspace"], query["id"], None, f"its version {number} cannot be read: {error}")
                continue
            if content.name != name:
                told = f"the row of its version {number} says {name!r}, its body {content.name!r}"
                self._note(query["workspace"], query["id"], None, told)
            if number == current:
                metadata = content.metadata or {}
        if deleted_at is None:
            self._living += 1
            self._labels(query, metadata)


def _object(text: bytes) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError("what should be a JSON object is none")
    return found


def _entry(found: Any) -> EntryRow:
    position, id_, kind, body, call, prompt, covers, private = found
    if not all(isinstance(value, kinds) for value, kinds in zip(found, _COLUMNS, strict=True)):
        raise TypeError(f"entry {position} has a column of another type")
    return EntryRow(
        position=position, id=id_, kind=kind, body=body, tool_call_id=call, prompt=prompt, covers=covers,
        private=private,
    )  # fmt: skip


def _check_version(db: sqlite3.Connection, path: Path) -> None:
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'migration'").fetchone():
        raise StoreUnavailable(f"{path} is a database, but not one of Causerie's.")
    found = {number for (number,) in db.execute("SELECT number FROM migration")}
    known = {number for number, _, _ in migrations("sqlite")}
    if found != known:
        raise SchemaMismatch(
            f"{path} has schema version {max(found, default=0)}, this version of Causerie has {max(known)}. "
            "Check it with the version that wrote it, or let a server of this version open it first."
        )


def _counted(count: int, one: str, many: str = "") -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
