"""A store in trouble says so, keeps what it had, and goes on by itself when the trouble is over.

Servers are real ones. A full disk comes in three kinds (`disks.py`); every request meets it as a 503 that says when to
come back, and finds nothing half-written behind it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from causerie.engine.engine import Engine
from causerie.errors import APIError
from causerie.stores.checkup import check
from causerie.stores.sqlite import SQLiteStore
from causerie.types.requests import AppendRequest, ListRequest, StartRequest
from causerie.upstreams.rehearsal import Rehearsal
from tests.support.raw import Answer, Raw
from tests.support.replies import PATIENCE
from tests.support.scripted import Script, ScriptedServer
from tests.support.spawned import causerie

from .disks import DATABASE, DISKS, Disk
from .faltering import NOT_DROPPED

PAGE = 4096
BIG = "A long answer. " * 4000
FALTERING = Path(__file__).with_name("faltering.py")


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


@pytest.fixture(params=DISKS, ids=lambda kind: kind.__name__)
def disk(
    request: pytest.FixtureRequest, tmp_path: Path, model_server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Disk]:
    """Give a test a disk of each kind, with a server on it."""
    with request.param.ready(tmp_path, model_server.url, monkeypatch) as disk:
        yield disk


def started(raw: Raw, model: Script, inputs: str = "Hello") -> str:
    """Start a conversation; return its path."""
    answer = raw.post("/v1/conversations", {"inputs": inputs, "model": model.name})
    assert answer.status == 200, answer.body
    return f"/v1/conversations/{answer.json['conversation_id']}"


def said(raw: Raw, path: str) -> list[str]:
    """Return what a conversation's history says."""
    return [entry["content"] for entry in raw.get(f"{path}/history").json["entries"]]


def refused(answer: Answer) -> None:
    """See that an answer says that the store is in trouble, and when to come back."""
    assert (answer.status, answer.json["type"]) == (503, "server_error"), answer.body
    assert int(answer.headers["retry-after"]) > 0
    assert "Nothing was stored" in answer.json["message"]


def sound(data: Path) -> None:
    """See that the database has no fault, beside its server."""
    assert check(data / DATABASE).faults == []


def goes_on(raw: Raw, path: str, inputs: str = "Again", **headers: str) -> bytes:
    """See that a conversation goes on from where it was before the trouble; return the answer."""
    answer = raw.post(path, {"inputs": inputs}, {name.replace("_", "-"): value for name, value in headers.items()})
    assert answer.status == 200, answer.body
    assert said(raw, path) == ["Hello", "Answer 1", inputs, answer.json["outputs"][0]["content"]]
    return answer.body


