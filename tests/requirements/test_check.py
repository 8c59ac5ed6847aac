"""The checklist is whole, and the check sees through reports that prove nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .check import problems, read, summary
from .checklist import Checklist, Row, load

GENERATIONS = ("1.0", "2.0")


def checklist(*done: str) -> Checklist:
    """Return a checklist of three rows, of which these are done."""
    rows = {
        row: Row(row, "area", "spec", "1", "done" if row in done else "open", "Sentence") for row in ("A", "B", "C")
    }
    return Checklist(GENERATIONS, rows)


def reports(**outcomes: dict[str, str]) -> dict[str, dict[str, dict[str, str]]]:
    """Return the same outcomes for both generations."""
    return {generation: {row: dict(tests) for row, tests in outcomes.items()} for generation in GENERATIONS}


def test_the_checklist_has_every_row_once_and_in_order() -> None:
    assert list(load().rows) == [f"C-{number:03}" for number in range(1, 313)]


def test_a_row_that_passed_everywhere_is_proved() -> None:
    assert problems(checklist("A"), reports(A={"t": "passed"}, B={"u": "failed"})) == []


def test_the_summary_counts_rows_and_tests() -> None:
    line = summary(checklist("A", "B"), reports(A={"t": "passed"}, B={"t": "passed", "u": "skipped"}))
    assert line == "rows: 2 of 3 done; 1.0: 1 rows proved by 2 tests; 2.0: 1 rows proved by 2 tests"


@pytest.mark.parametrize("outcome", ["failed", "skipped"])
def test_one_bad_outcome_spoils_a_row(outcome: str) -> None:
    given = reports(A={"t": "passed", "u": "passed"})
    given["2.0"]["A"]["u"] = outcome
    assert problems(checklist("A"), given) == [f"A (2.0): u {outcome}"]


def test_a_row_needs_a_test_in_each_generation() -> None:
    given = reports(A={"t": "passed"})
    del given["1.0"]["A"]
    assert problems(checklist("A"), given) == ["A is done but no test of it passed with 1.0"]


def test_a_missing_generation_is_noticed() -> None:
    given = reports(A={"t": "passed"})
    del given["2.0"]
    assert problems(checklist(), given) == ["there is no report of a run with 2.0"]


def test_an_unknown_row_is_noticed() -> None:
    found = problems(checklist(), reports(X={"t": "passed"}))
    assert found == [f"X is tested ({generation}) but is no row of the checklist" for generation in GENERATIONS]


def test_reports_of_one_generation_add_up(tmp_path: Path) -> None:
    for name, row in (("one", "A"), ("two", "B")):
        report = {"generation": "1.0", "rows": {row: {"t": "passed"}}}
        (tmp_path / name).write_text(json.dumps(report), encoding="utf-8")
    assert read([tmp_path / "one", tmp_path / "two"]) == {"1.0": {"A": {"t": "passed"}, "B": {"t": "passed"}}}


def test_what_needs_no_sdk_counts_for_every_generation(tmp_path: Path) -> None:
    for name, generation, row in (("one", "1.0", "A"), ("two", "2.0", "A"), ("wire", None, "B")):
        report = {"generation": generation, "rows": {row: {name: "passed"}}}
        (tmp_path / name).write_text(json.dumps(report), encoding="utf-8")
    found = read([tmp_path / "one", tmp_path / "two", tmp_path / "wire"])
    assert found == {
        "1.0": {"A": {"one": "passed"}, "B": {"wire": "passed"}},
        "2.0": {"A": {"two": "passed"}, "B": {"wire": "passed"}},
    }
    assert problems(checklist("A", "B"), found) == []
    assert read([tmp_path / "wire"]) == {}
