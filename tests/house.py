"""The rules of the house, as functions from source text to complaints. `test_house.py` holds the code to them.

A complaint is a sentence that names the place and what is wrong there. Nothing here imports the code that it reads.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

PACKAGE = "causerie"
LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
MEDIAN_FUNCTION = 10

GROUND = ("errors", "ids", "sse", "version")
PORTS = ("upstreams", "stores", "tools", "moderation")
ROOF = (
    "setting", "settings", "banner", "logs", "build", "serving", "apart", "embedded", "chat", "cli", "__main__",
    "__init__",
)  # fmt: skip
FLOORS = (GROUND, ("types",), PORTS, ("engine",), ("server", "client"), ROOF)
"""From the ground up. A file of the ground or the roof is named itself; elsewhere a room is a folder."""

WHO_NAMES_CONCRETE_CLASSES = "build"

LIBRARIES = {
    "aiohttp": {"upstreams", "tools", "moderation"},
    "click": {"serving", "cli"},
    "httpx2": {"client"},
    "jsonschema_rs": {"engine"},
    "msgspec": {"types", *PORTS, "engine", "server", "client", *ROOF},
    "rich": {"chat"},
    "sqlite3": {"stores"},
    "starlette": {"server", "serving"},
    "structlog": {"engine", "server", "logs"},
    "subprocess": {"tools"},
    "uvicorn": {"serving"},
    "yarl": {"upstreams", "tools", "moderation"},  # the URLs of aiohttp
}
"""Who may use what. A library that is not here may be used by nobody; what the standard library has, by everybody."""

LATE = {
    ("cli", "causerie.chat.command"),  # drawing on terminals would cost every server its start
    ("client", "httpx2"),  # loading it takes longer than all else of the client, and the first call is early enough
    ("client", "email.utils"),  # a server that says a date in Retry-After is rare, and reading one is dear
    ("client", "causerie.client.run"),  # most clients call no functions; and making a call needs asyncio besides
    ("client", "asyncio"),  # whoever waits in a loop has it; the sync side needs none
}
"""Which room may import what out of sight, and all that is in it."""

CATCH_ALL = {
    "causerie.client.run.performing": 1,  # what a function of the caller's raises is told to the model, or by a name
    "causerie.client.crossing": 1,  # a thread hands on what ended it to whoever waits for it
    "causerie.engine.run": 1,  # the edge of a run: what nobody foresaw ends this run and no other
    "causerie.server.edge": 1,  # the edge of a request: a defect of ours is a 500 with a correlation id
    "causerie.stores.writer": 3,  # a thread hands on what a job raised to whoever waits for the job
}
"""How many handlers of a module may catch everything and go on; zero for all others."""

NAMED_BY_OTHERS = {"causerie.client.utils"}
"""Vague all the same, for code that comes from the official SDK and imports them by these names."""

VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "processor", "misc"}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Definition = Function | ast.ClassDef


class Import(NamedTuple):
    """One imported module or name, and whether a function, a class or TYPE_CHECKING hides it."""

    target: str
    line: int
    hidden: bool


class Module:
    """One source file."""

    def __init__(self, name: str, source: str, *, is_package: bool = False) -> None:
        """Parse it. `name` is what it is imported as."""
        self.name = name
        self.lines = source.count("\n")
        self.tree = ast.parse(source)
        self._here = name.split(".") if is_package else name.split(".")[:-1]

    @property
    def room(self) -> str:
        """The folder, or the file where it lies in the package itself."""
        _, _, inside = self.name.partition(".")
        return inside.split(".")[0] or "__init__"

    @cached_property
    def imports(self) -> list[Import]:
        """Every import, those in functions and under TYPE_CHECKING included."""
        return list(self._imports(self.tree, hidden=False))

    @cached_property
    def definitions(self) -> list[tuple[str, Definition]]:
        """Every class and function with its dotted name."""
        return list(_definitions(self.tree, self.name))

    def _imports(self, tree: ast.AST, *, hidden: bool) -> Iterator[Import]:
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from (Import(target, node.lineno, hidden) for target in self._targets(node))
            else:
                yield from self._imports(node, hidden=hidden or _hides(node))

    def _targets(self, node: ast.Import | ast.ImportFrom) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        base = self._here[: len(self._here) - node.level + 1] if node.level else []
        stem = ".".join([*base, *([node.module] if node.module else [])])
        return [f"{stem}.{alias.name}" for alias in node.names]


class House:
    """All modules of the package, and who imports whom."""

    def __init__(self, modules: Iterable[Module]) -> None:
        """Take the modules."""
        self.modules = {module.name: module for module in modules}

    @classmethod
    def read(cls, source: Path) -> House:
        """Read the package that lies in the folder `source`."""
        return cls(
            Module(_module_name(path.relative_to(source)), path.read_text("utf-8"), is_package=path.stem == "__init__")
            for path in sorted((source / PACKAGE).rglob("*.py"))
        )

    def inner(self, module: Module) -> Iterator[tuple[Module, Import]]:
        """Yield what of the package `module` imports."""
        for item in module.imports:
            # `from causerie.stores import base` imports a module, `from causerie.errors import NotFound` a name of one.
            for name in (item.target, item.target.rpartition(".")[0]):
                if name in self.modules:
                    yield self.modules[name], item
                    break


def wrong_arrows(house: House) -> list[str]:
    """Imports that go up, sideways, or to a concrete class of a port."""
    found = []
    for module in house.modules.values():
        for target, item in house.inner(module):
            where = f"{module.name}:{item.line} imports {target.name}"
            if module.room == target.room:
                continue
            if _floor(target.room) >= _floor(module.room) and not (module.room in ROOF and target.room in ROOF):
                found.append(f"{where}, which is not on a floor below")
            elif target.room in PORTS and module.room != WHO_NAMES_CONCRETE_CLASSES and not _is_port(target):
                found.append(f"{where}: of a port, only {WHO_NAMES_CONCRETE_CLASSES} knows more than base")
    return found


def cycles(house: House) -> list[str]:
    """The import cycle that is found first, imports in functions and under TYPE_CHECKING included."""
    graph = {
        module.name: {target.name for target, _ in house.inner(module) if target is not module}
        for module in house.modules.values()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return ["a cycle: " + " <- ".join(error.args[1])]
    return []


def hidden_imports(house: House) -> list[str]:
    """Imports in functions and under TYPE_CHECKING."""
    return [
        f"{module.name}:{item.line} imports {item.target} out of sight"
        for module in house.modules.values()
        for item in module.imports
        if item.hidden and not any(room == module.room and _within(item.target, late) for room, late in LATE)
    ]


def _within(target: str, package: str) -> bool:
    return target == package or target.startswith(f"{package}.")


def strayed_libraries(house: House) -> list[str]:
    """Uses of a library in a room that has no business with it."""
    found = []
    for module in house.modules.values():
        for item in module.imports:
            library = item.target.split(".")[0]
            anywhere = library == PACKAGE or (library in sys.stdlib_module_names and library not in LIBRARIES)
            if not anywhere and module.room not in LIBRARIES.get(library, set()):
                found.append(f"{module.name}:{item.line} uses {library}, which does not belong in {module.room}")
    return found


def oversized(house: House) -> list[str]:
    """Modules and functions that are too long."""
    found = [
        f"{module.name} has {module.lines} lines, more than {LONGEST_MODULE}"
        for module in house.modules.values()
        if module.lines > LONGEST_MODULE
    ]
    sizes = {
        f"{name} ({module.name}:{node.lineno})": (node.end_lineno or 0) - node.lineno + 1
        for module in house.modules.values()
        for name, node in module.definitions
        if isinstance(node, Function)
    }
    found += [f"{name} has {size} lines, more than {LONGEST_FUNCTION}" for name, size in sizes.items()
              if size > LONGEST_FUNCTION]  # fmt: skip
    if sizes and (median := statistics.median(sizes.values())) > MEDIAN_FUNCTION:
        found.append(f"half of the functions have {median} lines or more; {MEDIAN_FUNCTION} is the bar")
    return found


def undocumented(house: House) -> list[str]:
    """Public modules, classes, functions and methods that do not say what they are for."""
    found = []
    for module in house.modules.values():
        if module.tree.body and not ast.get_docstring(module.tree):
            found.append(f"{module.name} has no docstring")
        found += [
            f"{name} has no docstring"
            for name, node in module.definitions
            if not any(part.startswith("_") for part in name.removeprefix(module.name).split("."))
            and not ast.get_docstring(node)
            and not _is_overload(node)  # what it does stands at the implementation
        ]
    return found


def vague_names(house: House) -> list[str]:
    """Modules, classes and functions with a name that says nothing."""
    names = [name for module in house.modules.values() for name in (module.name, *(n for n, _ in module.definitions))]
    return [
        f"{name} is called {word}"
        for name in names
        if name not in NAMED_BY_OTHERS
        for word in _words(name)
        if word in VAGUE
    ]


def caught_everything(house: House) -> list[str]:
    """Modules with more handlers that catch everything, and do not raise it again, than they are allowed."""
    found = []
    for module in house.modules.values():
        lines = [node.lineno for node in ast.walk(module.tree)
                 if isinstance(node, ast.ExceptHandler) and _catches_everything(node)]  # fmt: skip
        if len(lines) > CATCH_ALL.get(module.name, 0):
            found.append(f"{module.name} catches everything in lines {', '.join(map(str, lines))}")
    return found


def sleeps(module: Module) -> list[str]:
    """Sleeps of a test; giving way to the loop with a sleep of 0 is not one."""
    return [
        f"{module.name}:{node.lineno} sleeps"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] == "sleep"
        and not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]


_TELLTALE = re.compile(
    r"""pypi\.org | pythonhoste[d] | registry\.npmjs          # where packages were taken from
    | ^\s*(?:-[if]|--(?:extra-)?index-url|--find-links|--trusted-host)\b
    | (?<![\w.~:/-])/(?:home|root|work|opt|Users|mnt)/       # where somebody's checkout lies""",
    re.VERBOSE | re.MULTILINE,
)


def telltales(name: str, text: str) -> list[str]:
    """Traces of the machine on which a file was written."""
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1} mentions {match.group().strip()}"
        for match in _TELLTALE.finditer(text)
    ]


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _definitions(tree: ast.AST, prefix: str) -> Iterator[tuple[str, Definition]]:
    for node in ast.iter_child_nodes(tree):
        inner = prefix
        if isinstance(node, Definition):
            inner = f"{prefix}.{node.name}"
            yield inner, node
            if isinstance(node, Function):
                inner += "._inside"
        yield from _definitions(node, inner)


def _hides(node: ast.AST) -> bool:
    return isinstance(node, Definition) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))


def _floor(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise LookupError(f"{room} is on no floor of the house: add it to FLOORS, or find its place")


def _is_overload(node: Definition) -> bool:
    return any(ast.unparse(one).split(".")[-1] == "overload" for one in node.decorator_list)


def _is_port(module: Module) -> bool:
    return module.name.rpartition(".")[2] == "base"


def _words(name: str) -> Iterator[str]:
    for part in re.split(r"[._]", name):
        yield from (word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", part))


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    if isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None:
        return False
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(kind is None or ast.unparse(kind) in {"Exception", "BaseException"} for kind in kinds)
