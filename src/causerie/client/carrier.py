"""The seam below the operations: what a client hands its calls to."""

from __future__ import annotations

from typing import Protocol, TypeVar

from .request import Call
from .streams import EventStream, EventStreamAsync

R = TypeVar("R")


class Carrier(Protocol):
    """What carries calls out: over HTTP (`connection.py`), or in process (`local.py`)."""

    def run(self, call: Call[R]) -> R:
        """Return what a call is answered with."""
        ...

    async def run_async(self, call: Call[R]) -> R:
        """Return what a call is answered with."""
        ...

    def stream(self, call: Call[object]) -> EventStream:
        """Return the events that a call is answered with."""
        ...

    async def stream_async(self, call: Call[object]) -> EventStreamAsync:
        """Return the events that a call is answered with."""
        ...
