"""A stream that was cut can be gone on with: after any event, during the run and after it, on a server started anew.

What a client has after its discards is the run, every event once and in order; and that is what history shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw import Answer, Raw
from tests.support.reading import ADOPTED, CANCELLED, DONE, FAILED, STARTED, Reading
from tests.support.replies import PATIENCE, CallPiece, Reasoning, Step, Text
from tests.support.samples import GET_RATE, GET_TIME
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

TOOLS = [{"type": "web_search"}, GET_RATE, GET_TIME]
SEARCH: list[Step] = [
    Reasoning("Hm, "), Reasoning("well."), Text("Let me "), Text("look."),
    CallPiece(0, "callAAAA1", "web_search"), CallPiece(0, arguments='{"query":"x"}'),
]  # fmt: skip
CALLS: list[Step] = [
    Text("Found "), Text("it."), CallPiece(0, "callAAAA2", "get_rate"), CallPiece(0, arguments='{"date":'),
    CallPiece(0, arguments='"x"}'), CallPiece(1, "callAAAA3", "get_time"), CallPiece(1, arguments="{}"),
]  # fmt: skip
EVENTS = 14
"""How many events a run of the two has: started, 4 of a message, 3 of a search, 2 and 3 and 1 of three more, done."""
FIRST_TURN = 8
"""How many of them come before the second turn."""
BODY: dict[str, Any] = {"inputs": "Which rate?", "tools": TOOLS, "stream": True}


@pytest.fixture(scope="module")
def url(model_server: ScriptedServer) -> Iterator[str]:
    """Run a server that searches, once: stopping one costs more than a test."""
    with serving(upstream=model_server.url, toolsets={"web_search": ScriptedToolset()}) as url:
        yield url


@pytest.fixture(scope="module")
def forgetful(model_server: ScriptedServer) -> Iterator[str]:
    """Run one that forgets the events of a run that ended as soon as another ends."""
    with serving(upstream=model_server.url, toolsets={"web_search": ScriptedToolset()}, keep_run_seconds=1e-6) as url:
        yield url


class Followed:
    """A run that was streamed, and how to go on reading it."""

    def __init__(self, url: str, frames: list[Any]) -> None:
        """Take the frames that its first reader got."""
        self.raw, self.frames = Raw(url), frames
        started = frames[0].json
        self.conversation = f"/v1/conversations/{started['conversation_id']}"
        self.path = f"{self.conversation}/runs/{started['run_id']}/events"

    def after(self, place: str) -> Answer:
        """Read what comes after the event `place`, to the end."""
        answer = self.raw.get(self.path, {"Last-Event-ID": place} if place else None)
        assert answer.status == 200, answer.body
        return answer

    def outputs(self, inputs: int = 1) -> list[dict[str, Any]]:
        """Return the entries that history shows behind the inputs."""
        entries: list[dict[str, Any]] = self.raw.get(f"{self.conversation}/history").json["entries"]
        return entries[inputs:]


def ran(url: str, model: Script) -> Followed:
    """Carry out a run with everything in it."""
    model.reply(*SEARCH)
    model.reply(*CALLS)
    frames = Raw(url).post("/v1/conversations", BODY | {"model": model.name}).frames
    assert len(frames) == EVENTS
    return Followed(url, frames)


def forget(url: str, model: Script) -> None:
    """Have a forgetful server forget what ended before now."""
    Raw(url).post("/v1/conversations", {"inputs": "x", "model": model.name})


def test_every_event_has_an_id_of_its_own_and_the_first_tells_the_run(url: str, model: Script) -> None:
    frames = ran(url, model).frames
    ids = [frame.id for frame in frames]

    assert None not in ids
    assert len(set(ids)) == len(ids)
    assert not [id_ for id_ in ids if not str(id_).isascii() or set(str(id_)) & set(" \r\n\0")]
    assert frames[0].json["run_id"].startswith("run_")


@pytest.mark.parametrize("count", range(EVENTS + 1))
def test_a_run_that_ended_is_gone_on_with_after_any_event(url: str, model: Script, count: int) -> None:
    followed = ran(url, model)
    had = Reading(followed.frames[:count])
    rest = followed.after(had.place)

    assert rest.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert [frame.data for frame in rest.frames] == [frame.data for frame in followed.frames[count:]]
    had.take(rest.frames).check(followed.outputs())
    again = Raw(url).get(f"{followed.path}?after={Reading(followed.frames[:count]).place}")
    assert again.body == rest.body


def test_a_run_is_gone_on_with_while_it_runs(url: str, model: Script, meanwhile: Any) -> None:
    """Clients that were cut after each event come back while the model pauses in the middle of its second turn."""
    with model.gate() as gate, ExitStack() as readers:
        model.reply(*SEARCH)
        model.reply(*CALLS[:4], gate, *CALLS[4:])
        stream = readers.enter_context(Raw(url).stream("/v1/conversations", BODY | {"model": model.name}))
        frames = [stream.frame() for _ in range(EVENTS - 3)]
        followed = Followed(url, frames)
        gate.wait_reached()
        readings = []
        for count in range(len(frames) + 1):
            had = Reading(frames[:count])
            headers = {"Last-Event-ID": had.place} if had.place else {}
            readings.append((had, readers.enter_context(Raw(url).follow(followed.path, headers))))
            if count < len(frames):  # what was missed is there before the model goes on
                had.take([readings[-1][1].frame()])
        gate.open()
        rest = [*stream.frames()]
        for had, following in readings:
            had.take(following.frames())

    assert model.requests[-1].answered.wait(PATIENCE)
    assert len(model.requests) == 2
    for had, _ in readings:
        assert [frame.data for frame in had.frames] == [frame.data for frame in (*frames, *rest)]
        had.check(followed.outputs())


@pytest.mark.parametrize("count", range(EVENTS + 1))
def test_a_run_whose_events_are_forgotten_is_gone_on_with_after_any_event(
    forgetful: str, model: Script, count: int
) -> None:
    followed = ran(forgetful, model)
    forget(forgetful, model)
    had = Reading(followed.frames[:count])
    told = followed.after(had.place).frames
    Reading([*had.frames, *told]).check(followed.outputs())

    for more in range(1, len(told)):  # and what is told instead can be cut anywhere as well
        twice = Reading([*had.frames, *told[:more]])
        twice.take(followed.after(twice.place).frames)
        twice.check(followed.outputs())


def test_a_client_that_has_all_is_told_no_more_than_the_end(forgetful: str, model: Script) -> None:
    followed = ran(forgetful, model)
    assert followed.after(Reading(followed.frames).place).frames == []
    before_the_end = Reading(followed.frames[:-1]).place
    forget(forgetful, model)
    told = followed.after(before_the_end)
    Reading([*followed.frames[:-1], *told.frames]).check(followed.outputs())
    assert {frame.event for frame in followed.after(str(told.frames[-1].id)).frames} <= {DONE}


def test_a_run_is_gone_on_with_on_a_server_started_anew(
    tmp_path: Path, model_server: ScriptedServer, model: Script
) -> None:
    settings: dict[str, Any] = {
        "upstream": model_server.url, "toolsets": {"web_search": ScriptedToolset()}, "data": str(tmp_path),
    }  # fmt: skip
    with serving(**settings) as url:
        before = ran(url, model)
    with serving(**settings) as url:
        followed = Followed(url, before.frames)
        outputs = followed.outputs()
        for count in range(EVENTS + 1):
            had = Reading(before.frames[:count])
            had.take(followed.after(had.place).frames).check(outputs)
    assert len(model.requests) == 2


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_run_that_failed_is_followed_to_its_error(forgetful: str, model: Script, forgotten: bool) -> None:
    model.reply(*SEARCH)
    model.fail(500, "it broke")
    frames = Raw(forgetful).post("/v1/conversations", BODY | {"model": model.name}).frames
    followed = Followed(forgetful, frames)
    if forgotten:
        forget(forgetful, model)
    for count in range(len(frames)):
        had = Reading(frames[:count])
        had.take(followed.after(had.place).frames)
        assert (had.types[0], had.types[-1]) == (STARTED, FAILED)
        assert had.events[-1]["code"] == 502
        assert "it broke" in had.events[-1]["message"]
        if forgotten:
            had.check([], last=FAILED)
    assert followed.outputs(0) == []


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_run_that_was_cancelled_is_followed_to_its_end(forgetful: str, model: Script, forgotten: bool) -> None:
    with model.gate() as gate:
        model.reply(*SEARCH)
        model.reply(*CALLS[:4], gate)
        with Raw(forgetful).stream("/v1/conversations", BODY | {"model": model.name}) as stream:
            frames = [stream.frame() for _ in range(EVENTS - 3)]
            followed = Followed(forgetful, frames)
            assert Raw(forgetful).post(f"{followed.conversation}/cancel", {}).status == 200
            frames += stream.frames()
    assert [frame.event for frame in frames[-2:]] == [CANCELLED, DONE]
    if forgotten:
        forget(forgetful, model)

    outputs = followed.outputs()
    assert [entry["type"] for entry in outputs] == ["message.output", "tool.execution", "message.output"]
    for count in range(len(frames)):
        had = Reading(frames[:count])
        had.take(followed.after(had.place).frames).check(outputs)


def test_a_run_that_says_nothing_yet_is_followed_in_silence(serve: Any, model: Script) -> None:
    url = serve(keep_alive_seconds=0.05)
    with model.gate() as gate:
        model.say("At last.", before=gate)
        with Raw(url).stream("/v1/conversations", {"inputs": "x", "model": model.name, "stream": True}) as stream:
            first = stream.frame()
        assert first is not None
        followed = Followed(url, [first])
        with Raw(url).follow(followed.path, {"Last-Event-ID": str(first.id)}) as following:
            silence = following.frame()
            gate.open()
            had = Reading([first, *following.frames()])
    assert silence is not None
    assert (silence.data, silence.comments) == (None, ("keep-alive",))
    had.check(followed.outputs())


@pytest.mark.parametrize(
    "place",
    ["x", "7", "-", "1-", "-1", "1-x", "1--1", "a-1", "1-1-1", "+1-1", "1_0-1", "1-" + "9" * 5000, "msg_1", "1-1 2"],
)
def test_what_is_no_event_id_is_refused(url: str, model: Script, place: str) -> None:
    followed = Followed(url, Raw(url).post("/v1/conversations", BODY | {"model": model.name}).frames)
    by_header = Raw(url).get(followed.path, {"Last-Event-ID": place})
    by_query = Raw(url).get(f"{followed.path}?after={place.replace('+', '%2B').replace(' ', '%20')}")
    for answer in (by_header, by_query):
        assert answer.status == 422, answer.body
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["object"] == "Error"
    assert by_header.json["detail"][0]["loc"] == ["header", "last-event-id"]
    assert by_query.json["detail"][0]["loc"] == ["query", "after"]


def test_another_parameter_is_refused(url: str, model: Script) -> None:
    followed = Followed(url, Raw(url).post("/v1/conversations", BODY | {"model": model.name}).frames)
    answer = Raw(url).get(f"{followed.path}?from=1")
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["query", "from"])


def test_the_header_outweighs_the_parameter_and_an_empty_one_is_none(url: str, model: Script) -> None:
    followed = ran(url, model)
    place, other = followed.frames[5].id, followed.frames[9].id
    both = Raw(url).get(f"{followed.path}?after={other}", {"Last-Event-ID": str(place)})
    assert [frame.data for frame in both.frames] == [frame.data for frame in followed.frames[6:]]
    whole = [frame.data for frame in followed.frames]
    for answer in (Raw(url).get(followed.path, {"Last-Event-ID": ""}), Raw(url).get(f"{followed.path}?after=")):
        assert [frame.data for frame in answer.frames] == whole


def test_what_is_not_there_cannot_be_followed(url: str, model: Script) -> None:
    followed = ran(url, model)
    other = Followed(url, Raw(url).post("/v1/conversations", BODY | {"model": model.name}).frames)
    run = followed.path.split("/")[-2]
    for path in (
        f"{followed.conversation}/runs/run_0/events",
        f"/v1/conversations/conv_0/runs/{run}/events",
        f"{other.conversation}/runs/{run}/events",
    ):
        answer = Raw(url).get(path)
        assert (answer.status, answer.json["object"]) == (404, "Error")
    Raw(url).delete(followed.conversation)
    assert Raw(url).get(followed.path).status == 404
    assert Raw(url).get(other.path).status == 200


def test_an_id_from_nowhere_is_taken_as_a_place_that_was_never_reached(url: str, model: Script) -> None:
    """An id of the right form that this run never gave: nothing breaks, and nothing is told twice after discards."""
    followed = ran(url, model)
    for place in ("999-1", "0-0", "1-9999", "1-0.msg_x", f"999-1.{followed.frames[1].json['id']}"):
        answer = followed.after(place)
        kinds = [frame.event for frame in answer.frames]
        assert kinds.count(DONE) <= 1
        assert ADOPTED not in kinds[1:]
