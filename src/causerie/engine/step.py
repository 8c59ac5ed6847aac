"""What a turn ends in: exactly one of four. Pure; the loop only does what it is told here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from .emit import Pending


class Finish(NamedTuple):
    """The model answered; the run is done."""


class CallTools(NamedTuple):
    """The model called tools of the server's only; it is asked again with their results."""


class HandOver(NamedTuple):
    """The agent handed the conversation over; the next one is asked, unless the caller wants to see to that."""

    call: Pending


class AwaitCaller(NamedTuple):
    """The model called what the caller answers or has to allow; the run is done, and the conversation waits."""


Step = Finish | CallTools | HandOver | AwaitCaller


def next_step(calls: Sequence[Pending], server_tools: Collection[str], handoffs: Collection[str] = ()) -> Step:
    """Say what follows a turn that made `calls`.

    Results go to the agent that asked for them, so what waits for the caller comes before a handoff beside it.

    Args:
        server_tools: those that the server runs without asking.
    """
    if not calls:
        return Finish()
    if not all(call.name in server_tools or call.name in handoffs for call in calls):
        return AwaitCaller()
    handed_over = next((call for call in calls if call.name in handoffs), None)
    return CallTools() if handed_over is None else HandOver(handed_over)