def wait_until(true: Callable[[], bool]) -> None:
    """Ask again and again, for a bounded time."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline


@contextmanager
def held_at_its_end(raw: Raw, path: str, model: Script, body: dict[str, Any], **headers: str) -> Iterator[list[Answer]]:
    """Append, and hold the model's answer: its inputs are durable, its outputs are not. Yield where the answer will be.

    It is there when the block has been left.
    """
    gate, answers = model.gate(), list[Answer]()
    model.say(BIG, before=gate)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asking = threading.Thread(target=lambda: answers.append(raw.post(path, body, named)))
    asking.start()
    gate.wait_reached()
    # The model is asked while the inputs are being committed.
    wait_until(lambda: raw.get(f"{path}/runs").json["data"][0]["state"] == "running")
    try:
        yield answers
    finally:
        gate.open()
        asking.join(PATIENCE)
        assert not asking.is_alive()


def test_on_a_full_disk_every_request_that_writes_is_told_to_come_back(disk: Disk, model: Script) -> None:
    path = started(disk.raw, model)
    entry = disk.raw.get(f"{path}/history").json["entries"][0]["id"]
    disk.fill()
    for stream in (False, True):
        refused(disk.raw.post("/v1/conversations", {"inputs": BIG, "model": model.name, "stream": stream}))
        refused(disk.raw.post(path, {"inputs": BIG, "stream": stream}))
        refused(disk.raw.post(f"{path}/restart", {"inputs": BIG, "from_entry_id": entry, "stream": stream}))

    assert disk.raw.get("/health").status == 200
    assert said(disk.raw, path) == ["Hello", "Answer 1"]
    assert len(disk.raw.get("/v1/conversations").json) == 1
    assert len(disk.raw.get(f"{path}/runs").json["data"]) == 1
    sound(disk.data)

    disk.free()
    goes_on(disk.raw, path)
    started(disk.raw, model)
    sound(disk.data)


def test_what_needs_no_space_is_still_answered_on_a_full_disk(disk: Disk, model: Script) -> None:
    path = started(disk.raw, model)
    disk.fill()
    answer = disk.raw.post(path, {"inputs": BIG, "store": False})
    assert answer.status == 200
    assert answer.json["outputs"][0]["content"] == "Answer 2"
    assert said(disk.raw, path) == ["Hello", "Answer 1"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_disk_that_fills_during_a_run_leaves_history_as_it_was(disk: Disk, model: Script, stream: bool) -> None:
    path = started(disk.raw, model)
    with held_at_its_end(disk.raw, path, model, {"inputs": "Lost", "stream": stream}) as answers:
        disk.fill()
    if stream:
        last = answers[0].events[-1]
        assert (last["type"], last["code"]) == ("conversation.response.error", 503)
        assert "Nothing was stored" in last["message"]
    else:
        refused(answers[0])
    assert said(disk.raw, path) == ["Hello", "Answer 1"]
    sound(disk.data)

    disk.free()
    goes_on(disk.raw, path)
    sound(disk.data)


def test_a_run_that_could_not_be_taken_back_is_in_the_way_until_there_is_space(disk: Disk, model: Script) -> None:
    path = started(disk.raw, model)
    with held_at_its_end(disk.raw, path, model, {"inputs": "Lost"}) as answers:
        disk.fill()
    refused(answers[0])
    refused(disk.raw.post(path, {"inputs": BIG}))
    disk.free()
    goes_on(disk.raw, path)
    states = [run["state"] for run in disk.raw.get(f"{path}/runs").json["data"]]
    assert (states[0], states[-1], "running" in states) == ("done", "done", False)
    sound(disk.data)


def test_a_retry_under_the_key_of_a_run_that_could_not_be_taken_back(disk: Disk, model: Script) -> None:
    path = started(disk.raw, model)
    with held_at_its_end(disk.raw, path, model, {"inputs": "Paid"}, Idempotency_Key="k") as answers:
        disk.fill()
    refused(answers[0])
    refused(disk.raw.post(path, {"inputs": BIG}))
    disk.free()
    answer = goes_on(disk.raw, path, "Paid", Idempotency_Key="k")
    assert goes_on(disk.raw, path, "Paid", Idempotency_Key="k") == answer
    sound(disk.data)


def test_a_server_that_stops_on_a_full_disk_can_be_started_when_there_is_space(
    tmp_path: Path, model_server: ScriptedServer, model: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, flags = DISKS[0], ["--data", tmp_path / "data", "--upstream", model_server.url]
    with full.ready(tmp_path, model_server.url, monkeypatch) as disk:
        path = started(disk.raw, model)
        disk.fill()
        refused(disk.raw.post(path, {"inputs": BIG}))
    with causerie(*flags, cwd=tmp_path) as (_, url):
        goes_on(Raw(url), path)
    sound(tmp_path / "data")


def served(*arguments: str | Path, circumstance: tuple[str, ...] = ("--without-rights",)) -> str:
    """Try to serve, see that this is refused, and return the one line that says why."""
    command = [sys.executable, FALTERING, *circumstance, "serve", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode == NOT_DROPPED:
        pytest.skip("root cannot give up its right to override the modes of files here")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("causerie: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory with a database of some conversations, written by a server that has stopped."""
    data = tmp_path / "data"
    with causerie("--data", data, cwd=tmp_path) as (_, url):
        for number in range(4):
            answer = Raw(url).post("/v1/conversations", {"inputs": f"Hello {number} {BIG[:3000]}"})
            Raw(url).post(f"/v1/conversations/{answer.json['conversation_id']}", {"inputs": f"More {number}"})
    yield data
    data.chmod(0o755)


def test_a_directory_that_cannot_be_written_is_a_refusal(tmp_path: Path, data: Path) -> None:
    tmp_path.joinpath("locked").mkdir(mode=0o555)
    assert "locked/data" in served("--data", tmp_path / "locked" / "data")
    assert "locked" in served("--data", tmp_path / "locked")
    data.chmod(0o555)
    before = (data / DATABASE).read_bytes()
    assert str(data / DATABASE) in served("--data", data)
    assert (data / DATABASE).read_bytes() == before


def test_a_file_that_cannot_be_written_is_a_refusal(data: Path) -> None:
    (data / DATABASE).chmod(0o444)
    before = (data / DATABASE).read_bytes()
    message = served("--data", data)
    assert str(data / DATABASE) in message
    assert "readonly" in message
    assert (data / DATABASE).read_bytes() == before


def test_what_is_no_database_is_a_refusal_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    text = "Not a database, whatever its name.\n" * 400
    (data / DATABASE).write_text(text, encoding="utf-8")
    message = served("--data", data)
    assert str(data / DATABASE) in message
    assert "not a database" in message
    assert "causerie check" in message
    assert (data / DATABASE).read_text(encoding="utf-8") == text


def test_a_database_of_a_newer_version_is_a_refusal(data: Path) -> None:
    with closing(sqlite3.connect(data / DATABASE, isolation_level=None)) as connection:
        connection.execute("INSERT INTO migration VALUES (999, '999_later', '2030-01-01')")
    assert "schema version 999" in served("--data", data)


