"""Budgets, verdicts and how they are shown: a table for people, a JSON file for programs."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

Verdict = Literal["ok", "over", "more than twice off", "-"]
TOO_FAR = 2.0


class Budget(NamedTuple):
    """What a figure may be: at most `limit`, or at least that much where `floor`."""

    limit: float
    floor: bool = False

    def misses_by(self, value: float) -> float:
        """Return how many times worse than the budget `value` is; up to 1 it is kept."""
        if self.floor:
            return self.limit / value if value > 0 else float("inf")
        return value / self.limit

    def verdict(self, value: float) -> Verdict:
        """Return the word for `value`."""
        times = self.misses_by(value)
        return "ok" if times <= 1 else "over" if times <= TOO_FAR else "more than twice off"

    def __str__(self) -> str:
        """Write it as it is said."""
        return f"{'>=' if self.floor else '<='} {self.limit:,g}"


class Row(msgspec.Struct, kw_only=True):
    """One figure: a value for each round, and the same thing asked of the upstream directly where that makes sense."""

    name: str
    label: str
    unit: str
    rounds: list[float]
    direct: list[float] = []
    budget: Budget | None = None
    detail: str = ""

    @property
    def value(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.rounds)

    @property
    def verdict(self) -> Verdict:
        """Whether the figure keeps its budget; a dash where it has none."""
        return self.budget.verdict(self.value) if self.budget else "-"

    def as_json(self) -> dict[str, object]:
        """Return what the report file holds of it."""
        kept = msgspec.to_builtins(self)
        kept["direct_value"] = statistics.median(self.direct) if self.direct else None
        kept["budget"] = self.budget._asdict() if self.budget else None
        return {**kept, "value": self.value, "verdict": self.verdict}


def number(value: float) -> str:
    """Write a number with as many digits as mean something."""
    digits = max(0, 3 - len(str(int(abs(value)))))
    return f"{value:,.{digits}f}"


def table(rows: list[Row]) -> str:
    """Return the rows as a table of plain text, each with what belongs to it on a line of its own."""
    titles = ("figure", "measured", "rounds", "direct", "budget", "verdict")
    cells = [titles, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(titles))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    out = [lines[0], "  ".join("-" * width for width in widths)]
    for row, line in zip(rows, lines[1:], strict=True):
        out.append(line)
        if row.detail:
            out.append(f"    {row.detail}")
    return "\n".join(out)


def _cells(row: Row) -> tuple[str, ...]:
    spread = f"{number(min(row.rounds))} to {number(max(row.rounds))}" if len(row.rounds) > 1 else ""
    direct = number(statistics.median(row.direct)) if row.direct else ""
    budget = str(row.budget) if row.budget else ""
    return row.label, f"{number(row.value)} {row.unit}", spread, direct, budget, row.verdict


def write_json(path: Path, facts: dict[str, object], rows: list[Row]) -> None:
    """Write everything to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    body = msgspec.json.encode({"schema": 1, **facts, "figures": [row.as_json() for row in rows]})
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.format(body, indent=1))
    partial.replace(path)


def exit_code(rows: list[Row]) -> int:
    """Return 1 if any figure is more than twice off its budget, else 0."""
    return int(any(row.verdict == "more than twice off" for row in rows))
