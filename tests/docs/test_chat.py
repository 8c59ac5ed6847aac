"""The conversations on the pages are held word by word at a terminal, and look as they are shown."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running import serving
from tests.support.terminal import Terminal, terminal

from .agreement import Agreement
from .pages import ROOT, Example, examples
from .trying import SHOWN_AT

PAGES = ["README.md", "docs/chat.md"]
TYPED = re.compile(r"^(?P<prompt>> |branch at which entry\? |and say \(.*?\): )(?P<text>.+)$", re.MULTILINE)
MINUTE = re.compile(r"\b\d{4}-\d\d-\d\d \d\d:\d\d\b")


def chats(page: str) -> list[Example]:
    """Return the chats of a page; one that only follows from another needs what that has made."""
    return [one for one in examples(page) if re.search(r"\bcauserie chat\b", one.code)]


def held(example: Example, terminal: Terminal) -> str:
    """Type what the example types; return what is shown in the end."""
    for line in TYPED.finditer(example.shown or ""):
        terminal.sees(rf"(?:^|\n){re.escape(line['prompt'])}")
        terminal.types(line["text"])
    terminal.leaves()
    return "\n".join(terminal.shown)


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """Run the server that pages speak of."""
    with serving() as url:
        yield url.removeprefix("http://")


@pytest.mark.parametrize("name", PAGES)
def test_a_chat_looks_as_it_is_shown(name: str, host: str, tmp_path: Path) -> None:
    page, agreement, known = (ROOT / name).read_text("utf-8"), Agreement(), dict[str, str]()
    binaries = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    assert chats(page)
    for example in chats(page):
        code = example.code.replace(".venv/bin/causerie", "causerie")
        for shown, real in {SHOWN_AT: host, **known}.items():
            code = code.replace(shown, real)
        with terminal(["sh", "-c", code], cwd=tmp_path, env={"PATH": binaries}) as window:
            printed = MINUTE.sub("NOW", held(example, window)).rstrip().replace(host, SHOWN_AT)
        expected = MINUTE.sub("NOW", example.shown or "").rstrip()
        assert agreement.holds(expected, printed), f"{name}:{example.line} shows\n{expected}\nbut got\n{printed}"
        known |= agreement.known
