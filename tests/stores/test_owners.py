"""One database has one owner: a second process is refused, a dead one is no obstacle, a superseded one writes nothing.

Two real servers on one database are brought about by deleting the lock file, which only somebody who means well does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from causerie.stores.checkup import check
from tests.support.raw import Raw
from tests.support.replies import PATIENCE, Text
from tests.support.scripted import Script, ScriptedServer
from tests.support.spawned import Spawned, spawned

FALTERING = Path(__file__).with_name("faltering.py")
DONE, FAILED = "conversation.response.done", "conversation.response.error"
OFTEN, NEVER = "0.05", "1000"
"""How often an owner sees whether it still is one."""


@dataclass
class Place:
    """A data directory that servers want, and what they ask for answers."""

    folder: Path
    upstream: str

    @property
    def database(self) -> Path:
        """The database."""
        return self.folder / "causerie.db"

    @property
    def lock(self) -> Path:
        """The file that keeps a second process out."""
        return self.folder / "causerie.db.lock"

    @contextmanager
    def server(self, beat: str = OFTEN) -> Iterator[tuple[Spawned, Raw]]:
        """Run a server here."""
        with spawned(self._command(beat), cwd=self.folder) as program:
            url = program.line(r"^ +url +(http://\S+)")[1]
            program.line("Ctrl-C stops it")
            yield program, Raw(url)

    def refusal(self) -> str:
        """Try to run a server here; return the one line that says why not."""
        done = subprocess.run(self._command(OFTEN), capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        return done.stderr

    def _command(self, beat: str) -> list[str | Path]:
        flags = ["--port", "0", "--data", self.folder, "--upstream", self.upstream]
        return [sys.executable, FALTERING, "--beat", beat, "serve", *flags]


@pytest.fixture(scope="module")
def model_server() -> Iterator[ScriptedServer]:
    """Run the scripted model server."""
    with ScriptedServer().running() as server:
        yield server


@pytest.fixture
def model(model_server: ScriptedServer) -> Iterator[Script]:
    """Give this test a model of its own."""
    with closing(model_server.script()) as script:
        yield script


@pytest.fixture
def place(tmp_path: Path, model_server: ScriptedServer) -> Place:
    """A data directory."""
    (tmp_path / "data").mkdir()
    return Place(tmp_path / "data", model_server.url)


def started(raw: Raw, model: Script) -> str:
    """Start a conversation; return its path."""
    answer = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name})
    assert answer.status == 200, answer.body
    return f"/v1/conversations/{answer.json['conversation_id']}"


def said(raw: Raw, path: str) -> list[str]:
    """Return what a conversation's history says."""
    return [entry["content"] for entry in raw.get(f"{path}/history").json["entries"]]


def ended(raw: Raw, path: str) -> None:
    """Wait until nothing runs in a conversation."""
    deadline = time.monotonic() + PATIENCE
    while raw.get(f"{path}/runs").json["data"][0]["state"] == "running":
        assert time.monotonic() < deadline


def test_a_second_process_is_refused_and_told_who_has_the_database(place: Place, model: Script) -> None:
    with place.server() as (program, raw):
        path = started(raw, model)
        message = place.refusal()
        assert f"{place.database} is open in process {program.pid}" in message
        assert "--data" in message
        assert raw.post(path, {"inputs": "Still here?"}).status == 200
    with place.server() as (_, raw):
        assert said(raw, path) == ["Hello", "Answer 1", "Still here?", "Answer 2"]


def test_what_a_dead_process_left_behind_is_no_obstacle(place: Place, model: Script) -> None:
    with place.server() as (program, raw):
        path = started(raw, model)
        program.kill()
    assert place.lock.read_text() == str(program.pid)
    with place.server() as (program, raw):
        assert said(raw, path) == ["Hello", "Answer 1"]
        assert place.lock.read_text() == str(program.pid)


