"""What can be called, sent, met or set stands in the reference, and what stands there is what the code says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import click
import msgspec
import pytest
from starlette.routing import Route

from causerie import cli, errors
from causerie.serving import build_app
from causerie.settings import SETTINGS, Settings
from causerie.types import completion, content, entries, events, requests, responses, tools
from causerie.types.operations import AGENTS, BY_KEY, OPERATIONS, Operation
from scripts import api, reference

from .pages import ROOT, anchors

REFERENCE = (ROOT / "docs/reference.md").read_text("utf-8")
SETTINGS_PAGE = (ROOT / "docs/settings.md").read_text("utf-8")
COMMAND_PAGES = SETTINGS_PAGE + "".join(
    (ROOT / "docs" / name).read_text("utf-8") for name in ("operating.md", "chat.md")
)
MODULES = (completion, content, entries, events, responses, tools)
STRUCTS = [*(struct for module in MODULES for struct in api.structs(module)), *api.ABOUT_AGENTS, *api.ABOUT_MODERATION]


@pytest.mark.parametrize("name", reference.pages())
def test_a_generated_page_is_fresh(name: str) -> None:
    assert (ROOT / "docs" / name).read_text("utf-8") == reference.pages()[name], "make docs writes it"


def test_pages_are_written_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["--check"], tmp_path) == 1
    assert reference.main([], tmp_path) == 0
    assert reference.main(["--check"], tmp_path) == 0
    (tmp_path / "reference.md").write_text(REFERENCE + "by hand\n", encoding="utf-8")
    capsys.readouterr()
    assert reference.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err == "reference.md is not fresh: make docs writes it\n"


def test_a_field_needs_a_sentence_and_a_sentence_a_field() -> None:
    fields = api.Fields({"*": {"model": "The model."}, "StartRequest": {"inputs": "What is said."}})
    assert fields.meaning(requests.StartRequest, "model") == "The model."
    with pytest.raises(LookupError, match=r"no sentence about StartRequest\.store"):
        fields.meaning(requests.StartRequest, "store")
    with pytest.raises(LookupError, match=r"StartRequest\.inputs"):
        fields.see_that_all_were_used()
    fields.meaning(requests.StartRequest, "inputs")
    fields.see_that_all_were_used()


@pytest.mark.parametrize("one", BY_KEY.values(), ids=lambda one: one.key)
def test_an_operation_is_documented(one: Operation) -> None:
    section = section_of(", ".join(one.names))
    assert f"`{one.method} {one.path}`" in section
    assert one.also is None or f"`{one.also}` does the same" in section
    assert ("the official SDK does not know it" in section) == one.ours
    assert f"Answers {one.status} " in section
    fields = [field.name for field in msgspec.structs.fields(one.request)] if one.request else []
    assert [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")] == fields
    assert ("[events](#events)" in section) == bool(one.stream)


def test_all_operations_are_documented() -> None:
    assert len([name for one in OPERATIONS if not one.ours for name in one.names]) == 11
    assert len([name for one in AGENTS for name in one.names]) == 12
    names = [name for one in BY_KEY.values() for name in one.names]
    assert len(set(names)) == len(names)
    sections = ("Operations", "Agents", "Models", "Moderation")
    overviews = "".join(map(section_of, sections))
    assert [name for name in names if f"[`{name}`](#" not in overviews] == []


def test_what_operations_of_agents_answer_with_is_documented() -> None:
    answers = {struct for one in AGENTS for struct in get_args(one.response) or (one.response,) if struct}
    assert answers == set(api.ABOUT_AGENTS)


def test_all_kinds_of_event_are_documented() -> None:
    assert {struct for struct in STRUCTS if struct.__module__ == events.__name__} == set(get_args(events.Event))


@pytest.mark.parametrize("struct", STRUCTS, ids=lambda struct: struct.__name__)
def test_what_is_sent_is_documented(struct: type[msgspec.Struct]) -> None:
    section = section_of(api.heading(struct))
    tag = struct.__struct_config__.tag
    assert tag is None or f'`type`: `"{tag}"`' in section
    documented = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert documented == [field.name for field in msgspec.structs.fields(struct)]


@pytest.mark.parametrize("kind", [kind for _, kind in api.raised()], ids=lambda kind: kind.__name__)
def test_an_error_is_documented_with_its_status(kind: type[errors.CauserieError]) -> None:
    (row,) = [line for line in section_of("Errors").splitlines() if f"`{kind.__name__}`" in line]
    if issubclass(kind, errors.APIError):
        assert f"| {kind.status_code} | {kind.code} | `{kind.type}` |" in row


def test_every_error_class_is_found() -> None:
    declared = {
        name for name, thing in vars(errors).items() if isinstance(thing, type) and issubclass(thing, Exception)
    }
    assert {kind.__name__ for _, kind in api.raised()} == declared


def test_every_path_is_documented() -> None:
    paths = [route.path for route in build_app(Settings(data=":memory:")).routes if isinstance(route, Route)]
    assert len(paths) > 4
    assert [path for path in paths if path.replace(":path}", "}") not in REFERENCE] == []


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_a_setting_is_documented(setting: reference.Setting) -> None:
    row = next(line for line in SETTINGS_PAGE.splitlines() if line.startswith(f"| `{setting.name}` |"))
    assert [word for word in (setting.flag, setting.variable) if word and f"| `{word}` |" not in row] == []
    assert setting.sentence in row


def test_every_command_and_flag_is_documented() -> None:
    words = set(command_line(cli.causerie))
    assert {"causerie serve", "--port", "--config", "--version"} <= words
    shown = set(re.findall(r"`([^`\n]+)`", REFERENCE + COMMAND_PAGES))
    assert [word for word in sorted(words) if not any(re.search(rf"(^| ){word}$", code) for code in shown)] == []


def command_line(command: click.Command, name: str = "causerie") -> Iterator[str]:
    """Yield every command below `command` and its long flags."""
    for parameter in command.params:
        yield from (flag for flag in parameter.opts if flag.startswith("--"))
    for child in command.commands.values() if isinstance(command, click.Group) else ():
        yield f"{name} {child.name}"
        yield from command_line(child, f"{name} {child.name}")


def section_of(heading: str) -> str:
    """Return the part of the reference under `heading`."""
    assert anchors(f"# {heading}") <= anchors(REFERENCE), heading
    (found,) = [part for part in ("\n" + REFERENCE).split("\n#") if part.lstrip("#").startswith(f" {heading}\n")]
    return found
