"""The laws: what holds for any conversation, tried on many that nobody thought of.

They run in process, with the same examples each time (`world.laws`). What runs say of themselves is not printed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """Print no log lines: there would be thousands."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
