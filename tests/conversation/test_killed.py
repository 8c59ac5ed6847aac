"""A server that is killed loses nothing: the next one carries its runs on, and who read them goes on reading (D4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.reading import ADOPTED, Reading
from tests.support.replies import PATIENCE, CallPiece, Reasoning, Step, Text
from tests.support.samples import GET_RATE
from tests.support.scripted import Script, ScriptedServer
from tests.support.searching import searching

SEARCH: list[Step] = [
    Reasoning("Hm."), Text("Let me "), Text("look."),
    CallPiece(0, "callAAAA1", "web_search"), CallPiece(0, arguments='{"query":"x"}'),
]  # fmt: skip
FIRST_TURN = 7
"""How many events that has, the first of the run included."""
TOOLS = [{"type": "web_search"}, GET_RATE]
BODY: dict[str, Any] = {"inputs": "Which rate?", "tools": TOOLS, "stream": True}


@dataclass
class Machine:
    """A place where servers run, one after the other, and what their tool was called with."""

    folder: Path
    upstream: str

    @contextmanager
    def server(self) -> Iterator[tuple[Raw, Callable[[], None]]]:
        """Run a server; yield its address, and what kills it."""
        with searching(self.folder / "data", self.upstream, self.folder / "calls") as (program, url):
            yield Raw(url), program.kill

    @property
    def calls(self) -> list[str]:
        """The arguments of all calls of the tool."""
        return (self.folder / "calls").read_text().splitlines()


Killed = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def machine(tmp_path: Path, model_server: ScriptedServer) -> Machine:
    """A machine on which nothing has run yet."""
    return Machine(tmp_path, model_server.url)


def paths(started: dict[str, Any]) -> tuple[str, str]:
    """Return where a conversation is found, and where its run's events are."""
    conversation = f"/v1/conversations/{started['conversation_id']}"
    return conversation, f"{conversation}/runs/{started['run_id']}/events"


def follow(raw: Raw, path: str, had: Reading) -> Reading:
    """Go on reading to the end."""
    return had.take(raw.get(path, {"Last-Event-ID": had.place}).frames)


@pytest.mark.parametrize("kills", [1, 2])
def test_whoever_read_a_run_reads_on_after_a_kill(machine: Machine, model: Script, kills: int) -> None:
    """Readers that were cut after each of its events, by one server or another, all end up with the same run."""
    readings = [Reading()]
    model.reply(*SEARCH)
    for _ in range(kills):
        model.reply(Text("Fou"), Text("nd"), model.gate())
    model.reply(Text("Found "), Text("it."), CallPiece(0, "callAAAA2", "get_rate"), CallPiece(0, arguments="{}"))
    with machine.server() as (raw, kill), raw.stream("/v1/conversations", BODY | {"model": model.name}) as stream:
        frames = [stream.frame() for _ in range(FIRST_TURN + 2)]
        kill()
    conversation, path = paths(frames[0].json)
    readings += [Reading(frames[:count]) for count in range(1, len(frames) + 1)]
    if kills == 2:
        with machine.server() as (raw, kill):
            model.request(3)
            for had in list(readings):
                with raw.follow(path, {"Last-Event-ID": had.place}) as following:
                    seen = Reading(had.frames)
                    while seen.types[-1:] != ["message.output.delta"] or not seen.said[-1]["text"].endswith("Found"):
                        seen.take([following.frame()])
                        readings.append(Reading(seen.frames))
            kill()
    with machine.server() as (raw, _):
        whole = follow(raw, path, Reading())
        outputs = raw.get(f"{conversation}/history").json["entries"][1:]
        for had in [*readings, whole]:
            follow(raw, path, had).check(outputs)
        runs = raw.get(f"{conversation}/runs").json["data"]

    assert [entry["type"] for entry in outputs] == [
        "message.output",
        "tool.execution",
        "message.output",
        "function.call",
    ]
    assert machine.calls == ['{"query":"x"}'], "the tool must be called once"
    assert len({request.messages_bytes for request in model.requests[1:]}) == 1, "each owner asks the same"
    assert len(model.requests) == 2 + kills
    assert [(run["state"], run["bounds"]["model_calls"]) for run in runs] == [("done", 2 + kills)], (
        "a call that was interrupted counts: a run that brings servers down is not carried on for ever"
    )