@pytest.mark.parametrize("left", [str(os.getpid()), "", "not a number\n" * 9])
def test_a_lock_file_that_nobody_holds_says_nothing_whatever_it_says(place: Place, model: Script, left: str) -> None:
    place.lock.write_text(left)
    with place.server() as (program, raw):
        started(raw, model)
        assert place.lock.read_text() == str(program.pid)


def test_an_owner_that_was_superseded_gives_its_runs_up_and_refuses(place: Place, model: Script) -> None:
    with place.server() as (first, old):
        path = started(old, model)
        gate = model.gate()
        model.reply(Text("Too "), gate, Text("late."))
        with old.stream(path, {"inputs": "Which?", "stream": True}) as stream:
            before = [stream.frame(), stream.frame()]
            place.lock.unlink()
            with place.server() as (_, new):
                first.line("owner.superseded")
                rest = [frame.event for frame in stream.frames()]
                ended(new, path)
                expected = ["Hello", "Answer 1", "Which?", "Answer 3"]
                assert said(new, path) == expected

                refused(old, path, model)
                gate.open()
                assert said(new, path) == expected
                assert new.post(path, {"inputs": "Go on"}).status == 200
                assert check(place.database).faults == []
    assert [frame.event for frame in before if frame] == ["conversation.response.started", "message.output.delta"]
    assert not {DONE, FAILED} & set(rest)


def refused(old: Raw, path: str, model: Script) -> None:
    """See that a process that is no owner any more does nothing, and says so."""
    new = {"inputs": "Here?", "model": model.name}
    entry = old.get(f"{path}/history").json["entries"][0]["id"]
    answers = [
        old.post("/v1/conversations", new),
        old.post(path, {"inputs": "Here?"}),
        old.post(path, {"inputs": "Here?", "stream": True}),
        old.post(f"{path}/restart", {"inputs": "Here?", "from_entry_id": entry}),
        old.delete(path),
        old.post("/v1/agents", {"model": model.name, "name": "Here?"}),
        old.post("/v1/agents/x", {"name": "Here?"}),
        old.post("/v1/agents/x/version", {"version": 0}),
        old.request("PUT", "/v1/agents/x/aliases?alias=here&version=0"),
        old.delete("/v1/agents/x/aliases?alias=here"),
        old.delete("/v1/agents/x"),
        old.get("/health"),
    ]
    assert [answer.status for answer in answers] == [503] * len(answers)
    assert ["taken this database over" in answer.json["message"] for answer in answers] == [True] * len(answers)


@pytest.mark.parametrize("stream", [False, True])
def test_an_owner_that_does_not_know_yet_that_it_was_superseded_writes_nothing_of_its_runs(
    place: Place, model: Script, stream: bool
) -> None:
    with place.server(NEVER) as (_, old):
        path = started(old, model)
        gate = model.gate()
        model.say("Too late.", before=gate)
        answers = list[str]()
        body = {"inputs": "Which?", "stream": stream}
        asking = threading.Thread(
            target=lambda: answers.append(old.post(path, body, {"Idempotency-Key": "k"}).body.decode())
        )
        asking.start()
        gate.wait_reached()
        deadline = time.monotonic() + PATIENCE
        while len(old.get(f"{path}/runs").json["data"]) < 2:
            assert time.monotonic() < deadline  # until its inputs are durable
        place.lock.unlink()
        with place.server() as (_, new):
            ended(new, path)
            gate.open()
            asking.join(PATIENCE)
            assert not asking.is_alive()
            assert said(new, path) == ["Hello", "Answer 1", "Which?", "Answer 3"]
            refusal = old.post(path, {"inputs": "Here?"})
            assert (refusal.status, "taken this database over" in refusal.json["message"]) == (503, True)
            assert check(place.database).faults == []
            again = new.post(path, body, {"Idempotency-Key": "k"})
            assert "Answer 3" in again.body.decode()
            assert said(new, path) == ["Hello", "Answer 1", "Which?", "Answer 3"]
        assert (DONE if stream else "Too late.") not in answers[0]
