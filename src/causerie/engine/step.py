"""What a turn ends in: exactly one of three. Pure; the loop only does what it is told here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from .emit import Pending


class Finish(NamedTuple):
    """The model answered; the run is done."""


class CallTools(NamedTuple):
    """The model called tools of the server's only; it is asked again with their results."""


class AwaitCaller(NamedTuple):
    """The model called functions that the caller answers; the run is done, and the conversation waits."""


Step = Finish | CallTools | AwaitCaller


def next_step(calls: Sequence[Pending], server_tools: Collection[str]) -> Step:
    """Say what follows a turn that made `calls`."""
    if not calls:
        return Finish()
    if all(call.name in server_tools for call in calls):
        return CallTools()
    return AwaitCaller()
