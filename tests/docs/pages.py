"""Markdown as far as our pages use it: headings, links, and fenced blocks with what they should print."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("benchmarks/*.md"))]

_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
_HEADING = re.compile(r"^#+ (?P<text>.+)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block: `kind` is the word behind its fence."""

    kind: str
    text: str
    line: int


@dataclass(frozen=True)
class Example:
    """Something to try, and what should come of it; `shown` is None where the page does not say."""

    kind: str
    code: str
    shown: str | None
    line: int


def blocks(page: str) -> list[Block]:
    """Return the fenced blocks of a page."""
    return [
        Block(found["kind"], found["text"], page.count("\n", 0, found.start()) + 1) for found in _FENCE.finditer(page)
    ]


def examples(page: str) -> Iterator[Example]:
    """Yield what a page shows to try, in order: `python` with the `text` behind it, and each command of a `console`."""
    found = blocks(page)
    for block, following in zip(found, [*found[1:], Block("", "", 0)], strict=True):
        if block.kind == "python":
            yield Example("python", block.text, following.text if following.kind == "text" else None, block.line)
        elif block.kind == "console":
            yield from _commands(block)


def anchors(page: str) -> set[str]:
    """Return what a link to this page may name after its ``#``."""
    prose = _FENCE.sub("", page)
    return {re.sub(r"[^\w\- ]", "", found["text"].lower()).replace(" ", "-") for found in _HEADING.finditer(prose)}


def links(page: str) -> list[str]:
    """Return the targets of all links."""
    return [found["target"] for found in _LINK.finditer(_FENCE.sub("", page))]


def _commands(block: Block) -> Iterator[Example]:
    command, shown = "", ""
    for line in [*block.text.splitlines(keepends=True), "$ "]:
        if line.startswith("$ ") and command:
            yield Example("console", command, shown or None, block.line)
            command, shown = "", ""
        if line.startswith("$ "):
            command = line.removeprefix("$ ")
        elif command.endswith("\\\n") and not shown:
            command += line
        else:
            shown += line
