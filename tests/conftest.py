"""What all suites share: the marker that ties a test to a row of the checklist, and the report of it."""

from __future__ import annotations

import pytest

from tests.requirements.plugin import RequirementsReport


def pytest_configure(config: pytest.Config) -> None:
    """Register the report."""
    config.pluginmanager.register(RequirementsReport(config), "requirements-report")
