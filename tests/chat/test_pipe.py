"""A chat in a pipe or a script: the answer on standard output and nothing else, and exit codes that can be tested."""

from __future__ import annotations

import base64
import signal
import subprocess
from pathlib import Path

import pytest

from causerie import Causerie
from tests.client.canned import canned, stream
from tests.support.replies import PATIENCE, Reasoning, Text
from tests.support.samples import GET_RATE
from tests.support.scripted import Script
from tests.support.spawned import environment

from .conftest import COMMAND, Piped, Stored

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def test_the_answer_is_all_of_standard_output(piped: Piped, model: Script) -> None:
    model.reply(Reasoning("A hue."), Text("It is **blue**"), Text(".\x1b"))
    done = piped("-m", "Which colour?")
    assert (done.returncode, done.stdout) == (0, "It is **blue**.\x1b\n")
    assert done.stderr.startswith("thinking: A hue.\n(16 tokens in, 3 out, conv_")
    assert "\x1b" not in done.stderr


def test_what_is_piped_in_is_said(piped: Piped, model: Script) -> None:
    done = piped(said="def f():\n  @decorated\n")
    assert (done.returncode, done.stdout) == (0, "Answer 1\n")
    assert model.last.messages == [{"role": "user", "content": "def f():\n  @decorated\n"}]


def test_a_conversation_goes_on_from_one_command_to_the_next(piped: Piped, model: Script) -> None:
    first = piped("--message", "One", "--instructions", "Be brief.")
    conversation = first.stderr.strip(")\n").rpartition(", ")[2]
    second = piped("--conversation", conversation, said="Two")
    assert second.stdout == "Answer 2\n"
    assert conversation not in second.stderr  # it is known, and not new
    contents = [message["content"] for message in model.last.messages]
    assert contents == ["Be brief.", "One", "Answer 1", "Two"]
    listed = piped("--list")
    assert listed.returncode == 0
    assert listed.stdout.splitlines()[0].startswith(f"1\t{conversation}\t")
    assert listed.stdout.splitlines()[0].endswith(f"  {model.name}  One")
    assert listed.stderr == ""


def test_variables_and_the_file_count_too(piped: Piped, model: Script, tmp_path: Path) -> None:
    (tmp_path / "causerie.toml").write_text('port = 9000\n[chat]\ninstructions = "From the file."\n', encoding="utf-8")
    piped("-m", "One")
    assert model.last.messages[0] == {"role": "system", "content": "From the file."}
    piped("-m", "One", CAUSERIE_INSTRUCTIONS="From a variable.")
    assert model.last.messages[0] == {"role": "system", "content": "From a variable."}


def test_an_image_reaches_the_model(piped: Piped, model: Script, tmp_path: Path) -> None:
    (tmp_path / "a b.png").write_bytes(PIXEL)
    assert piped("-m", 'What is on @"a b.png", please?').returncode == 0
    (message,) = model.last.messages
    image = f"data:image/png;base64,{base64.b64encode(PIXEL).decode()}"
    assert message["content"] == [
        {"type": "text", "text": "What is on"},
        {"type": "image_url", "image_url": {"url": image}},
        {"type": "text", "text": ", please?"},
    ]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["-m", "See @nowhere.png"], 2, "causerie: @nowhere.png cannot be attached (No such file or directory)"),
        (["-m", "See @note.txt."], 2, "causerie: @note.txt is no image that can be attached"),
        (["-m", "See @huge.png"], 2, "causerie: @huge.png is 30.0 MB; an image may have 21 MB"),
        (["-m", "  "], 2, "causerie: There is nothing to say"),
        ([], 2, "causerie: There is nothing to say"),
        (["--url", "nowhere", "-m", "Hello."], 2, "causerie: url: expected a base URL such as http://127.0.0.1:8080"),
        (["--conversation", "conv_none", "-m", "Hello."], 1, "error: "),
    ],
)
def test_what_went_wrong_is_said_aside(piped: Piped, tmp_path: Path, flags: list[str], code: int, words: str) -> None:
    (tmp_path / "note.txt").write_text("a note", encoding="utf-8")
    with (tmp_path / "huge.png").open("wb") as huge:
        huge.truncate(30_000_000)
    done = piped(*flags)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["over HTTP"], indirect=True)
