"""``python -m tests.chaos.run --kills 1000 --seed 1``: kill a server again and again, and see that nothing is lost.

Ends with 1 if anything was. The same seed makes the same conversations, moments and kinds of blows; what exactly is
under way when one strikes depends on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from .book import LAWS, PHASES, Book
from .owner import Scene
from .storm import Plan, weather

BEAT_SECONDS = 0.2
KEEP_SECONDS = 2.0
REPORT = Path(".reports/chaos.json")


def run(plan: Plan, *, quiet: bool = False) -> tuple[Book, float]:
    """Weather one storm; return what was noted, and how many seconds it took.

    The folder of a storm that broke something is kept, and its place printed.
    """
    folder, book, started = Path(tempfile.mkdtemp(prefix="causerie-chaos-")), Book(), time.monotonic()
    step = max(1, plan.kills // 40)

    def progress(kills: int) -> None:
        if not quiet and (kills % step == 0 or kills == plan.kills):
            seconds = time.monotonic() - started
            print(f"{kills:5d} kills, {book.counts['operations acknowledged']:6d} operations acknowledged, "
                  f"{sum(book.breaches.values())} breaches, {seconds:5.0f} s", flush=True)  # fmt: skip

    try:
        asyncio.run(weather(plan, Scene(folder, "", BEAT_SECONDS, KEEP_SECONDS), book, progress))
    except Exception:
        book.blame("faults", f"the storm broke off: {traceback.format_exc()}")
    if book.breaches:
        print(f"what was left is in {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return book, time.monotonic() - started


def report(plan: Plan, book: Book, seconds: float) -> dict[str, Any]:
    """Return everything that was noted, as JSON."""
    return {
        "kills": plan.kills,
        "seed": plan.seed,
        "holders": plan.holders,
        "seconds": round(seconds, 1),
        "python": sys.version.split()[0],
        "breaches": {law: book.breaches[law] for law in LAWS},
        "details": dict(book.details),
        "struck": {phase: book.struck[phase] for phase in PHASES},
        "counts": dict(sorted(book.counts.items())),
    }


def table(figures: dict[str, Any]) -> str:
    """Return the figures as a person reads them."""
    lines = [f"seed {figures['seed']}, {figures['seconds']:.0f} s", "", "what happened"]
    lines += [f"  {times:9,d}  {what}" for what, times in figures["counts"].items()]
    lines += ["", "operations that a blow interrupted, by what they were at"]
    lines += [f"  {figures['struck'][phase]:9,d}  {words}" for phase, words in PHASES.items()]
    lines += ["", "what must not happen"]
    lines += [f"  {figures['breaches'][law]:9,d}  {words}" for law, words in LAWS.items()]
    for law, details in figures["details"].items():
        lines += ["", *(f"{LAWS[law]}: {detail[:1500]}" for detail in details[:3])]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.run", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="how often the server is killed")
    parser.add_argument("--seed", type=int, default=1, help="what decides everything that can be decided")
    parser.add_argument("--holders", type=int, default=12, help="how many hold conversations at the same time")
    parser.add_argument("--stops", type=float, default=0.16, help="in which share of the rounds it is stopped as well")
    parser.add_argument("--minutes", type=float, default=60, help="after which it is given up")
    parser.add_argument("--report", type=Path, default=REPORT, help="where the figures go, as JSON")
    given = parser.parse_args(arguments)
    plan = Plan(given.kills, given.seed, given.holders, given.stops, given.minutes)
    book, seconds = run(plan)
    figures = report(plan, book, seconds)
    given.report.parent.mkdir(parents=True, exist_ok=True)
    given.report.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(table(figures))
    return 1 if book.breaches else 0


if __name__ == "__main__":
    sys.exit(main())
