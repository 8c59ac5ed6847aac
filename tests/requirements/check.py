"""Judges the checklist by the reports of test runs: ``python -m tests.requirements.check REPORT...``.

A row that is ticked as done must have at least one passing test in the run of every SDK generation, and none that
failed or was skipped in any. A test that needs no client runs once, without an SDK, and counts for every generation.
Prints what is wrong and one line that sums up.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from .checklist import Checklist, load

Outcomes = dict[str, dict[str, str]]
"""Row id to test id to outcome."""


def read(paths: list[Path]) -> dict[str, Outcomes]:
    """Return the outcomes of each SDK generation: its reports merged, and with them those of runs without an SDK."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    generations = {report["generation"] for report in reports} - {None}
    merged: dict[str, Outcomes] = {generation: defaultdict(dict) for generation in generations}
    for report in reports:
        for generation in [report["generation"]] if report["generation"] else generations:
            for row, tests in report["rows"].items():
                merged[generation][row].update(tests)
    return merged


def problems(checklist: Checklist, reports: dict[str, Outcomes]) -> list[str]:
    """Return a sentence for everything that keeps the checklist from being true."""
    found = [f"there is no report of a run with {wanted}" for wanted in checklist.generations if wanted not in reports]
    for generation, rows in sorted(reports.items()):
        unknown = rows.keys() - checklist.rows.keys()
        found += [f"{row} is tested ({generation}) but is no row of the checklist" for row in sorted(unknown)]
        for row in sorted(rows.keys() & checklist.rows.keys()):
            if checklist.rows[row].status == "done":
                bad = ((test, outcome) for test, outcome in rows[row].items() if outcome != "passed")
                found += [f"{row} ({generation}): {test} {outcome}" for test, outcome in sorted(bad)]
    for row in _done(checklist):
        missing = [wanted for wanted in checklist.generations if "passed" not in _outcomes(reports, wanted, row)]
        found += [f"{row} is done but no test of it passed with {' nor '.join(missing)}"] if missing else []
    return found


def summary(checklist: Checklist, reports: dict[str, Outcomes]) -> str:
    """Return the one line that says how far the checklist is."""
    parts = [f"rows: {len(_done(checklist))} of {len(checklist.rows)} done"]
    for generation in checklist.generations:
        proved = [row for row in checklist.rows if set(_outcomes(reports, generation, row)) == {"passed"}]
        tests = {test for rows in reports.get(generation, {}).values() for test in rows}
        parts.append(f"{generation}: {len(proved)} rows proved by {len(tests)} tests")
    return "; ".join(parts)


def main(arguments: list[str]) -> int:
    """Judge the reports named on the command line."""
    if not arguments:
        print("usage: python -m tests.requirements.check REPORT...", file=sys.stderr)
        return 2
    checklist = load()
    reports = read([Path(argument) for argument in arguments])
    found = problems(checklist, reports)
    print("\n".join([*found, summary(checklist, reports)]))
    return 1 if found else 0


def _done(checklist: Checklist) -> list[str]:
    return [row.id for row in checklist.rows.values() if row.status == "done"]


def _outcomes(reports: dict[str, Outcomes], generation: str, row: str) -> list[str]:
    return list(reports.get(generation, {}).get(row, {}).values())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
