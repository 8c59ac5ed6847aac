"""Reads SQL from files: named statements, and numbered migrations. No SQL is built from strings anywhere."""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_FILES = resources.files(__package__) / "sql"


def statements(dialect: str) -> dict[str, str]:
    """Return the statements of `dialect`, by the name in the comment above each."""
    text = (_FILES / f"{dialect}.sql").read_text("utf-8")
    _, *parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[::2], parts[1::2], strict=True)}


def migrations(dialect: str) -> list[tuple[int, str, str]]:
    """Return the migrations of `dialect` in order: number, name, script."""
    files = sorted((file for file in (_FILES / dialect).iterdir() if file.name.endswith(".sql")), key=lambda f: f.name)
    return [
        (int(file.name[:3]), file.name.removesuffix(".sql"), file.read_text("utf-8"))
        for file in files
    ]  # fmt: skip
