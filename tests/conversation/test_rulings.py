"""What happens when two things happen at once: a run and a deletion, a branch, a run not stored, another run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.raw import Answer, Raw
from tests.support.reading import FAILED, STARTED, Reading
from tests.support.replies import PATIENCE, Text
from tests.support.samples import GET_RATE, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import serving
from tests.support.toolset import HeldToolset

TOOLS = [{"type": "web_search"}, GET_RATE]


@pytest.fixture(scope="module")
def toolset() -> HeldToolset:
    """The tool of the server below."""
    return HeldToolset()


@pytest.fixture(scope="module")
def url(model_server: ScriptedServer, toolset: HeldToolset) -> Iterator[str]:
    """Run a server with a tool, once: stopping one costs more than a test."""
    with serving(upstream=model_server.url, toolsets={"web_search": toolset}) as url:
        yield url


class Talk:
    """A conversation of one turn."""

    def __init__(self, raw: Raw, model: Script) -> None:
        """Start it."""
        self.raw = raw
        made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name, "tools": TOOLS}).json
        self.id = made["conversation_id"]
        self.path = f"/v1/conversations/{self.id}"

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What history shows."""
        entries: list[dict[str, Any]] = self.raw.get(f"{self.path}/history").json["entries"]
        return entries

    def append(self, *, stream: bool = False, **more: Any) -> Answer:
        """Run another turn."""
        return self.raw.post(self.path, {"inputs": "Two", "stream": stream, **more})


@pytest.fixture
def talk(url: str, model: Script) -> Talk:
    """A conversation of one turn."""
    return Talk(Raw(url), model)


@pytest.mark.parametrize("stream", [True, False])
def test_deleting_wins_over_a_run(talk: Talk, model: Script, meanwhile: Any, stream: bool) -> None:
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        asked: Future[Answer] = meanwhile(talk.append, stream=stream)
        gate.wait_reached()
        assert talk.raw.delete(talk.path).status == 204
        assert talk.raw.get(talk.path).status == 404
        answer = asked.result(PATIENCE)
        assert model.last.abandoned.wait(PATIENCE), "the model should be told to stop"
    if stream:
        had = Reading(answer.frames)
        assert had.types[0] == STARTED
        assert (had.types[-1], had.events[-1]["code"]) == (FAILED, 404)
        assert "deleted" in had.events[-1]["message"]
    else:
        assert answer.status == 404
        assert "deleted" in answer.json["message"]
    for path in (f"{talk.path}/history", f"{talk.path}/runs", f"{talk.path}/messages"):
        assert talk.raw.get(path).status == 404
    assert talk.id not in str(talk.raw.get("/v1/conversations?page_size=1000").json)


def test_deleting_wins_over_a_start_that_streams(url: str, model: Script) -> None:
    raw = Raw(url)
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with raw.stream("/v1/conversations", {"inputs": "One", "model": model.name, "stream": True}) as stream:
            frames = [stream.frame(), stream.frame()]
            path = f"/v1/conversations/{frames[0].json['conversation_id']}"
            assert raw.delete(path).status == 204
            frames += stream.frames()
    assert (frames[-1].event, frames[-1].json["code"]) == (FAILED, 404)
    assert raw.get(path).status == 404


def test_deleting_stops_a_tool(talk: Talk, model: Script, toolset: HeldToolset, meanwhile: Any) -> None:
    toolset.reached.clear()
    toolset.stopped.clear()
    model.call("web_search", {"query": "stuck"})
    asked: Future[Answer] = meanwhile(talk.append)
    assert toolset.reached.wait(PATIENCE)
    assert talk.raw.delete(talk.path).status == 204
    assert toolset.stopped.wait(PATIENCE)
    assert asked.result(PATIENCE).status == 404


def test_a_branch_outlives_the_deletion_of_what_it_stands_on_while_both_run(
    talk: Talk, model: Script, meanwhile: Any
) -> None:
    entry = talk.entries[-1]["id"]
    with model.gate() as gate:
        model.say("Two.", before=gate)
        body = {"inputs": "Another way.", "from_entry_id": entry, "stream": True}
        branching: Future[Answer] = meanwhile(talk.raw.post, f"{talk.path}/restart", body)
        gate.wait_reached()
        assert talk.raw.delete(talk.path).status == 204
        gate.open()
        events = branching.result(PATIENCE).events
    branch = f"/v1/conversations/{events[0]['conversation_id']}"
    said = [one["content"] for one in talk.raw.get(f"{branch}/history").json["entries"]]
    assert said == ["One", "Answer 1", "Another way.", "Two."]


