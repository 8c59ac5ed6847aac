"""The jobs of the SQLite store that are about agents: each a function of a connection, as in `sqlite_rows`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from causerie.errors import NotFound

from .agents import AgentQuery, AgentRow, AliasRow
from .labels import labels
from .sqlite_rows import SQL as SHARED
from .sqlite_rows import sound, stamp
from .statements import statements

SQL = statements("sqlite_agents")


class _Described(msgspec.Struct):
    """What of a version's body an agent is found by."""

    metadata: dict[str, Any] | None = None


def add(db: sqlite3.Connection, row: AgentRow) -> None:
    """Write a new agent; see `AgentStore.add_agent`."""
    db.execute(SQL["add"], _written(row))
    _add_version(db, row)


def find(
    db: sqlite3.Connection, workspace: str, agent_id: str, version: int | str | None, *, deleted: bool = False
) -> AgentRow:
    """Read an agent; see `AgentStore.agent`."""
    query = {
        "workspace": workspace, "id": agent_id, "deleted": deleted,
        "number": version if isinstance(version, int) else None,
        "alias": version if isinstance(version, str) else None,
    }  # fmt: skip
    found = db.execute(SQL["find"], query).fetchone()
    if found is None:
        raise _missing(db, query)
    return _row(workspace, found)


def page(db: sqlite3.Connection, workspace: str, query: AgentQuery) -> list[AgentRow]:
    """Read a page of agents; see `AgentStore.agents`."""
    wanted = {
        **query._asdict(), "workspace": workspace, "labels": json.dumps(labels(query.metadata)),
        "sources": None if query.sources is None else json.dumps(query.sources),
    }  # fmt: skip
    return [_row(workspace, found) for found in db.execute(SQL["page"], wanted)]


def missing(db: sqlite3.Connection, workspace: str, agent_ids: Sequence[str]) -> list[str]:
    """Say which ids are no agents'; see `AgentStore.missing_agents`."""
    query = {"workspace": workspace, "ids": json.dumps(agent_ids)}
    there = {id_ for (id_,) in db.execute(SQL["there"], query)}
    return [id_ for id_ in agent_ids if id_ not in there]  # what SQLite reads of JSON ends at a zero


def versions(db: sqlite3.Connection, workspace: str, agent_id: str, *, offset: int, limit: int) -> list[AgentRow]:
    """Read an agent's versions; see `AgentStore.agent_versions`."""
    query = {"workspace": workspace, "id": agent_id, "offset": offset, "limit": limit}
    found = db.execute(SQL["versions"], query).fetchall()
    if not found:
        _check_there(db, workspace, agent_id)
    return [_row(workspace, one) for one in found]


def change(db: sqlite3.Connection, workspace: str, agent_id: str, changed: Callable[[AgentRow], AgentRow]) -> AgentRow:
    """Write a new version; see `AgentStore.change_agent`."""
    old = find(db, workspace, agent_id, None)
    number = old.latest + 1
    row = msgspec.structs.replace(changed(old), version=number, latest=number, current=number)
    db.execute(SQL["update"], _written(row))
    _add_version(db, row)
    return row


def switch(db: sqlite3.Connection, workspace: str, agent_id: str, version: int, at: datetime) -> AgentRow:
    """Make another version current; see `AgentStore.switch_agent`."""
    found = find(db, workspace, agent_id, version)
    row = msgspec.structs.replace(found, current=version, updated_at=at)
    db.execute(SQL["update"], _written(row))
    _label(db, row)
    return row


def set_alias(
    db: sqlite3.Connection, workspace: str, agent_id: str, alias: str, *, version: int, at: datetime
) -> AliasRow:
    """Name a version; see `AgentStore.set_alias`."""
    find(db, workspace, agent_id, version)
    query = {"workspace": workspace, "id": agent_id, "alias": alias, "version": version, "at": stamp(at)}
    return _alias(db.execute(SQL["set_alias"], query).fetchone())


