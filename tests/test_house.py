"""The code keeps the rules of the house, and each rule is able to find what it looks for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import house
from tests.house import House, Module

ROOT = Path(__file__).parent.parent
RULES: list[Callable[[House], list[str]]] = [
    house.wrong_arrows,
    house.cycles,
    house.hidden_imports,
    house.strayed_libraries,
    house.oversized,
    house.undocumented,
    house.vague_names,
    house.caught_everything,
]


@pytest.fixture(scope="module")
def ours() -> House:
    """The package as it is."""
    return House.read(ROOT / "src")


def a_house(**sources: str) -> House:
    """Make a house of modules; two underscores in a name stand for a dot."""
    return House(Module(f"causerie.{name.replace('__', '.')}", source) for name, source in sources.items())


def committed_files() -> dict[str, str]:
    """Return the text of every file that is, or would be, committed; of every file where there is no git."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607  # wherever git is
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    names = listing.stdout.split("\0") if listing.returncode == 0 else _walked()
    return {name: (ROOT / name).read_text("utf-8", "replace") for name in names if name and (ROOT / name).is_file()}


def _walked() -> list[str]:
    hidden = re.compile(r"(^|/)(\.(?!ci|gitignore)|__pycache__|causerie-data)")
    names = (path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*") if path.is_file())
    return [name for name in names if not hidden.search(name)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule: Callable[[House], list[str]], ours: House) -> None:
    assert rule(ours) == []


def test_the_whole_package_is_read(ours: House) -> None:
    assert set(ours.modules) == {
        "causerie" + "".join(f".{part}" for part in path.relative_to(ROOT / "src/causerie").with_suffix("").parts
                             if part != "__init__")
        for path in (ROOT / "src/causerie").rglob("*.py")
    }  # fmt: skip


def test_no_test_sleeps() -> None:
    modules = [Module(path.name, path.read_text("utf-8")) for path in (ROOT / "tests").rglob("*.py")]
    assert [complaint for module in modules for complaint in house.sleeps(module)] == []


def test_committed_files_do_not_tell_where_they_were_written() -> None:
    files = committed_files()
    assert "pyproject.toml" in files
    assert [complaint for name, text in files.items() for complaint in house.telltales(name, text)] == []


def test_every_word_of_the_makefile_is_in_contributing_and_the_other_way_round() -> None:
    words = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)) - {"help"}
    explained = re.findall(r"^\| `make ([a-z-]+)` \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(words) == sorted(explained)


@pytest.mark.parametrize(
    ("sources", "complaint"),
    [
        ({"errors": "import causerie.ids", "types__base": "", "ids": "from causerie.types import base"}, "floor below"),
        ({"engine__run": "", "stores__base": "from causerie.engine import run"}, "floor below"),
        ({"stores__base": "", "tools__base": "from causerie.stores.base import Store"}, "floor below"),
        ({"server__app": "", "client__client": "from causerie.server.app import app"}, "floor below"),
        ({"settings": "", "server__app": "def f():\n    from causerie.settings import load"}, "floor below"),
        ({"stores__sqlite": "", "engine__run": "from causerie.stores.sqlite import Store"}, "only build"),
        ({"upstreams__rehearsal": "", "cli": "from causerie.upstreams import rehearsal"}, "only build"),
    ],
)
def test_an_arrow_that_points_up_or_sideways_is_found(sources: dict[str, str], complaint: str) -> None:
    assert any(complaint in found for found in house.wrong_arrows(a_house(**sources)))


def test_arrows_that_point_down_are_fine() -> None:
    fine = a_house(
        errors="",
        types__base="from causerie import errors",
        types__fold="from .base import Struct",
        stores__base="from causerie.types.base import Struct",
        stores__sqlite="from .base import Store",
        engine__run="from causerie.stores.base import Store",
        build="from causerie.stores.sqlite import SQLiteStore\nfrom causerie.engine import run",
        cli="from causerie import build",
    )
    assert house.wrong_arrows(fine) == []
    assert house.cycles(fine) == []


def test_a_room_that_is_on_no_floor_is_an_error() -> None:
    with pytest.raises(LookupError, match="attic is on no floor"):
        house.wrong_arrows(a_house(attic="from causerie import errors", errors=""))


@pytest.mark.parametrize(
    "back",
    [
        "from causerie.types import one",
        "def f():\n    from causerie.types.one import name",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .one import name",
    ],
)
def test_a_cycle_is_found_wherever_its_imports_hide(back: str) -> None:
    assert house.cycles(a_house(types__one="from .two import name", types__two=back)) != []
    assert house.cycles(a_house(types__one="from .two import name", types__two="")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f():\n    import json", 1),
        ("class C:\n    def f(self):\n        from os import path, sep", 2),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import json", 1),
        ("try:\n    import fcntl\nexcept ImportError:\n    fcntl = None", 0),
        ("import json", 0),
    ],
)
def test_an_import_out_of_sight_is_found(source: str, found: int) -> None:
    assert len(house.hidden_imports(a_house(ids=source))) == found


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("errors", "import msgspec", 1),
        ("engine__run", "import aiohttp", 1),
        ("engine__run", "import sqlite3", 1),
        ("server__app", "from click import echo", 1),
        ("types__base", "import pydantic", 1),
        ("stores__sqlite", "import sqlite3, msgspec", 0),
        ("upstreams__openai_chat", "from aiohttp import ClientSession\nimport asyncio", 0),
    ],
)
def test_a_library_out_of_its_room_is_found(name: str, source: str, found: int) -> None:
    assert len(house.strayed_libraries(a_house(**{name: source}))) == found


