"""What is written into stores under test: small rows that can be told apart, and runs that write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from causerie.stores.base import ConversationRow, EntryRow, Operation, RunEnd, RunStart, Segment

HERE = "here"
"""The workspace that tests work in."""
BEGAN = datetime(2025, 3, 1, 12, 0, 0, 250_000, UTC)
ENDED = BEGAN + timedelta(seconds=3, microseconds=7)
END = RunEnd(ended_at=ENDED, model_calls=2, usage=b'{"prompt_tokens":1}')
FAILED = RunEnd(ended_at=ENDED, state="failed", model_calls=1, error="The model server is away.", code=503)
PROGRESS = RunEnd(ended_at=ENDED, state="running", model_calls=1, usage=b'{"prompt_tokens":1}')


def conversation(id_: str = "conv_a", **fields: Any) -> ConversationRow:
    """Return a new conversation."""
    given = {"workspace": HERE, "id": id_, "created_at": BEGAN, "updated_at": BEGAN, "settings": b'{"model":"m"}'}
    return ConversationRow(**(given | fields))


def entry(position: int, by: str = "conv_a", kind: str = "message.input", **fields: Any) -> EntryRow:
    """Return an entry whose id and body say who wrote it and where."""
    body = json.dumps({"id": f"{by}-{position}", "type": kind}).encode()
    return EntryRow(**({"position": position, "id": f"{by}-{position}", "kind": kind, "body": body} | fields))


def entries(after: int, upto: int, by: str = "conv_a") -> list[EntryRow]:
    """Return entries at positions after `after` up to and including `upto`."""
    return [entry(position, by) for position in range(after + 1, upto + 1)]


def ids(rows: Iterable[EntryRow]) -> list[str]:
    """Return the ids of rows."""
    return [row.id for row in rows]


def began(
    row: ConversationRow, written: Sequence[EntryRow] = (), *, run: str = "run_1", operation: Operation = "start",
    announced: bool = False,
) -> RunStart:  # fmt: skip
    """Return the beginning of a run that starts from the head of `row`."""
    return RunStart(
        run_id=run, operation=operation, conversation=row, head=row.head, entries=written, started_at=BEGAN,
        announced=announced,
    )  # fmt: skip


def next_run(
    row: ConversationRow, written: Sequence[EntryRow] = (), *, run: str = "run_2", announced: bool = False
) -> RunStart:
    """Return the beginning of an append."""
    return began(row, written, run=run, operation="append", announced=announced)


def branch(
    parent: ConversationRow, upto: int, id_: str = "conv_b", written: Sequence[EntryRow] = (), *, run: str = "run_b",
    announced: bool = False, **fields: Any,
) -> RunStart:  # fmt: skip
    """Return the beginning of a restart of `parent` after its first `upto` entries (D6)."""
    ground = tuple(Segment(part.owner, part.upto) for part in parent.ranges(upto))
    row = conversation(
        id_, head=upto, segments=ground, parent_id=parent.id, parent_entry_id=f"{parent.id}-{upto}", **fields
    )
    return began(row, written, run=run, operation="restart", announced=announced)
