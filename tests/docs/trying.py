"""Tries the examples of a page, as a reader would: one server, one shell, one Python session for all of it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from causerie import cli
from causerie.settings import SETTINGS, load
from tests.support.spawned import Spawned, causerie, spawned

from .pages import ROOT, Example, blocks

SHOWN_AT = "127.0.0.1:8080"
"""Where pages say that the server is."""
END = "-- end of example --"
SCRIPT = "play.toml"
"""What pages call a script; the block that holds it begins with the name."""


class Reader:
    """Somebody who reads a page and types along."""

    def __init__(self, server: tuple[Spawned, str], shell: Spawned, player: Spawned) -> None:
        """Sit before a running server, a shell and a Python session."""
        self._program, url = server
        self._host = url.removeprefix("http://")
        self._shell, self._player = shell, player
        self._ran('curl() { command curl -sS "$@"; }')  # there is no terminal, so it would show its progress

    def tries(self, example: Example) -> str | None:
        """Try an example; return what it printed, or None where trying it is something else than running it.

        Raises:
            AssertionError: it does not work.
        """
        if example.kind == "python":
            return self._told(self._player, json.dumps(self._here(example.code)))
        word = re.split(r"[\s=]", example.code, maxsplit=1)[0]
        if word in _CHECKED:
            _CHECKED[word](example.code)
            return self._banner() if example.code.split()[:2] in (["make", "run"], ["causerie", "serve"]) else None
        assert word == "curl" or "=$(curl " in example.code, f"nobody knows how to try {example.code!r}"
        printed = self._ran(self._here(example.code))
        assert example.shown or '"object":"Error"' not in printed, printed
        return printed

    def _here(self, code: str) -> str:
        return code.replace(SHOWN_AT, self._host)

    def _banner(self) -> str:
        return "".join(self._program.said).replace(self._host, SHOWN_AT)

    def _ran(self, command: str) -> str:
        return self._told(self._shell, f"{command}\nprintf '\\n{END} %s\\n' $?")

    def _told(self, program: Spawned, text: str) -> str:
        before = len(program.said)
        program.tell(f"{text}\n")
        failed = program.line(rf"^{END} (\d+)$")[1]
        printed = "".join(program.said[before:-1]).replace(self._host, SHOWN_AT)
        assert failed == "0", printed
        return printed


@contextmanager
def reader(folder: Path, python: Path, page: str = "") -> Iterator[Reader]:
    """Sit down with a fresh server; `python` is an interpreter that has the official SDK.

    Args:
        page: what is going to be read; a script for the rehearsal model that it shows is played.
    """
    flags = list[str]()
    for block in blocks(page):
        if block.kind == "toml" and block.text.startswith(f"# {SCRIPT}\n"):
            (folder / SCRIPT).write_text(block.text, encoding="utf-8")
            flags = ["--rehearsal-script", SCRIPT]
    with (
        causerie(*flags, cwd=folder) as server,
        spawned(["sh"], cwd=folder) as shell,
        spawned([python, Path(__file__).with_name("player.py"), END], cwd=folder) as player,
    ):
        yield Reader(server, shell, player)


def _check_make(command: str) -> None:
    _, word, *rest = shlex.split(command, comments=True)
    assert re.search(rf"^{re.escape(word)}:.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE), command
    for given in rest:
        name, _, flags = given.partition("=")
        assert (word, name) == ("run", "ARGS"), command
        _check_flags(shlex.split(flags))


def check_causerie(command: str) -> None:
    """See that a command line is understood, flags and values."""
    _, name, *flags = shlex.split(command, comments=True)
    assert name in {"serve", "chat"}, command
    if name == "serve":
        _check_flags(flags)


def _check_flags(flags: list[str]) -> None:
    given = cli.serve.make_context("serve", flags).params
    load({name: value for name, value in given.items() if name != "config"}, given["config"])


def _check_export(command: str) -> None:
    assert re.split(r"[\s=]", command)[1] in {setting.variable for setting in SETTINGS}, command


def _check_pip(command: str) -> None:
    assert command.split() == ["pip", "install", "mistralai"], command


_CHECKED: dict[str, Callable[[str], None]] = {
    "make": _check_make, "causerie": check_causerie, ".venv/bin/causerie": check_causerie, "export": _check_export,
    "pip": _check_pip,
}  # fmt: skip
