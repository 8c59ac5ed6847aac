"""The command line: what it understands, what it hands on, and how it says that something cannot be done."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from causerie import cli, serving
from causerie.banner import banner
from causerie.errors import SchemaMismatch, SettingsError, StoreInUse
from causerie.settings import SETTINGS, ModelRoute, Settings
from causerie.version import VERSION

URL = "http://127.0.0.1:8080"
Said = tuple[int, str, str]


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty current directory and no variables of ours."""
    for name in [name for name in os.environ if name.startswith("CAUSERIE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What would have been served."""
    served: list[Settings] = []
    monkeypatch.setattr(serving, "serve", served.append)
    return served


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run the command line; return its exit code and what it printed."""

    def say(*arguments: str) -> Said:
        with pytest.raises(SystemExit) as left:
            cli.main(arguments)
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return say


def test_serve_hands_the_settings_on(say: Callable[..., Said], served: list[Settings]) -> None:
    assert say("serve", "--port", "9000", "--data", ":memory:", "--max-body-bytes", "10") == (0, "", "")
    assert served == [Settings(port=9000, data=":memory:", max_body_bytes=10)]


def test_the_fixed_flags_are_there(say: Callable[..., Said], served: list[Settings]) -> None:
    Path("other.toml").write_text("port = 1\nmax_model_calls = 5", encoding="utf-8")
    upstream = "http://127.0.0.1:8000/v1"
    flags = ["--host", "::1", "--port", "2", "--data", "d", "--upstream", upstream, "--model", "m"]
    assert say("serve", *flags, "--config", "other.toml") == (0, "", "")
    assert served == [Settings(host="::1", port=2, data="d", upstream=upstream, model="m", max_model_calls=5)]


def test_variables_and_the_file_count_too(
    say: Callable[..., Said], served: list[Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("causerie.toml").write_text("port = 1\nmax_model_calls = 5", encoding="utf-8")
    monkeypatch.setenv("CAUSERIE_PORT", "2")
    say("serve")
    assert served == [Settings(port=2, max_model_calls=5)]


def test_help_lists_every_flag_and_shows_an_example(say: Callable[..., Said]) -> None:
    code, out, _ = say("serve", "--help")
    assert code == 0
    assert "causerie serve --upstream http://127.0.0.1:8000/v1" in out
    assert [setting.flag for setting in SETTINGS if setting.flag and setting.flag not in out] == []
    assert "--config" in out


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_without_a_command_it_says_which_there_are(say: Callable[..., Said], arguments: tuple[str, ...]) -> None:
    code, out, err = say(*arguments)
    assert (code, err) == (0, "")
    assert "serve" in out


def test_version(say: Callable[..., Said]) -> None:
    assert say("--version") == (0, f"causerie {VERSION}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--port", "x"], "--port: expected a whole number from 0 to 65535, got 'x'"),
        (["serve", "--host", "0.0.0.0"], "no API keys yet"),
        (["serve", "--database-url", "postgresql://127.0.0.1/x"], "PostgreSQL comes in a later version"),
        (["serve", "--config", "nowhere.toml"], "nowhere.toml cannot be read"),
        (["serve", "--prot", "1"], "'--port'"),
        (["serve", "--port"], "--port"),
        (["serve", "extra"], "extra"),
        (["sreve"], "'serve'"),
        (["sreve"], "`causerie --help` says what there is."),
        (["check"], "Missing argument 'FILE|DIR'. `causerie check --help` says what there is."),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(
    say: Callable[..., Said], served: list[Settings], arguments: list[str], said: str
) -> None:
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("causerie: ")
    assert said in err
    assert err.count("\n") == 1
    assert served == []


def test_a_busy_port_is_one_line(say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(serving, "serve", lambda settings: socket.create_server((settings.host, settings.port)))
        code, _, err = say("serve", "--port", str(port))
    assert code == 2
    reason = os.strerror(errno.EADDRINUSE)
    assert err.startswith(f"causerie: cannot listen on 127.0.0.1:{port} ({reason}): choose another with --port")
    assert err.count("\n") == 1


def test_a_folder_that_cannot_be_used_is_named(say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("taken").write_text("a file", encoding="utf-8")
    monkeypatch.setattr(serving, "serve", lambda settings: Path(settings.data).mkdir(parents=True))
    code, _, err = say("serve", "--data", "taken/here")
    assert code == 2
    assert err == f"causerie: taken/here: {os.strerror(errno.ENOTDIR)}\n"


@pytest.mark.parametrize(
    "error",
    [
        StoreInUse("causerie-data/causerie.db is open in process 42"),
        SchemaMismatch("the database is newer than this version"),
        SettingsError("rehearsal_script: play.toml is not a script"),
    ],
)
def test_what_the_store_or_the_model_refuses_is_one_line(
    say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(_: Settings) -> None:
        raise error

    monkeypatch.setattr(serving, "serve", refuse)
    assert say("serve") == (2, "", f"causerie: {error}\n")


def test_an_interrupt_is_not_an_error_of_ours(say: Callable[..., Said], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: Settings) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(serving, "serve", interrupt)
    code, out, err = say("serve")
    assert (code, out, err.strip()) == (130, "", "")


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Settings) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(serving, "serve", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["serve"])


@pytest.mark.parametrize(
    ("settings", "there", "not_there"),
    [
        ({}, ["rehearsal: a stand-in", "causerie-data", '{"inputs": "Hello!"'], ["NAME"]),
        ({"data": ":memory:"}, ["gone when the server stops"], ["causerie-data"]),
        ({"rehearsal_script": "play.toml"}, ["that plays play.toml"], []),
        (
            {"upstream": "http://127.0.0.1:1/v1", "model": "m", "upstream_api_key": "sesame"},
            ["http://127.0.0.1:1/v1 (default)", "model     m", '{"inputs"'],
            ["rehearsal", "sesame"],
        ),
        (
            {"upstream": "http://127.0.0.1:1/v1"},
            ["a request names its own", '{"model": "NAME", "inputs"', 'start_stream(model="NAME", inputs'],
            ["rehearsal"],
        ),
        ({"models": {"play": ModelRoute(upstream="rehearsal")}, "upstream": URL}, ['"model": "play"'], ["NAME"]),
    ],
)
def test_the_banner_says_who_answers_and_how_to_ask(
    settings: dict[str, Any], there: list[str], not_there: list[str]
) -> None:
    text = banner(Settings(**settings), URL)
    assert [
        part for part in [f"curl -N {URL}/v1/conversations", f'server_url="{URL}"', *there] if part not in text
    ] == []
    assert [part for part in not_there if part in text] == []
    assert max(map(len, text.splitlines())) <= 120
