"""Reads `checklist.toml`, the list of everything that this project promises. Standard library only."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

CHECKLIST = Path(__file__).with_name("checklist.toml")
STATES = {"done", "open"}


@dataclass(frozen=True)
class Row:
    """One promise: its id, its area, where it comes from, which part of the work keeps it, and whether it is kept."""

    id: str
    area: str
    source: str
    part: str
    status: str
    sentence: str


@dataclass(frozen=True)
class Checklist:
    """All rows by id, and the SDK generations that each row that is done must pass with."""

    generations: tuple[str, ...]
    rows: dict[str, Row]


def load(path: Path = CHECKLIST) -> Checklist:
    """Return the checklist.

    Raises:
        ValueError: a row appears twice, or has a status that does not exist.
    """
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    rows: dict[str, Row] = {}
    for row in (Row(**fields) for fields in document["rows"]):
        if row.id in rows:
            raise ValueError(f"{row.id} appears twice")
        if row.status not in STATES:
            raise ValueError(f"{row.id}: {row.status!r} is not one of {sorted(STATES)}")
        rows[row.id] = row
    return Checklist(tuple(document["generations"]), rows)
