"""Runs of the caller's functions with the engine in this process: the same code, and nothing in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from causerie import Causerie
from causerie.client import errors
from causerie.client.run import Defer
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import MODES, Portal

from .conftest import Side
from .runner import RATE, TIME, Runner, told


@dataclass
class Rate:
    """A rate."""

    percent: float


class Inside(Side):
    """The client in process, driven through its sync or its async methods."""

    def __init__(self, causerie: Causerie, portal: Portal | None) -> None:
        self.mistral: Any = causerie
        self._portal = portal


@pytest.fixture(params=[(mode, streams) for mode in MODES for streams in (False, True)], ids=str)
def runner(
    request: pytest.FixtureRequest, portal: Portal, model_server: ScriptedServer, model: Script
) -> Iterator[Runner]:
    """A client in process that runs functions, in each of its four ways."""
    mode, streams = request.param
    with Causerie(upstream=model_server.url) as causerie:
        yield Runner(Inside(causerie, portal if mode == "async" else None), model.name, streams=streams)


def test_functions_are_called_until_there_is_an_answer_of_the_type(runner: Runner, model: Script) -> None:
    model.calls(RATE, TIME)
    model.say("Two and a half.")
    model.say('{"percent": 2.5}')
    result = runner.run("Which rate?", output=Rate)
    assert (result.output, sorted(runner.called)) == (Rate(2.5), ["UTC", "x"])
    assert told(model) == ["2.5% on x", '{"zone":"UTC"}']
    assert [one.type for one in runner.history(result)] == ["message.input", *(one.type for one in result.entries)]
    assert runner.streams == ("function.result" in [event.event for event in runner.events])


@pytest.mark.parametrize("by", ["state", "id"])
def test_a_run_stops_and_goes_on(runner: Runner, model: Script, by: str) -> None:
    model.calls(RATE, TIME)
    stopped = runner.run("Which rate?", approve=lambda call: Defer() if call.name == "get_rate" else True)
    assert ([one.name for one in stopped.waiting], runner.called) == (["get_rate"], ["UTC"])
    goes_on: dict[str, Any] = {"conversation_id": stopped.conversation_id}
    if by == "state":
        goes_on = {"resume": json.loads(json.dumps(stopped.to_dict()))}
    assert runner.run(**goes_on).text == "Answer 2"
    assert sorted(runner.called) == (["UTC", "x"] if by == "state" else ["UTC", "UTC", "x"])


def test_an_error_has_how_far_it_came(runner: Runner, model: Script) -> None:
    model.calls(RATE)
    model.fail(500, "it broke")
    with pytest.raises(errors.UpstreamError, match="it broke") as caught:
        runner.run("Which rate?")
    assert runner.run(resume=caught.value.run).text == "Answer 3"
    assert runner.called == ["x"]
