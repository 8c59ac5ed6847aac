"""Handoffs as a model sees them: each is a tool without arguments, and what came of it is that tool's result.

Pure. The same agents are always offered under the same names: a name is part of the prompt, and of what a prompt
tells of earlier turns.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence

from causerie.types.agents import Agent
from causerie.types.tools import Function

LONGEST = 64
"""The longest name of a function that model servers take."""
PREFIX = "handoff_to_"
FUNCTIONS_FIRST = (
    "Not done: the functions that were called beside it are answered first. Hand over once their results are there."
)
_OTHER = re.compile(r"[^A-Za-z0-9_-]+")


def names(targets: Sequence[Agent], taken: Collection[str]) -> dict[str, Agent]:
    """Name the tools that hand over to `targets`, unlike each other and unlike the names that are `taken`.

    A name is made of the agent's; where that alone does not tell two of them apart, the end of its id is added.
    """
    plain = [_name(target.name) or _name(target.id) for target in targets]
    often, found = Counter(plain), dict[str, Agent]()
    for name, target in zip(plain, targets, strict=True):
        unlike = name if often[name] == 1 and name not in taken else _ended(name, _OTHER.sub("", target.id)[-8:])
        number = 1
        while unlike in taken or unlike in found:
            number += 1
            unlike = _ended(name, str(number))
        found[unlike] = target
    return found


def function(name: str, target: Agent) -> Function:
    """Return the tool that hands over to `target`."""
    about = f"Hand the conversation over to the agent '{target.name}', who answers from then on."
    about += f" {target.description}" if target.description else ""
    return Function(name=name, description=about, parameters={"type": "object", "properties": {}})


def made(target: Agent) -> str:
    """Say what both agents read of a handoff that was made."""
    return f"Done: '{target.name}' answers from here on."


def beside(target: Agent) -> str:
    """Say what became of a handoff that stood behind another in the same turn."""
    return f"Not done: the conversation had been handed over to '{target.name}'."


def _name(text: str) -> str:
    slug = _OTHER.sub("_", text).strip("_")
    return f"{PREFIX}{slug}"[:LONGEST] if slug else ""


def _ended(name: str, end: str) -> str:
    return f"{name[: LONGEST - len(end) - 1]}_{end}"
