"""Nothing is acknowledged before it is on disk: what the kernel saw of a real server, call by call (D4).

A kill -9 leaves the kernel's cache as it is, so that no test that kills can see a sync that is missing. This one does:
it reads the system calls, and the same checks fail on a database that is not synced.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.raw import Raw
from tests.support.replies import PATIENCE
from tests.support.scripted import ScriptedServer
from tests.support.spawned import Spawned, spawned

from .reading import Trace, Undurable
from .trace import NOT_PERMITTED

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
TRACER = HERE / "trace.py"
HEAD, STARTED, DONE = b"HTTP/1.1 200", b"event: conversation.response.started", b"event: conversation.response.done"


@pytest.fixture(scope="module", autouse=True)
def tracing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """See that a child can be traced on this machine."""
    log = tmp_path_factory.mktemp("trace") / "log"
    command = [sys.executable, TRACER, log, sys.executable, "-c", ""]
    tried = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if tried.returncode == NOT_PERMITTED:
        pytest.skip(f"durability is not proved here: {tried.stderr.strip()}")
    assert tried.returncode == 0, tried.stderr


@contextmanager
def traced(folder: Path, *program: str | Path) -> Iterator[tuple[Spawned, Raw]]:
    """Run a server under the tracer; when the block has been left, its calls are in the file `log`."""
    command = [sys.executable, TRACER, folder / "log", sys.executable, *program]
    with spawned(command, cwd=ROOT) as tracer:
        url = tracer.line(r"^ +url +(http://\S+)", 4 * PATIENCE)[1]
        tracer.line("Ctrl-C stops it")
        yield tracer, Raw(url)


def a_server(folder: Path) -> tuple[str | Path, ...]:
    """Return the program that is `causerie serve`."""
    return "-m", "causerie", "serve", "--port", "0", "--data", folder / "data"


def a_careless_server(mode: str, folder: Path) -> tuple[str | Path, ...]:
    """Return the same, not synced as it should be."""
    return HERE / "careless.py", mode, *a_server(folder)[2:]


def conversed(folder: Path, *program: str | Path, append: bool = True) -> Trace:
    """Hold two conversations, one as JSON and one in streams, in words that can be found; return what was done."""
    with traced(folder, *program) as (_, raw):
        for stream, words in ((False, ("Alder", "Birch")), (True, ("Cedar", "Dogwood"))):
            answer = raw.post("/v1/conversations", {"inputs": words[0], "stream": stream})
            assert answer.status == 200
            if append:
                id_ = answer.events[0]["conversation_id"] if stream else answer.json["conversation_id"]
                answer = raw.post(f"/v1/conversations/{id_}", {"inputs": words[1], "stream": stream})
                assert answer.status == 200
    return Trace.read(folder / "log")


# By what was acknowledged: the word that was said, how it stands in the database (the model repeats it), and what must
# not leave before it is there.
INPUT, OUTPUT = b'"content":"%b"', b"You said: %b"
ACKNOWLEDGED = {
    "a start, as JSON": (b"Alder", OUTPUT, HEAD),
    "an append, as JSON": (b"Birch", OUTPUT, HEAD),
    "the inputs of a start, by `started`": (b"Cedar", INPUT, STARTED),
    "the outputs of a start, by `done`": (b"Cedar", OUTPUT, DONE),
    "the inputs of an append, by `started`": (b"Dogwood", INPUT, STARTED),
    "the outputs of an append, by `done`": (b"Dogwood", OUTPUT, DONE),
}


def see_durable(trace: Trace, what: str) -> None:
    """See that something was on disk before it was acknowledged, on the connection on which the word was said back."""
    word, stored, acknowledgement = ACKNOWLEDGED[what]
    trace.see_durable(stored % word, before=trace.leaving(acknowledgement, with_=word))


@pytest.fixture(scope="module")
def careful(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """What a server as it is did during a conversation."""
    folder = tmp_path_factory.mktemp("careful")
    return conversed(folder, *a_server(folder))


@pytest.fixture(scope="module", params=["OFF", "NORMAL"])
def careless(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trace:
    """What a server did that was not told to sync, or not at every commit."""
    folder = tmp_path_factory.mktemp("careless")
    return conversed(folder, *a_careless_server(request.param, folder))


@pytest.mark.parametrize("what", ACKNOWLEDGED)
def test_it_is_on_disk_before_it_is_acknowledged(careful: Trace, what: str) -> None:
    see_durable(careful, what)


@pytest.mark.parametrize("what", ACKNOWLEDGED)
def test_a_sync_that_is_missing_is_noticed(careless: Trace, what: str) -> None:
    with pytest.raises(Undurable, match="not synced"):
        see_durable(careless, what)


def test_an_acknowledgement_that_comes_too_early_is_noticed(tmp_path: Path) -> None:
    trace = conversed(tmp_path, *a_careless_server("LATE", tmp_path), append=False)
    for what in ("a start, as JSON", "the outputs of a start, by `done`"):
        with pytest.raises(Undurable, match="not even written"):
            see_durable(trace, what)
    see_durable(trace, "the inputs of a start, by `started`")


def test_a_tool_is_called_when_that_is_on_disk_and_the_model_told_when_its_result_is(tmp_path: Path) -> None:
    """The ledger comes first: whatever dies when, no effect is unknown to it, and none happens twice (D5)."""
    calls = tmp_path / "calls"
    with ScriptedServer().running() as server, closing(server.script()) as model:
        model.call("web_search", {"query": "Elder"})
        program = ("-m", "tests.support.searching", tmp_path / "data", server.url, calls)
        with traced(tmp_path, *program) as (_, raw):
            start = {"inputs": "Search", "model": model.name, "tools": [{"type": "web_search"}]}
            assert raw.post("/v1/conversations", start).status == 200
    trace = Trace.read(tmp_path / "log")
    trace.see_durable(b"Elder", before=trace.leaving(b"Elder", to=str(calls)))
    trace.see_durable(b"Result 1", before=trace.leaving(b"Result 1"))
