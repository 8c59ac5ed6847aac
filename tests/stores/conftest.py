"""The suite that every store passes: what `stores/base.py` promises, tried from outside. It is the contract (D14).

place     where a store lives, one after the other; `durable` only those that outlive their process
db        an open store there, every method a plain bounded call (`driving.Driver`)
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from .driving import DURABLE, PLACES, Driver, Place

Opening = Callable[[Place], AbstractContextManager[Driver]]


@pytest.fixture(params=PLACES, ids=lambda place: place.__name__.lower())
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Give every store a place of its own."""
    made: Place = request.param(tmp_path)
    return made


@pytest.fixture(params=DURABLE, ids=lambda place: place.__name__.lower())
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Give every store that lasts a place of its own."""
    made: Place = request.param(tmp_path)
    return made


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """Give a test one loop for all it does."""
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def opened(runner: asyncio.Runner) -> Opening:
    """Open a store at a place, for the length of a with statement."""

    @contextmanager
    def opening(place: Place) -> Iterator[Driver]:
        driver = Driver(place.store(), runner)
        driver.open()
        try:
            yield driver
        finally:
            driver.close()

    return opening


@pytest.fixture
def db(place: Place, opened: Opening) -> Iterator[Driver]:
    """Give a test an open store that is still empty."""
    with opened(place) as driver:
        yield driver
