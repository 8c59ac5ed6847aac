"""Writes down which rows of the checklist were tested in a run, and how that went.

A test names its rows with ``@pytest.mark.requirement("C-018")``. With the variable REQUIREMENTS_REPORT set to a
path, the outcome of every such test is written there as JSON, for `check.py` to judge. A run without the official SDK
proves what needs no client, and nothing else.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
from collections import defaultdict
from pathlib import Path

import pytest

MARKER = "requirement(*ids): the rows of the checklist that this test proves"


class RequirementsReport:
    """The pytest plugin."""

    def __init__(self, config: pytest.Config) -> None:
        """Make the marker known."""
        config.addinivalue_line("markers", MARKER)
        self._rows: dict[str, dict[str, str]] = defaultdict(dict)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Copy the markers into the tests' properties, which travel with their reports."""
        generation = _generation()
        for item in items:
            if generation is None and item.get_closest_marker("client"):
                continue
            for marker in item.iter_markers("requirement"):
                item.user_properties.extend(("requirement", row) for row in marker.args)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst outcome of a test's setup, call and teardown."""
        outcome = "skipped" if hasattr(report, "wasxfail") else report.outcome
        if outcome == "passed" and report.when != "call":
            return
        for row in (value for name, value in report.user_properties if name == "requirement"):
            tests = self._rows[str(row)]
            tests[report.nodeid] = _worst(tests.get(report.nodeid, "passed"), outcome)

    def pytest_sessionfinish(self) -> None:
        """Write the report."""
        if path := os.environ.get("REQUIREMENTS_REPORT"):
            document = {"generation": _generation(), "rows": self._rows}
            Path(path).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _worst(one: str, other: str) -> str:
    order = ("passed", "skipped", "failed")
    return max(one, other, key=order.index)


def _generation() -> str | None:
    try:
        return importlib.metadata.version("mistralai")
    except importlib.metadata.PackageNotFoundError:
        return None
