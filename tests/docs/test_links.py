"""Links between our pages lead somewhere, and every page can be found."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, anchors, links


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = [target for target in links(page.read_text("utf-8")) if not leads_somewhere(page, target)]
    assert dead == []


def leads_somewhere(page: Path, target: str) -> bool:
    """Whether a link is out of the house, or to a file of ours and a heading in it."""
    if target.startswith("https://"):
        return True
    path, _, anchor = target.partition("#")
    file = (page.parent / path) if path else page
    return file.exists() and (not anchor or anchor in anchors(file.read_text("utf-8")))


def test_every_page_is_in_the_index() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / target.partition("#")[0]).resolve() for target in links(index.read_text("utf-8"))}
    assert {path.resolve() for path in index.parent.glob("*.md")} - listed == {index}


@pytest.mark.parametrize(
    ("target", "fine"),
    [
        ("https://example.com/x", True),
        ("quickstart.md", True),
        ("quickstart.md#a-real-model", True),
        ("#with-curl", True),
        ("quickstart.md#nowhere", False),
        ("nowhere.md", False),
        ("#nowhere", False),
    ],
)
def test_a_dead_link_is_noticed(target: str, fine: bool) -> None:
    assert leads_somewhere(ROOT / "docs/quickstart.md", target) is fine


def test_links_and_headings_in_code_are_none() -> None:
    page = "# One `two`, three\n[a](b.md#c)\n\n```console\n# four\n[d](e)\n```\n"
    assert links(page) == ["b.md#c"]
    assert anchors(page) == {"one-two-three"}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_on_a_page_waits_to_be_filled_in(page: Path) -> None:
    assert re.findall(r"^[A-Z]{4,}$|\bTODO\b|\bTBD\b|\bFIXME\b", page.read_text("utf-8"), re.MULTILINE) == []
