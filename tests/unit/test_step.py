"""What follows a turn: exactly one of four."""

from __future__ import annotations

import pytest

from causerie.engine.emit import Pending
from causerie.engine.step import AwaitCaller, CallTools, Finish, HandOver, Step, next_step

SERVED = {"search", "fetch"}
HANDOFFS = {"handoff_to_a", "handoff_to_b"}


def calls(*names: str) -> list[Pending]:
    """Calls of these names."""
    found = [Pending() for _ in names]
    for pending, name in zip(found, names, strict=True):
        pending.name = name
    return found


@pytest.mark.parametrize(
    ("names", "step"),
    [
        ((), Finish()),
        (("search",), CallTools()),
        (("search", "fetch", "search"), CallTools()),
        (("get_rate",), AwaitCaller()),
        (("search", "get_rate"), AwaitCaller()),
        (("get_rate", "search"), AwaitCaller()),
    ],
)
def test_what_was_called_says_what_follows(names: tuple[str, ...], step: Step) -> None:
    found = next_step(calls(*names), SERVED)
    assert type(found) is type(step)


@pytest.mark.parametrize(
    ("names", "first"),
    [
        (("handoff_to_a",), 0),
        (("handoff_to_b", "handoff_to_a"), 0),
        (("search", "handoff_to_b", "fetch", "handoff_to_a"), 1),
    ],
)
def test_the_first_handoff_is_the_one(names: tuple[str, ...], first: int) -> None:
    made = calls(*names)
    assert next_step(made, SERVED, HANDOFFS) == HandOver(made[first])


@pytest.mark.parametrize("names", [("handoff_to_a", "get_rate"), ("get_rate", "search", "handoff_to_b")])
def test_the_caller_answers_before_anybody_is_handed_over_to(names: tuple[str, ...]) -> None:
    assert isinstance(next_step(calls(*names), SERVED, HANDOFFS), AwaitCaller)


def test_where_the_server_runs_nothing_the_caller_answers() -> None:
    assert isinstance(next_step(calls("search"), ()), AwaitCaller)
