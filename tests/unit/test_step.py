"""What follows a turn: exactly one of three."""

from __future__ import annotations

import pytest

from causerie.engine.emit import Pending
from causerie.engine.step import AwaitCaller, CallTools, Finish, Step, next_step

SERVED = {"search", "fetch"}


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


def test_where_the_server_runs_nothing_the_caller_answers() -> None:
    assert isinstance(next_step(calls("search"), ()), AwaitCaller)
