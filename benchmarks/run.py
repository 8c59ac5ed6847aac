"""`make bench`: measure the server beside direct calls of the same upstream, and hold it to its budgets.

    python benchmarks/run.py [--quick] [--only NAME ...] [--rounds N]

Prints a table, writes `.reports/bench.json`. Exit code 1: a figure is more than twice off its budget; 2: it could
not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import gc
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import processes
import report
import uvloop
from bench import Bench, Numbers
from figures import FIGURES, Figure
from load import LoadError
from processes import ProcessError
from report import Row
from wire import WireError

REPORTS = Path(__file__).resolve().parent.parent / ".reports"
ROUND_LIMIT = 120.0
BUSY = 0.15  # cores that others may use before the report says so
LEAST_ROUNDS = 3


class Taken(NamedTuple):
    """One round of one figure, and how many cores other processes used meanwhile."""

    others: float
    numbers: Numbers


class Record:
    """What the rounds of all figures came to."""

    def __init__(self, rounds: int) -> None:
        """Start empty; `rounds` of each figure are going to count."""
        self._rounds_wanted = rounds
        self.taken: dict[str, list[Taken]] = defaultdict(list)

    async def take(self, figure: Figure, bench: Bench) -> None:
        """Run one round of a figure and note how much of the machine others used meanwhile."""
        gc.collect()
        began, machine, own = time.perf_counter(), processes.machine_cpu(), processes.own_cpu()
        async with asyncio.timeout(ROUND_LIMIT):
            numbers = await figure.round(bench)
        spent = time.perf_counter() - began
        others = processes.machine_cpu() - machine - (processes.own_cpu() - own)
        self.taken[figure.name].append(Taken(max(others, 0.0) / spent, numbers))

    def counted(self, figure: Figure) -> list[Taken]:
        """Return the rounds that count: those in which others were least in the way, whatever they came to."""
        return sorted(self.taken[figure.name], key=lambda one: one.others)[: self._rounds_wanted]

    def disturbed(self, figure: Figure) -> bool:
        """Whether others were in the way of too many of the rounds so far."""
        return any(one.others > BUSY for one in self.counted(figure))

    def rows(self, figures: list[Figure]) -> list[Row]:
        """Return the lines of the report."""
        return [row for figure in figures for row in self._rows(figure)]

    def _rows(self, figure: Figure) -> list[Row]:
        taken = [one.numbers for one in self.counted(figure)]
        middle = {key: statistics.median(numbers[key] for numbers in taken) for key in taken[0]}
        return [
            Row(
                name=f"{figure.name}.{line.key}",
                label=line.label,
                unit=line.unit,
                rounds=[numbers[line.key] for numbers in taken],
                direct=[numbers[line.direct] for numbers in taken] if line.direct else [],
                budget=line.budget,
                detail=line.detail.format(**middle),
            )
            for line in figure.lines
        ]


async def measure(figures: list[Figure], rounds: int, patience: int, bench: Bench) -> Record:
    """Run every figure once, then again, so that a busy minute of the machine touches one round of each.

    Up to `patience` more rounds are taken of figures that others were in the way of.
    """
    record = Record(rounds)
    for number in range(rounds + patience):
        for figure in figures:
            if number < rounds or record.disturbed(figure):
                print(f"round {number + 1}: {figure.name}", file=sys.stderr, flush=True)
                await record.take(figure, bench)
    return record


def facts(root: Path) -> dict[str, object]:
    """Return what has to be known of the machine to compare this report with another."""
    return {
        "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(),
        "file_system": processes.filesystem(root), "durable_write_ms": processes.durable_write_ms(root),
    }  # fmt: skip


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    names = [figure.name for figure in FIGURES]
    parser = argparse.ArgumentParser(description="Measure the server and hold it to its budgets.")
    parser.add_argument("--quick", action="store_true", help="look for a shorter time; the figures shake more")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help="rounds of each figure (default 3)")
    parser.add_argument("--patience", type=int, default=2, help="more rounds where others were in the way (default 2)")
    parser.add_argument("--per-write", type=int, default=1, help="tokens that the upstream sends in one write")
    parser.add_argument("--serve", default=processes.SERVE, help="how the server is started (default: %(default)s)")
    parser.add_argument("--report", type=Path, default=REPORTS / "bench.json", help="where the JSON goes")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.per_write < 1 or given.patience < 0:
        parser.error("--rounds and --per-write begin at 1, --patience at 0")
    return given


def show(record: Record, figures: list[Figure], machine: dict[str, object]) -> None:
    """Print the table and what has to be known to read it."""
    print(report.table(record.rows(figures)))
    print(f"\ndisk: {machine['durable_write_ms']:.2f} ms for a durable 4 kB on {machine['file_system']}")
    if machine["file_system"] in ("tmpfs", "ramfs"):
        print("      which is memory: nothing here was durable, and the figures of stored turns are flattered")
    busy = {figure.name: statistics.median(one.others for one in record.counted(figure)) for figure in figures}
    disturbed = ", ".join(f"{name} {cores:.2f}" for name, cores in busy.items() if cores > BUSY)
    if disturbed:
        print(f"busy: others used the machine meanwhile (cores): {disturbed}; run it again when it is quiet")


def main() -> int:
    """Measure, print, write; return the exit code."""
    given = parse()
    figures = [figure for figure in FIGURES if not given.only or figure.name in given.only]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended then, too
    REPORTS.mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="bench-", dir=REPORTS))
    try:
        machine = facts(root)
        with processes.upstream() as (pid, port):
            bench = Bench(pid, port, given.serve, root, given.quick, given.per_write)
            record = uvloop.run(measure(figures, given.rounds, given.patience, bench))
    except (LoadError, WireError, ProcessError, TimeoutError, OSError) as error:
        print(f"could not measure: {str(error) or type(error).__name__}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(root, ignore_errors=True)
    rows = record.rows(figures)
    options = {name: getattr(given, name) for name in ("quick", "rounds", "patience", "per_write", "serve")}
    known = {"when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "options": options}
    show(record, figures, machine)
    others = {name: [one.others for one in taken] for name, taken in record.taken.items()}
    numbers = {name: [one.numbers for one in taken] for name, taken in record.taken.items()}
    everything: dict[str, object] = {**known, "machine": machine, "others_cores": others, "numbers": numbers}
    report.write_json(given.report, everything, rows)
    return report.exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())