def aliases(db: sqlite3.Connection, workspace: str, agent_id: str) -> list[AliasRow]:
    """Read an agent's names for versions; see `AgentStore.aliases`."""
    _check_there(db, workspace, agent_id)
    return [_alias(found) for found in db.execute(SQL["aliases"], {"workspace": workspace, "id": agent_id})]


def drop_alias(db: sqlite3.Connection, workspace: str, agent_id: str, alias: str) -> None:
    """Take a name away; see `AgentStore.drop_alias`."""
    _check_there(db, workspace, agent_id)
    query = {"workspace": workspace, "id": agent_id, "alias": alias}
    if db.execute(SQL["drop_alias"], query).rowcount != 1:
        raise _no_alias(agent_id, alias)


def delete(db: sqlite3.Connection, workspace: str, agent_id: str, at: datetime) -> None:
    """Delete an agent; see `AgentStore.delete_agent`."""
    query = {"workspace": workspace, "id": agent_id, "at": stamp(at)}
    if db.execute(SQL["bury"], query).rowcount != 1:
        raise _no_such(agent_id)
    db.execute(SQL["forget_aliases"], query)
    db.execute(SHARED["forget_labels"], query)
    sweep(db)


def sweep(db: sqlite3.Connection) -> None:
    """Forget deleted agents that no run under way can stand on."""
    db.execute(SQL["sweep_versions"])
    db.execute(SQL["sweep"])


def _row(workspace: str, found: Any) -> AgentRow:
    id_, source, chat, created_at, updated_at, current, latest, version, name, body, made_at = found
    sound([(body,)])
    return AgentRow(
        workspace=workspace, id=id_, source=source, deployment_chat=bool(chat),
        created_at=datetime.fromisoformat(created_at), updated_at=datetime.fromisoformat(updated_at), current=current,
        latest=latest, version=version, name=name, body=body, made_at=datetime.fromisoformat(made_at),
    )  # fmt: skip


def _alias(found: Any) -> AliasRow:
    alias, version, created_at, updated_at = found
    return AliasRow(alias, version, datetime.fromisoformat(created_at), datetime.fromisoformat(updated_at))


def _written(row: AgentRow) -> dict[str, Any]:
    return {
        "workspace": row.workspace, "id": row.id, "version": row.current, "source": row.source,
        "deployment_chat": row.deployment_chat, "created_at": stamp(row.created_at),
        "updated_at": stamp(row.updated_at),
    }  # fmt: skip


def _add_version(db: sqlite3.Connection, row: AgentRow) -> None:
    db.execute(SQL["add_version"], {
        "workspace": row.workspace, "id": row.id, "version": row.version, "name": row.name, "body": row.body,
        "made_at": stamp(row.made_at),
    })  # fmt: skip
    _label(db, row)


def _label(db: sqlite3.Connection, row: AgentRow) -> None:
    """An agent is found by the metadata of its current version."""
    db.execute(SHARED["forget_labels"], {"workspace": row.workspace, "id": row.id})
    for key, value in labels(msgspec.json.decode(row.body, type=_Described).metadata or {}):
        db.execute(SHARED["add_label"], {"workspace": row.workspace, "thing": row.id, "key": key, "value": value})


def _check_there(db: sqlite3.Connection, workspace: str, agent_id: str) -> None:
    if not db.execute(SQL["exists"], {"workspace": workspace, "id": agent_id, "deleted": False}).fetchone():
        raise _no_such(agent_id)


def _missing(db: sqlite3.Connection, query: dict[str, Any]) -> NotFound:
    """Say what it is that is not there: the agent, the version or the alias."""
    agent_id = query["id"]
    if not db.execute(SQL["exists"], query).fetchone():
        return _no_such(agent_id)
    if query["alias"] is not None:
        return _no_alias(agent_id, query["alias"])
    return NotFound(f"Agent {agent_id} has no version {query['number']}")


def _no_such(agent_id: str) -> NotFound:
    return NotFound(f"Agent not found: {agent_id}")


def _no_alias(agent_id: str, alias: str) -> NotFound:
    return NotFound(f"Agent {agent_id} has no version with the alias '{alias}'")
