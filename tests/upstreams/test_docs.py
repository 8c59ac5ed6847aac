"""What the pages on upstreams say is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from causerie.upstreams.chat_request import Dialect
from causerie.upstreams.script import Script
from causerie.upstreams.trouble import Trouble

DOCS = Path(__file__).parents[2] / "docs"
REHEARSAL = (DOCS / "rehearsal.md").read_text("utf-8")
UPSTREAMS = (DOCS / "upstreams.md").read_text("utf-8")


def test_the_scripts_in_the_docs_are_scripts() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", REHEARSAL, re.DOTALL)
    scripts = [Script.parse(block) for block in blocks if "[[rules]]" in block]
    assert any(script.rules for script in scripts)


def test_every_key_of_a_script_is_documented() -> None:
    keys = {*Script.__struct_fields__} - {"rules"}
    (first,) = Script.parse('[[rules]]\ntext = "x"').rules
    keys |= {*first.__struct_fields__}
    assert {key for key in keys if f"`{key}`" not in REHEARSAL} == set()


def rows() -> list[tuple[int, int, int]]:
    table = UPSTREAMS[UPSTREAMS.index("## When it fails") :]
    found = []
    for statuses, ours, code in re.findall(r"^\| ([\d, ]+?)(?: otherwise)? \| (\d+) \| (\d+) \|", table, re.MULTILINE):
        found += [(int(status), int(ours), int(code)) for status in statuses.split(", ")]
    return found


@pytest.mark.parametrize(("status", "ours", "code"), [*rows(), (500, 502, 3000), (418, 502, 3000)])
def test_the_table_of_failures_is_true(status: int, ours: int, code: int) -> None:
    error = Trouble("u").status(status, {}, b'{"error": {"message": "no"}}')
    assert (error.status_code, error.code) == (ours, code)


def test_the_table_of_failures_was_read() -> None:
    assert {row[0] for row in rows()} == {400, 401, 403, 404, 405, 408, 413, 422, 429, 503, 504}


@pytest.mark.parametrize("dialect", get_args(Dialect))
def test_every_dialect_is_documented(dialect: str) -> None:
    assert f"| `{dialect}` |" in UPSTREAMS