def test_an_agent_is_asked_instead_of_a_model(piped: Piped) -> None:
    now = "2026-11-23T02:59:44.306267Z"
    events = [
        {"type": "conversation.response.started", "created_at": now, "conversation_id": "conv_1"},
        {"type": "message.output.delta", "created_at": now, "id": "msg_1", "content": "Yes."},
        {"type": "something.else", "created_at": now},
        {"type": "conversation.response.done", "created_at": now, "usage": {}},
    ]
    with canned(stream(*((None, event) for event in events))) as server:
        done = piped("--url", f"{server.url}/v1/", "--agent", "ag_1", "-m", "Hello.", CAUSERIE_API_KEY="sesame")
    assert (done.returncode, done.stdout) == (0, "Yes.\n")
    (asked,) = server.asked
    assert asked.path == "/v1/conversations"
    assert asked.headers["authorization"] == "Bearer sesame"
    assert asked.json == {"agent_id": "ag_1", "inputs": "Hello.", "name": "Hello.", "stream": True}


@pytest.mark.parametrize("where", ["over HTTP"], indirect=True)
@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--conversation", "conv_none"], 1, "(status 404, code 3404, correlation id "),
        (["--url", "http://127.0.0.1:9"], 1, "Connection refused. Is a server there?\n"),
        (["--data", "data"], 2, "causerie: --data is about a conversation in this process, --url about a server"),
    ],
)
def test_what_a_server_says_is_said(piped: Piped, flags: list[str], code: int, words: str) -> None:
    done = piped("-m", "Hello.", *flags)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("where", ["in process"], indirect=True)
def test_a_file_is_no_folder_for_a_database(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    done = piped("-m", "Hello.", "--data", "taken")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("causerie: taken cannot be the database's folder (File exists): it has to be a ")


@pytest.mark.parametrize("where", ["in process"], indirect=True)
def test_a_database_in_use_leads_to_its_server(piped: Piped, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with Causerie(tmp_path / "data"):
        done = piped("-m", "Hello.")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Where that is a server, --url talks to it." in done.stderr


def test_an_answer_that_breaks_off_is_an_error(piped: Piped, model: Script) -> None:
    model.fail(429, "slow down")
    done = piped("-m", "Hello.")
    assert (done.returncode, done.stdout) == (1, "")
    assert "slow down" in done.stderr


def test_a_call_that_nobody_answers_is_an_error(piped: Piped, model: Script, stored: Stored) -> None:
    conversation = stored(inputs="Hello.", tools=[GET_RATE])
    model.call("get_rate", {"date": "2024"})
    done = piped("--conversation", conversation, "-m", "Which rate?")
    assert (done.returncode, done.stdout) == (1, "")
    assert '* get_rate({"date": "2024"})\n' in done.stderr
    assert f"error: results are waited for; give them with causerie chat --conversation {conversation}" in (done.stderr)


def test_ctrl_c_ends_the_answer_and_the_command(where: list[str], model: Script, tmp_path: Path) -> None:
    command = [*COMMAND, *where, "-m", "What is seven?"]
    with model.gate() as gate:
        model.reply(Text("Seven is"), gate, Text(" a prime."))
        with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as chat:  # fmt: skip
            assert chat.stdout is not None
            assert chat.stdout.read(8) == "Seven is"
            chat.send_signal(signal.SIGINT)
            out, err = chat.communicate(timeout=PATIENCE)
        assert model.last.abandoned.wait(PATIENCE)
    assert (chat.returncode, out) == (130, "\n")
    assert err.startswith("(cancelled; what was said is kept)\n")


def test_whoever_reads_may_leave(where: list[str], model: Script, tmp_path: Path) -> None:
    with model.gate() as gate:
        model.reply(Text("Seven is"), gate, Text(" a prime."))
        with subprocess.Popen([*COMMAND, *where, "-m", "What?"], cwd=tmp_path, env=environment(),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as chat:  # fmt: skip
            assert chat.stdout is not None
            assert chat.stderr is not None
            assert chat.stdout.read(8) == "Seven is"
            chat.stdout.close()
            gate.open()
            assert chat.wait(PATIENCE) == 1
            assert chat.stderr.read() == ""
