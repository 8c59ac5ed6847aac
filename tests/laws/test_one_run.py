"""The laws of one run, on any turns: events, answer and history tell the same; the prompt holds what was said."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from causerie.tools.base import ToolResult

from .playing import Turn
from .strategies import inputs, results, scripts
from .world import World, answers, laws


@laws(300)
@given(st.booleans(), inputs, scripts(), results)
def test_what_streams_is_what_is_answered_is_what_is_stored(
    stream: bool, asked: Any, script: list[Turn], found: list[ToolResult]
) -> None:
    with World() as world:
        world.toolbox.results = [*found]
        told = world.start({"inputs": asked, "stream": stream}, script)
        history = world.history(told.id)
        given_ = 1 if isinstance(asked, str) else len(asked)
        assert history[given_:] == told.outputs
        assert len({entry["id"] for entry in history}) == len(history)
        assert world.messages(told.id) == [entry for entry in history if entry["type"].startswith("message.")]


@laws(80)
@given(st.booleans(), scripts(), scripts(fails=True))
def test_a_run_that_fails_leaves_history_as_it_was(stream: bool, script: list[Turn], failing: list[Turn]) -> None:
    with World() as world:
        told = world.start({"inputs": "Hello"}, script)
        before = world.history(told.id)
        body = {"inputs": answers(told.outputs) or "Go on.", "stream": stream}
        failed = world.append(told.id, body, failing)
        assert failed.error is failing[-1].error
        assert world.history(told.id) == before
        assert world.append(told.id, body).error is None