def test_what_is_too_long_is_found() -> None:
    long_function = "def f():\n" + "    pass\n" * 60
    assert len(house.oversized(a_house(ids="#\n" * 401))) == 1
    assert house.oversized(a_house(ids="#\n" * 400)) == []
    assert any("causerie.ids.f" in found for found in house.oversized(a_house(ids=long_function)))
    assert any("half of the functions" in found for found in house.oversized(a_house(ids=long_function)))
    assert house.oversized(a_house(ids="def f():\n" + "    pass\n" * 9)) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os", ["causerie.ids"]),
        ('"""Doc."""\ndef f(): ...', ["causerie.ids.f"]),
        ('"""Doc."""\nclass C:\n    """Doc."""\n    def m(self): ...', ["causerie.ids.C.m"]),
        ('"""Doc."""\nasync def f():\n    """Doc."""\n    def inner(): ...', []),
        ('"""Doc."""\ndef _f(): ...\nclass _C:\n    def m(self): ...', []),
        ("", []),
    ],
)
def test_what_is_public_and_undocumented_is_found(source: str, found: list[str]) -> None:
    assert house.undocumented(a_house(ids=source)) == [f"{name} has no docstring" for name in found]


@pytest.mark.parametrize(
    ("name", "source", "found"),
    [
        ("types__utils", "", 1),
        ("ids", "class ConnectionManager: ...", 1),
        ("ids", "def common_fields(): ...", 1),
        ("ids", "class HTTPHelper:\n    def f(self): ...", 2),
        ("ids", "from contextlib import contextmanager\ndef uncommon(): ...", 0),
    ],
)
def test_a_name_that_says_nothing_is_found(name: str, source: str, found: int) -> None:
    assert len(house.vague_names(a_house(**{name: source}))) == found


@pytest.mark.parametrize(
    "kind", ["", " Exception", " BaseException", " (ValueError, Exception)", " Exception as error"]
)
def test_catching_everything_is_found(kind: str) -> None:
    swallows = f"try:\n    f()\nexcept{kind}:\n    g()\n"
    assert len(house.caught_everything(a_house(engine__prompt=swallows))) == 1
    assert house.caught_everything(a_house(engine__run=swallows)) == []
    assert len(house.caught_everything(a_house(engine__run=swallows * 2))) == 1
    assert house.caught_everything(a_house(engine__prompt=swallows + "    raise\n")) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\ntime.sleep(1)", 1),
        ("async def f():\n    await asyncio.sleep(0.1)", 1),
        ("sleep(delay)", 1),
        ("async def f():\n    await asyncio.sleep(0)", 0),
    ],
)
def test_a_sleep_is_found(source: str, found: int) -> None:
    assert len(house.sleeps(Module("tests.unit.test_x", source))) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("see /" + "home/someone/causerie", 1),
        ("data = '/" + "root/x'", 1),
        ("https://" + "pypi" + ".org/simple", 1),
        ("msgspec==1\n--" + "index-url x\n-" + "f y", 2),
        ("https://example.com/work/home/x and docs/work/plan", 0),
        ("msgspec==1 \\\n    --hash=sha256:00", 0),
    ],
)
def test_a_trace_of_the_machine_is_found(text: str, found: int) -> None:
    assert len(house.telltales("file", text)) == found
