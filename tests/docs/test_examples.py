"""What the README and the pages that teach show is tried, word by word, and comes out as they say."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from causerie.settings import load

from .agreement import Agreement
from .pages import PAGES, ROOT, Example, blocks, examples
from .trying import check_causerie, reader

TRIED = [
    "README.md", "docs/quickstart.md", "docs/agents.md", "docs/handoffs.md", "docs/client.md", "docs/guardrails.md",
    "docs/run.md",
]  # fmt: skip
SDKS = sorted((ROOT / ".venvs").glob("mistralai-*/bin/python"))


def test_there_are_environments_with_the_official_sdk() -> None:
    assert SDKS, "make test makes them"


@pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl")
@pytest.mark.parametrize("python", SDKS, ids=lambda path: path.parts[-3])
@pytest.mark.parametrize("name", TRIED)
def test_a_page_can_be_typed_along(name: str, python: Path, tmp_path: Path) -> None:
    agreement = Agreement()
    page = (ROOT / name).read_text("utf-8")
    with reader(tmp_path, python, page) as somebody:
        for example in examples(page):
            printed = somebody.tries(example)
            if printed is not None and example.shown is not None:
                place = f"{name}:{example.line}"
                assert agreement.holds(example.shown, printed), f"{place} shows\n{example.shown}but got\n{printed}"


@pytest.mark.parametrize("name", TRIED)
def test_a_page_shows_what_python_prints(name: str) -> None:
    printing = [one for one in examples((ROOT / name).read_text("utf-8")) if "print(" in one.code]
    assert printing
    assert [one for one in printing if one.shown is None] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_on_a_page_is_code(page: Path) -> None:
    for block in blocks(page.read_text("utf-8")):
        if block.kind == "python":
            compile(block.text, f"{page.name}:{block.line}", "exec")
        elif block.kind == "toml":
            tomllib.loads(block.text)


def test_the_files_on_the_page_about_settings_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for block in blocks((ROOT / "docs/settings.md").read_text("utf-8")):
        if block.kind == "toml":
            (tmp_path / "causerie.toml").write_text(block.text, encoding="utf-8")
            for name in re.findall(r'api_key_env = "(\w+)"', block.text):
                monkeypatch.setenv(name, "any")
            taken.append(load(config=str(tmp_path / "causerie.toml")))
    assert [{*one.models, *one.moderation} for one in taken] == [
        {"small", "large", "coder"}, {"others", "jailbreaking", "pii", "health"},
    ]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_page_tells_to_serve_can_be_served(page: Path) -> None:
    written = "\n".join(block.text for block in blocks(page.read_text("utf-8")) if block.kind in {"console", "sh"})
    for command in re.findall(r"causerie serve\b.*", written):
        check_causerie(command)


def test_commands_are_told_from_what_they_print() -> None:
    console = "```console\n$ curl -N x \\\n    -d '{}'\nevent: a\ndata: b\n$ echo\n```\n\n"
    page = f"{console}```python\nf()\n```\n\n```text\n1\n```\n"
    assert list(examples(page)) == [
        Example("console", "curl -N x \\\n    -d '{}'\n", "event: a\ndata: b\n", 1),
        Example("console", "echo\n", None, 1),
        Example("python", "f()\n", "1\n", 9),
    ]


ONE, TWO = f"conv_{1:032x}", f"conv_{2:032x}"
THREE, FOUR = f"conv_{3:032x}", f"conv_{4:032x}"


@pytest.mark.parametrize(
    ("shown", "printed", "agrees"),
    [
        ("a\nb\n", "a\nb\n\n", True),
        ("a\nb\n", "a\nc\n", False),
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\nd\n", "a\nb\nc\n", False),
        ("a\n...\n", "a\nb\nc\n", True),
        (f"{ONE} {ONE} {TWO}\n", f"{THREE} {THREE} {FOUR}\n", True),
        (f"{ONE} {ONE} {TWO}\n", f"{THREE} {FOUR} {FOUR}\n", False),
        ('"2026-11-23T02:59:44.306267Z"\n', '"2027-01-01T00:00:00.000001Z"\n', True),
        ('"2026-11-23T02:59:44.306267Z"\n', '"2027-01-01T00:00:00Z"\n', False),
        ("data /path/to/data\n", "data /tmp/x/data\n", True),
        ("== making .venv from requirements/base.txt\na\n", "a\n", True),
        ("f(x) [1]\n", "f(x) [1]\n", True),
    ],
)
def test_what_a_page_shows_agrees_or_not(shown: str, printed: str, agrees: bool) -> None:
    assert Agreement().holds(shown, printed) is agrees


def test_an_id_is_the_same_all_over_a_page() -> None:
    agreement = Agreement()
    assert agreement.holds(f"{ONE}\n", f"{THREE}\n")
    assert not agreement.holds(f"{ONE}\n", f"{FOUR}\n")
    assert agreement.holds(f"{ONE} {TWO}\n", f"{THREE} {FOUR}\n")