def trashed(data: Path, needle: bytes) -> None:
    """Lose the page that has `needle`."""
    whole = (data / DATABASE).read_bytes()
    start = whole.index(needle) // PAGE * PAGE
    (data / DATABASE).write_bytes(whole[:start] + b"\xa5" * PAGE + whole[start + PAGE :])


@pytest.fixture
def about(data: Path) -> Callable[[str], str]:
    """Find the one conversation in which something was said."""

    def find(words: str) -> str:
        with closing(sqlite3.connect(data / DATABASE)) as connection:
            query = "SELECT DISTINCT conversation FROM entry WHERE INSTR(CAST(body AS TEXT), ?)"
            ((found,),) = connection.execute(query, [words]).fetchall()
        return str(found)

    return find


def test_a_damaged_page_is_a_503_where_it_is_needed_and_named_by_a_checkup(
    tmp_path: Path, data: Path, about: Callable[[str], str]
) -> None:
    damaged, whole = about("said: More 1"), about("said: More 3")
    trashed(data, b'{"role":"user","content":"More 1"}')
    with causerie("--data", data, cwd=tmp_path) as (_, url):
        raw = Raw(url)
        for path in ("history", "messages"):
            refused(raw.get(f"/v1/conversations/{damaged}/{path}"))
        refused(raw.post(f"/v1/conversations/{damaged}", {"inputs": "Still there?"}))
        assert raw.get(f"/v1/conversations/{damaged}").status == 200
        assert raw.get("/v1/conversations").status == 200
        assert len(raw.get(f"/v1/conversations/{whole}/history").json["entries"]) == 4
        faults = [str(fault) for fault in check(data / DATABASE).faults]
    assert any(fault.startswith("the file: ") for fault in faults)
    assert any(fault.startswith(f"local/{damaged}: it cannot be read: ") for fault in faults)


@pytest.mark.parametrize("column", ["body", "prompt", "private"])
def test_a_damaged_row_is_a_503_and_named_by_a_checkup(
    tmp_path: Path, data: Path, about: Callable[[str], str], column: str
) -> None:
    """A few bits flipped in the middle of what SQLite takes for data: it does not notice."""
    damaged = about("said: More 1")
    with closing(sqlite3.connect(data / DATABASE)) as connection:
        query = "SELECT body, prompt, private FROM entry WHERE conversation = ? AND position = 4"
        ((body, prompt, private),) = connection.execute(query, [damaged]).fetchall()
    file = bytearray((data / DATABASE).read_bytes())
    row = file.index(body + prompt + private)
    start = row + {"body": 0, "prompt": len(body), "private": len(body + prompt)}[column]
    for place in range(start + 20, start + 24):
        file[place] ^= 0x80
    (data / DATABASE).write_bytes(file)

    with causerie("--data", data, cwd=tmp_path) as (_, url):
        raw = Raw(url)
        if column == "body":  # what is shown is read alone
            refused(raw.get(f"/v1/conversations/{damaged}/history"))
        refused(raw.post(f"/v1/conversations/{damaged}", {"inputs": "Still there?"}))
    faults = [str(fault) for fault in check(data / DATABASE).faults]
    assert faults
    assert [fault for fault in faults if not fault.startswith(f"local/{damaged}, entry 4: ")] == []


def test_no_page_that_is_lost_is_a_fault_of_the_servers(tmp_path: Path, data: Path) -> None:
    """Each page in turn: the store refuses to open, or what can be answered is, and the rest is a 503."""
    whole = (data / DATABASE).read_bytes()
    pages = range(1, len(whole) // PAGE)
    assert len(pages) > 30
    statuses = Counter[int]()
    for page in pages:
        path = tmp_path / f"page-{page}.db"
        path.write_bytes(whole[: page * PAGE] + b"\xa5" * PAGE + whole[(page + 1) * PAGE :])
        statuses.update(asyncio.run(asked_everything(path)))
    assert set(statuses) <= {200, 404, 409, 503}
    assert statuses[200] > statuses[503] > len(pages)


async def asked_everything(path: Path) -> list[int]:
    """Open a database and ask for all there is; return the status of each answer."""
    engine = Engine(SQLiteStore(path), Rehearsal(), default_model="rehearsal")
    statuses = list[int]()

    async def ask(work: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(PATIENCE):
                found = await work
        except APIError as error:
            statuses.append(error.status_code)
            return None
        statuses.append(200)
        return found

    if await ask(engine.open()) is None and statuses == [503]:
        return statuses
    start = StartRequest(inputs="Hello")
    listed = await ask(engine.list("local", ListRequest())) or []
    if run := await ask(engine.start("local", start)):
        await ask(run.body())
    for one in listed:
        for read in (engine.get_history, engine.get_messages):
            for body in await ask(read("local", one.id)) or []:
                json.loads(body)
        await ask(engine.get("local", one.id))
        await ask(engine.list_runs("local", one.id))
        if run := await ask(engine.append("local", one.id, AppendRequest(inputs="More"))):
            await ask(run.body())
        await ask(engine.delete("local", one.id))
    await engine.close()
    return statuses