def test_a_second_run_is_told_which_is_in_the_way(talk: Talk, model: Script, meanwhile: Any) -> None:
    with model.gate() as gate:
        model.say("Two.", before=gate)
        asked: Future[Answer] = meanwhile(talk.append)
        gate.wait_reached()
        (run, _) = talk.raw.get(f"{talk.path}/runs").json["data"]
        for stream in (True, False):
            second = talk.append(stream=stream)
            assert second.status == 409
            assert run["id"] in second.json["message"]
        gate.open()
        assert asked.result(PATIENCE).status == 200
    assert talk.append().status == 200


def test_a_branch_cannot_be_cut_at_what_is_not_committed(talk: Talk, model: Script, meanwhile: Any) -> None:
    """Neither at the inputs of a run, nor at what it has made, nor at what it is writing: a 409 that names it."""
    with model.gate() as gate:
        model.reply(Text("Let me look."))
        model.call("web_search", {"query": "x"})
        model.reply(Text("Sev"), gate, Text("en."))
        talk.append()
        inputs = [{"role": "user", "content": "Three", "id": "msg_mine"}]
        with talk.raw.stream(talk.path, {"inputs": inputs, "stream": True}) as stream:
            frames = [stream.frame() for _ in range(5)]
            run = frames[0].json["run_id"]
            ids = ["msg_mine", *dict.fromkeys(frame.json["id"] for frame in frames[1:])]
            asked = len(model.requests)
            for entry in ids:
                cut = talk.raw.post(f"{talk.path}/restart", {"inputs": "No.", "from_entry_id": entry})
                assert cut.status == 409, cut.body
                assert run in cut.json["message"]
                assert entry in cut.json["message"]
            unknown = talk.raw.post(f"{talk.path}/restart", {"inputs": "No.", "from_entry_id": "msg_0"})
            assert unknown.status == 404
            before = talk.entries[-1]["id"]
            committed = talk.raw.post(f"{talk.path}/restart", {"inputs": "Yes.", "from_entry_id": before})
            assert committed.status == 200
            assert len(model.requests) == asked + 1
            gate.open()
            Reading([*frames, *stream.frames()]).check(talk.entries[5:])
    for entry in ids:
        body = {"inputs": "Now.", "from_entry_id": entry}
        assert talk.raw.post(f"{talk.path}/restart", body).status == 200, entry
    assert len(ids) == 3


def test_after_a_run_that_failed_its_entries_cannot_be_cut_at(talk: Talk, model: Script) -> None:
    model.call("web_search", {"query": "x"})
    model.fail(500)
    events = talk.append(stream=True).events
    lost = events[1]["id"]
    answer = talk.raw.post(f"{talk.path}/restart", {"inputs": "No.", "from_entry_id": lost})
    assert answer.status == 404


def test_what_is_not_stored_reads_what_is_committed(talk: Talk, model: Script, meanwhile: Any) -> None:
    """It is not in the way of a run, nor held up by one, nor does it see what that has made so far."""
    with model.gate() as gate:
        model.call("web_search", {"query": "x"})
        model.say("Two.", before=gate)
        asked: Future[Answer] = meanwhile(talk.append, stream=True)
        gate.wait_reached()
        for stream in (True, False):
            beside = talk.append(stream=stream, inputs="Beside", store=False)
            assert beside.status == 200
            told = [message["content"] for message in model.last.messages]
            assert told == ["One", "Answer 1", "Beside"]
        assert len(talk.raw.get(f"{talk.path}/runs").json["data"]) == 2
        gate.open()
        Reading(asked.result(PATIENCE).frames).check(talk.entries[3:])


def test_calls_of_what_was_not_stored_cannot_be_answered(talk: Talk, model: Script) -> None:
    model.call("get_rate", {"date": "x"})
    (call,) = talk.append(store=False).json["outputs"]
    answer = talk.append(inputs=[result(call["tool_call_id"], "2.5%")])
    assert answer.status == 422
    assert len(talk.entries) == 2


def test_a_run_goes_on_when_what_is_not_stored_fails(talk: Talk, model: Script, meanwhile: Any) -> None:
    with model.gate() as gate:
        model.say("Two.", before=gate)
        asked: Future[Answer] = meanwhile(talk.append)
        gate.wait_reached()
        model.fail(500)
        assert talk.append(store=False).status == 502
        gate.open()
        assert asked.result(PATIENCE).status == 200
    assert [entry["content"] for entry in talk.entries] == ["One", "Answer 1", "Two", "Two."]
