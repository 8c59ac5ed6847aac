"""The deliberate faults of `mutants.toml`, read and judged without running anything."""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "causerie"
SPEC = Path(__file__).with_name("mutants.toml")

SECTIONS = (
    "Transport",
    "start",
    "append",
    "restart",
    "list/get/delete/history",
    "Entries",
    "Content chunks",
    "Tools",
    "completion_args",
    "Usage",
    "SSE events",
    "Errors",
    "Models",
    "agents",
    "by agent",
    "handoffs",
    "confirmations",
    "guardrails",
    "moderation",
    "resume",
    "adoption",
    "cancel",
    "idempotency",
    "ledger",
    "runs",
    "in process",
    "checkup",
    "store",
    "fold",
    "prompt law",
    "structured",
    "SDK run helper",
    "runs of functions",
)
"""The sections of the checklist, what else a run may meet, and the laws that everything stands on: each has a fault."""


class Mutant(NamedTuple):
    """One fault: in `file`, `text` becomes `replacement`, and then each of `tests` must fail.

    Attributes:
        name: what goes wrong, as a short sentence.
        file: below src/causerie.
        text: as it stands there, exactly once.
        tests: pytest node ids.
    """

    section: str
    name: str
    file: str
    text: str
    replacement: str
    tests: tuple[str, ...]

    @property
    def needs_sdk(self) -> bool:
        """Whether its tests speak through the official SDK."""
        return any(test.startswith("tests/conversation/") for test in self.tests)

    def applied_to(self, source: str) -> str:
        """Return the source with the fault in it.

        Raises:
            ValueError: the text is not there, or it is there several times.
        """
        count = source.count(self.text)
        if count != 1:
            raise ValueError(f"{self.name!r}: its text is {count} times in {self.file}, not once")
        return source.replace(self.text, self.replacement)


def load(path: Path = SPEC) -> list[Mutant]:
    """Read the faults."""
    document = tomllib.loads(path.read_text("utf-8"))
    return [Mutant(**{**one, "tests": tuple(one["tests"])}) for one in document["mutant"]]


def problems(mutants: Iterable[Mutant], package: Path = PACKAGE, root: Path = ROOT) -> list[str]:
    """Return a sentence for everything that keeps the faults from being tried."""
    mutants = list(mutants)
    found = [
        f"no fault for the section {wanted!r}" for wanted in SECTIONS if wanted not in {m.section for m in mutants}
    ]
    found += [f"{one.name!r}: there is no section {one.section!r}" for one in mutants if one.section not in SECTIONS]
    found += [f"{name!r} is the name of {count} faults" for name, count in Counter(m.name for m in mutants).items()
              if count > 1]  # fmt: skip
    for one in mutants:
        try:
            changed = one.applied_to((package / one.file).read_text("utf-8"))
            ast.parse(changed if one.file.endswith(".py") else "")
        except (OSError, ValueError) as error:
            found.append(str(error))
        except SyntaxError as error:
            found.append(f"{one.name!r}: with the fault in it {one.file} is no Python: {error}")
        found += [f"{one.name!r}: there is no test {test}" for test in one.tests if not _exists(test, root)]
        if not one.tests:
            found.append(f"{one.name!r}: no test is named")
    return found


def _exists(test: str, root: Path) -> bool:
    file, *names = test.partition("[")[0].split("::")
    path = root / file
    if not names or not path.is_file():
        return False
    return "::".join(names) in _defined(ast.parse(path.read_text("utf-8")))


def _defined(tree: ast.Module) -> set[str]:
    found = set[str]()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.add(f"{node.targets[0].id}::runTest")  # the test case of a state machine
    return found
