"""``python -m tests.chaos.faults``: break a copy of the package on purpose, and see that chaos notices.

Each fault takes away one thing that a promise rests on. The copy lies in a folder of its own and goes when it is done.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from .book import LAWS

ROOT = Path(__file__).parents[2]
_LIMIT = 600.0
_IGNORED = shutil.ignore_patterns("__pycache__", "*.egg-info")


class Fault(NamedTuple):
    """One thing taken away.

    Attributes:
        file: in ``src/causerie``.
        old, new: text that stands there exactly once, and what it becomes.
        breaks: the laws of which one has to be seen broken.
        kills, stops: how hard it has to blow before that can be seen.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: tuple[str, ...]
    kills: int = 30
    stops: float = 0.1


FAULTS = (
    Fault(
        "a commit does not ask who owns the run", "stores/sql/sqlite.sql",
        "WHERE workspace = :workspace AND id = :id AND fence = :fence AND run_id = :run_id AND head = :start;",
        "WHERE workspace = :workspace AND id = :id AND head = :start;",
        ("lost", "invalid", "doubled", "busy", "events"), kills=40, stops=0.9,
    ),
    Fault(
        "what a client has to discard is not said", "engine/resume.py",
        "RunAdoptedEvent(created_at=clock.now(), run_id=run.id, discard=discard)",
        "RunAdoptedEvent(created_at=clock.now(), run_id=run.id, discard=[])",
        ("events", "lost"),
    ),
    Fault(
        "a tool's result is not settled", "engine/calls.py",
        "await self._journal.settle(reservation.key, encode(result))", "pass",
        ("effects",),
    ),
    Fault(
        "nobody looks whether a call was made before", "engine/calls.py",
        "recorded = await self._journal.reserve(reservation)",
        "await self._journal.reserve(reservation)\n        recorded = None",
        ("effects",),
    ),
    Fault(
        "a run is told as done before it is durable", "engine/run.py",
        "await self._journal.commit(rows, head, self._end(state, response=response))",
        "asyncio.ensure_future(self._journal.commit(rows, head, self._end(state, response=response)))",
        ("lost", "doubled", "busy", "invalid", "refused"), kills=60,
    ),
    Fault(
        "an idempotency key is forgotten with the process", "stores/sqlite.py",
        "return Recalled(*found) if found else None", "return None",
        ("doubled", "busy", "refused"),
    ),
)  # fmt: skip


def breaches(fault: Fault, seed: int) -> dict[str, int]:
    """Run chaos over a broken copy; return how often each law was broken."""
    with tempfile.TemporaryDirectory(prefix="causerie-fault-") as folder:
        copy = Path(folder)
        for part in ("src", "tests"):
            shutil.copytree(ROOT / part, copy / part, ignore=_IGNORED)
        file = copy / "src/causerie" / fault.file
        text = file.read_text("utf-8")
        if text.count(fault.old) != 1:
            raise LookupError(f"{fault.name}: what it breaks does not stand in {fault.file} exactly once any more")
        file.write_text(text.replace(fault.old, fault.new), "utf-8")
        report = copy / "report.json"
        command = [
            sys.executable, "-m", "tests.chaos.run", "--kills", str(fault.kills), "--stops", str(fault.stops),
            "--seed", str(seed), "--report", report,
        ]  # fmt: skip
        environment = os.environ | {"PYTHONPATH": str(copy / "src"), "TMPDIR": folder}
        subprocess.run(
            command, cwd=copy, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False,
            timeout=_LIMIT,
        )  # fmt: skip
        found: dict[str, int] = json.loads(report.read_text("utf-8"))["breaches"]
        return {law: times for law, times in found.items() if times}


def main(arguments: list[str] | None = None) -> int:
    """Try every fault; end with 1 if one was not noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="faults whose name has this in it")
    given = parser.parse_args(arguments)
    unseen = 0
    for fault in FAULTS:
        if given.only in fault.name:
            found = breaches(fault, given.seed)
            seen = bool(found.keys() & set(fault.breaks))
            unseen += not seen
            what = ", ".join(f"{times} {LAWS[law]}" for law, times in found.items()) or "nothing"
            print(f"{'seen  ' if seen else 'UNSEEN'}  {fault.name}: {what}", flush=True)
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
