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

import processes
import report
import uvloop
from figures import FIGURES, Bench, Figure, Numbers
from load import LoadError
from processes import ProcessError
from report import Row
from wire import WireError

REPORTS = Path(__file__).resolve().parent.parent / ".reports"
ROUND_LIMIT = 120.0
BUSY = 0.15  # cores that others may use before the report says so
LEAST_ROUNDS = 3


class Record:
    """What all rounds of all figures came to."""

    def __init__(self) -> None:
        """Start empty."""
        self.numbers: dict[str, list[Numbers]] = defaultdict(list)
        self.others: dict[str, list[float]] = defaultdict(list)

    async def take(self, figure: Figure, bench: Bench) -> None:
        """Run one round of a figure and note how much of the machine others used meanwhile."""
        gc.collect()
        began, machine, own = time.perf_counter(), processes.machine_cpu(), processes.own_cpu()
        async with asyncio.timeout(ROUND_LIMIT):
            self.numbers[figure.name].append(await figure.round(bench))
        spent = time.perf_counter() - began
        others = processes.machine_cpu() - machine - (processes.own_cpu() - own)
        self.others[figure.name].append(max(others, 0.0) / spent)

    def rows(self, figures: list[Figure]) -> list[Row]:
        """Return the lines of the report."""
        return [row for figure in figures for row in self._rows(figure)]

    def _rows(self, figure: Figure) -> list[Row]:
        taken = self.numbers[figure.name]
        if not taken:
            return []
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


async def measure(figures: list[Figure], rounds: int, bench: Bench) -> Record:
    """Run every figure once, then again, so that a busy minute of the machine touches one round of each."""
    record = Record()
    for number in range(rounds):
        for figure in figures:
            print(f"round {number + 1} of {rounds}: {figure.name}", file=sys.stderr, flush=True)
            await record.take(figure, bench)
    return record


def facts(given: argparse.Namespace, root: Path) -> dict[str, object]:
    """Return what has to be known to compare this report with another."""
    return {
        "when": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(), "system": platform.platform(), "python": platform.python_version(),
            "file_system": processes.filesystem(root), "durable_write_ms": processes.durable_write_ms(root),
        },
        "options": {"quick": given.quick, "rounds": given.rounds, "per_write": given.per_write, "serve": given.serve},
    }  # fmt: skip


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    names = [figure.name for figure in FIGURES]
    parser = argparse.ArgumentParser(description="Measure the server and hold it to its budgets.")
    parser.add_argument("--quick", action="store_true", help="look for a shorter time; the figures shake more")
    parser.add_argument("--only", action="append", choices=names, metavar="NAME", help=f"one of: {', '.join(names)}")
    parser.add_argument("--rounds", type=int, default=LEAST_ROUNDS, help="rounds of each figure (default 3)")
    parser.add_argument("--per-write", type=int, default=1, help="tokens that the upstream sends in one write")
    parser.add_argument("--serve", default=processes.SERVE, help="how the server is started (default: %(default)s)")
    parser.add_argument("--report", type=Path, default=REPORTS / "bench.json", help="where the JSON goes")
    given = parser.parse_args(arguments)
    if given.rounds < 1 or given.per_write < 1:
        parser.error("--rounds and --per-write begin at 1")
    return given


def show(record: Record, rows: list[Row], machine: dict[str, object]) -> None:
    """Print the table and what has to be known to read it."""
    print(report.table(rows))
    print(f"\ndisk: {machine['durable_write_ms']:.2f} ms for a durable 4 kB on {machine['file_system']}")
    if machine["file_system"] in ("tmpfs", "ramfs"):
        print("      which is memory: nothing here was durable, and the figures of stored turns are flattered")
    busy = {name: statistics.median(cores) for name, cores in record.others.items()}
    disturbed = ", ".join(f"{name} {cores:.2f}" for name, cores in busy.items() if cores > BUSY)
    if disturbed:
        print(f"others used the machine meanwhile (cores): {disturbed}; run it again when it is quiet")


def main() -> int:
    """Measure, print, write; return the exit code."""
    given = parse()
    figures = [figure for figure in FIGURES if not given.only or figure.name in given.only]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended then, too
    REPORTS.mkdir(exist_ok=True)
    root = Path(tempfile.mkdtemp(prefix="bench-", dir=REPORTS))
    try:
        known = facts(given, root)
        with processes.upstream() as (pid, port):
            bench = Bench(pid, port, given.serve, root, given.quick, given.per_write)
            record = uvloop.run(measure(figures, given.rounds, bench))
    except (LoadError, WireError, ProcessError, TimeoutError, OSError) as error:
        print(f"could not measure: {str(error) or type(error).__name__}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(root, ignore_errors=True)
    rows = record.rows(figures)
    show(record, rows, known["machine"])  # type: ignore[arg-type]  # facts are plain JSON
    report.write_json(given.report, {**known, "others_cores": record.others}, rows)
    return report.exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())