def test_what_was_streamed_and_not_kept_is_discarded_by_name(machine: Machine, model: Script) -> None:
    model.reply(*SEARCH)
    model.reply(Text("Fou"), Text("nd"), model.gate())
    with machine.server() as (raw, kill), raw.stream("/v1/conversations", BODY | {"model": model.name}) as stream:
        frames = [stream.frame() for _ in range(FIRST_TURN + 2)]
        kill()
    _, path = paths(frames[0].json)
    lost = frames[-1].json
    with machine.server() as (raw, _):
        adopted, *rest = raw.get(path, {"Last-Event-ID": str(frames[-1].id)}).frames

    assert (adopted.event, adopted.json["discard"]) == (ADOPTED, [lost["id"]])
    assert adopted.json["run_id"] == frames[0].json["run_id"]
    assert {frame.json["id"] for frame in rest[:-1]}.isdisjoint({frame.json["id"] for frame in frames[1:-1]})
    assert min(frame.json["output_index"] for frame in rest[:-1]) > lost["output_index"]


def test_a_run_that_had_said_nothing_is_carried_on(machine: Machine, model: Script) -> None:
    model.say("Too late.", before=model.gate())
    with machine.server() as (raw, kill), raw.stream("/v1/conversations", BODY | {"model": model.name}) as stream:
        first = stream.frame()
        model.request(1)
        kill()
    assert first is not None
    conversation, path = paths(first.json)
    with machine.server() as (raw, _):
        had = follow(raw, path, Reading([first]))
        had.check(raw.get(f"{conversation}/history").json["entries"][1:])
    assert [one["text"] for one in had.said] == ["Answer 2"]


def test_an_append_that_nobody_reads_is_carried_on_all_the_same(
    machine: Machine, model: Script, meanwhile: Any
) -> None:
    with machine.server() as (raw, kill):
        made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json
        conversation = f"/v1/conversations/{made['conversation_id']}"
        model.say("Too late.", before=model.gate())
        asked = meanwhile(raw.post, conversation, {"inputs": "Two"})
        model.request(2)
        raw.running(conversation)
        kill()
        assert asked.exception(PATIENCE) is not None
    with machine.server() as (raw, _):
        (run, _) = raw.get(f"{conversation}/runs").json["data"]
        had = follow(raw, f"{conversation}/runs/{run['id']}/events", Reading())
        entries = raw.get(f"{conversation}/history").json["entries"]
        had.check(entries[3:])
    assert [entry["content"] for entry in entries] == ["One", "Answer 1", "Two", "Answer 3"]


def test_a_start_that_nobody_knows_of_is_dropped(machine: Machine, model: Script, meanwhile: Any) -> None:
    """Its id was told to nobody, and nobody can ask for it again: it would answer to no one."""
    model.say("Too late.", before=model.gate())
    with machine.server() as (raw, kill):
        asked = meanwhile(raw.post, "/v1/conversations", {"inputs": "One", "model": model.name})
        model.request(1)
        kill()
        assert asked.exception(PATIENCE) is not None
    with machine.server() as (raw, _):
        assert raw.get("/v1/conversations").json == []
    assert len(model.requests) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_after_a_kill_gets_the_run_that_was_begun(
    machine: Machine, model: Script, meanwhile: Any, stream: bool
) -> None:
    key = {"Idempotency-Key": "once"}
    body = {"inputs": "One", "model": model.name, "stream": stream}
    model.say("Too late.", before=model.gate())
    with machine.server() as (raw, kill):
        asked = meanwhile(raw.post, "/v1/conversations", body, key)
        model.request(1)
        kill()
        assert asked.exception(PATIENCE) is not None
    with machine.server() as (raw, _):
        answers = [raw.post("/v1/conversations", body, key) for _ in range(2)]
        assert len(raw.get("/v1/conversations").json) == 1
    assert [answer.status for answer in answers] == [200, 200]
    if stream:
        told = [Reading(answer.frames).said for answer in answers]
        assert [[one["text"] for one in said] for said in told] == [["Answer 2"]] * 2
    else:
        assert answers[0].body == answers[1].body
        assert [output["content"] for output in answers[0].json["outputs"]] == ["Answer 2"]
    assert len(model.requests) == 2


def test_a_cancel_after_a_kill_ends_the_run_that_was_begun(machine: Machine, model: Script) -> None:
    model.reply(*SEARCH)
    for _ in range(2):
        model.reply(Text("Fou"), Text("nd"), model.gate())
    with machine.server() as (raw, kill), raw.stream("/v1/conversations", BODY | {"model": model.name}) as stream:
        frames = [stream.frame() for _ in range(FIRST_TURN + 2)]
        kill()
    conversation, path = paths(frames[0].json)
    with machine.server() as (raw, _):
        model.request(3)
        cancelled = raw.post(f"{conversation}/cancel", {}).json["data"]
        assert [run["state"] for run in cancelled] == ["cancelled"]
        outputs = raw.get(f"{conversation}/history").json["entries"][1:]
        follow(raw, path, Reading(frames)).check(outputs)
        assert raw.post(conversation, {"inputs": "Go on."}).status == 200
    assert [entry["type"] for entry in outputs[:2]] == ["message.output", "tool.execution"]
    assert machine.calls == ['{"query":"x"}']
