"""The client in process, and its process: forks, the end of the interpreter, a kill, another owner of the file."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

import pytest

from causerie import Causerie
from causerie.client import models
from causerie.errors import Conflict, StoreInUse
from tests.support.replies import Text
from tests.support.scripted import Script, ScriptedServer
from tests.support.spawned import Spawned, spawned

Run = Callable[..., AbstractContextManager[Spawned]]


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
def opened(model_server: ScriptedServer, model: Script, tmp_path: Path) -> Callable[[], Causerie]:
    """Open the database of this test here."""
    return lambda: Causerie(tmp_path / "chats.db", upstream=model_server.url, model=model.name)


@pytest.fixture
def program(model_server: ScriptedServer, model: Script, tmp_path: Path) -> Run:
    """Run a program that has the database of this test open as `causerie`."""
    head = f"""
        import os, signal, sys
        from causerie import Causerie
        from causerie.client import errors
        causerie = Causerie("chats.db", upstream={model_server.url!r}, model={model.name!r})
        conversations = causerie.beta.conversations
        """

    def run(script: str) -> AbstractContextManager[Spawned]:
        (tmp_path / "program.py").write_text(textwrap.dedent(head) + textwrap.dedent(script))
        return spawned([sys.executable, "-W", "error::ResourceWarning", tmp_path / "program.py"], cwd=tmp_path)

    return run


def said(causerie: Causerie, conversation_id: str) -> list[Any]:
    """Return what a conversation says."""
    return [entry.content for entry in causerie.beta.conversations.get_history(conversation_id=conversation_id).entries]


def history(causerie: Causerie) -> list[Any]:
    """Return what the only conversation says."""
    (one,) = causerie.beta.conversations.list()
    return said(causerie, one.id)


def test_a_fork_is_refused_and_takes_nothing_along(program: Run, opened: Callable[[], Causerie]) -> None:
    script = """
        made = conversations.start(inputs="One")
        stream = conversations.start_stream(inputs="Two", store=False)
        wait, word = os.pipe()
        if os.fork() == 0:
            signal.alarm(8)  # whatever goes wrong here, nobody else ends this process
            for call in (conversations.list, lambda: conversations.start_stream(inputs="x"), lambda: next(stream)):
                try:
                    call()
                    print("answered", flush=True)
                except errors.ConnectionFailed as error:
                    print("refused:", error, flush=True)
            stream.close()
            causerie.close()
            os.write(word, b"x")
            sys.stdin.readline()
            sys.exit()
        os.read(wait, 1)
        list(stream)
        print(conversations.append(conversation_id=made.conversation_id, inputs="Three").outputs[0].content, flush=True)
        causerie.close()
        print("closed", flush=True)
        sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
        """
    with program(script) as both:
        for _ in range(3):
            both.line(r"^refused: This Causerie was opened by process \d+, and process \d+ is a fork")
        both.line("^Answer 3")
        both.line("^closed")
        with opened() as causerie:  # while the child lives: it holds no lock
            assert history(causerie)[::2] == ["One", "Three"]
        both.tell("enough\n")
        assert both.ended() == 0
        assert not [line for line in both.said if "answered" in line]


def test_the_interpreter_ends_and_runs_are_seen_to_their_end(
    program: Run, model: Script, opened: Callable[[], Causerie]
) -> None:
    script = """
        stream = conversations.start_stream(inputs="One")
        print(next(stream).event, flush=True)
        """
    with model.gate() as gate, program(script) as one:
        model.say("The", " end.", before=gate)
        one.line("conversation.response.started")
        gate.wait_reached()
        gate.open()
        assert one.ended() == 0
    with opened() as causerie:
        assert history(causerie) == ["One", "The end."]
    assert len(model.requests) == 1


def test_the_interpreter_ends_although_a_run_does_not(
    program: Run, model: Script, opened: Callable[[], Causerie]
) -> None:
    script = """
        from causerie.client.crossing import EngineThread
        EngineThread.stop.__defaults__ = (0.05,)  # that patience of seconds is not what is tried here
        stream = conversations.start_stream(inputs="One")
        print(next(stream).event, flush=True)
        raise SystemExit(3)
        """
    with model.gate() as gate:
        model.say("never", before=gate)
        with program(script) as one:
            one.line("conversation.response.started")
            gate.wait_reached()
            assert one.ended() == 3
    with opened() as causerie:
        (found,) = causerie.beta.conversations.list()
        (run,) = causerie.beta.conversations.list_runs(conversation_id=found.id).data
        *_, done = causerie.beta.conversations.follow_run(conversation_id=run.conversation_id, run_id=run.id)
        assert type(done.data) is models.ResponseDoneEvent
        assert history(causerie) == ["One", "Answer 2"]


def follow(causerie: Causerie, run: models.ConversationRun) -> None:
    """Ask for its events."""
    causerie.beta.conversations.follow_run(conversation_id=run.conversation_id, run_id=run.id)


def append(causerie: Causerie, run: models.ConversationRun) -> None:
    """Try to go on although it has not ended."""
    with pytest.raises(Conflict):
        causerie.beta.conversations.append(conversation_id=run.conversation_id, inputs="Two")


@pytest.mark.parametrize("touch", [follow, append])
def test_what_a_kill_interrupted_is_carried_on_when_its_conversation_is_touched(
    program: Run, model: Script, opened: Callable[[], Causerie], touch: Callable[[Causerie, Any], Any]
) -> None:
    script = """
        conversations.start(inputs="Another")
        stream = conversations.start_stream(inputs="One")
        for item in stream:
            print(item.event, flush=True)
        """
    with model.gate() as gate:
        model.say("Answer 1")
        model.reply(Text("Half"), gate, Text(" an answer"))
        with program(script) as one:
            one.line("message.output.delta")
            one.kill()
    with opened() as causerie:
        found, other = causerie.beta.conversations.list()
        assert said(causerie, other.id) == ["Another", "Answer 1"]
        (run,) = causerie.beta.conversations.list_runs(conversation_id=found.id).data
        assert run.state == "running"
        assert len(model.requests) == 2  # opening and looking spend no tokens
        touch(causerie, run)
        *_, done = causerie.beta.conversations.follow_run(conversation_id=run.conversation_id, run_id=run.id)
        assert type(done.data) is models.ResponseDoneEvent
        assert said(causerie, found.id) == ["One", "Answer 3"]
        assert len(model.requests) == 3


def test_another_process_has_the_file(program: Run, opened: Callable[[], Causerie]) -> None:
    with program('print("open", flush=True)\nsys.stdin.read()\n') as other:
        other.line("open")
        with pytest.raises(StoreInUse, match=rf"chats\.db is open in process {other.pid}\b") as caught:
            opened()
        assert (caught.value.status_code, caught.value.code) == (503, 3000)
        other.kill()
        with opened() as causerie:
            assert causerie.beta.conversations.list() == []
