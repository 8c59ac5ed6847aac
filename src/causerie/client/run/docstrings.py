"""What a docstring says of a function and of its parameters, in Google's style or in reStructuredText. No I/O."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple

_SECTION = re.compile(r"(?P<name>[A-Z][A-Za-z ]*):[ \t]*")
_PARAMETERS = {"Args", "Arguments", "Parameters", "Params", "Keyword Args", "Keyword Arguments", "Other Parameters"}
_REMARKS = {
    "Attributes", "Example", "Examples", "Note", "Notes", "Raises", "References", "Return", "Returns", "See Also",
    "Todo", "Warning", "Warnings", "Warns", "Yield", "Yields",
}  # fmt: skip
_ITEM = re.compile(r"(?P<indent>\s+)\*{0,2}(?P<name>\w+)\s*(?:\([^)]*\))?:\s*(?P<text>.*)")
_FIELD = re.compile(r":(?P<kind>\w+)(?:\s+(?P<name>[^:]*))?:\s*(?P<text>.*)")


class Described(NamedTuple):
    """A function in words: what it is for, and what each parameter means."""

    purpose: str
    parameters: dict[str, str]


def described(docstring: str | None) -> Described:
    """Take a docstring apart; sections that a model has no use for are left out."""
    purpose, section = list[str](), list[str]()
    parameters: dict[str, str] = {}
    where = ""
    for line in _lines(docstring or ""):
        heading, field = _SECTION.fullmatch(line), _FIELD.fullmatch(line)
        if heading and heading["name"] in _PARAMETERS | _REMARKS:
            where = heading["name"]
        elif field:
            where = "field"
            if field["kind"] in ("param", "parameter", "arg", "argument") and field["name"]:
                name = field["name"].split()[-1]
                where, parameters[name] = f"field {name}", field["text"]
        elif where.startswith("field ") and line.strip():
            parameters[where[6:]] = f"{parameters[where[6:]]} {line.strip()}".strip()
        elif where in _PARAMETERS and line[:1].isspace():
            section.append(line)
        elif not where or (line and not line[0].isspace()):
            where = ""
            purpose.append(line)
    return Described("\n".join(purpose).strip(), _items(section) | parameters)


def _lines(docstring: str) -> list[str]:
    # The first line of a docstring has no indentation; where it is a heading, what stands under it has to keep its own.
    begins = docstring.partition("\n")[0]
    return inspect.cleandoc(f"\n{docstring}" if _SECTION.fullmatch(begins) else docstring).splitlines()


def _items(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    indent, name = "", ""
    for line in lines:
        item = _ITEM.fullmatch(line)
        if item and (not indent or item["indent"] == indent):
            indent, name = item["indent"], item["name"]
            found[name] = item["text"].strip()
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}".strip()
    return found
