"""The runner puts a fault into a copy, and calls it caught only where each of its tests saw it."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import run
from .run import attempt, main, sound, table
from .spec import Mutant

ONE, TWO = "tests/test_one.py::test_one", "tests/test_one.py::test_two"
FAULT = Mutant("store", "a fault", "one.py", "x = 1\n", "x = 2\n", (ONE, TWO))


@pytest.fixture
def pristine(tmp_path: Path) -> Path:
    """A source folder with a package of one module."""
    package = tmp_path / "pristine" / "causerie"
    package.mkdir(parents=True)
    (package / "one.py").write_text("x = 1\n")
    return package.parent


@pytest.mark.parametrize(
    ("code", "output", "said"),
    [
        (0, "2 passed", "SURVIVED"),
        (1, f"FAILED {ONE}\nFAILED {TWO}[sync-1] - AssertionError\n", "caught"),
        (1, f"FAILED {ONE}\nERROR {TWO} - StoreInUse\n", "caught"),
        (1, f"FAILED {ONE}\nFAILED {TWO}_and_more\n", f"not seen by {TWO}"),
        (1, "FAILED tests/test_other.py::test_one", f"not seen by {ONE}, {TWO}"),
        (2, "ImportError", "cannot be collected (2)"),
        (4, f"ERROR: not found: {ONE}", "names no test (4)"),
        (-1, "given up", "no answer (-1)"),
    ],
)
def test_a_fault_is_caught_where_every_test_of_its_own_failed(
    monkeypatch: pytest.MonkeyPatch, pristine: Path, tmp_path: Path, code: int, output: str, said: str
) -> None:
    seen: list[str] = []

    def run_tests(python: str, tests: tuple[str, ...], source: Path) -> tuple[int, str]:
        assert tests == FAULT.tests
        seen.append((source / "causerie" / "one.py").read_text())
        return code, output

    monkeypatch.setattr(run, "run_tests", run_tests)
    verdict = attempt(FAULT, pristine, tmp_path / "copy")

    assert seen == ["x = 2\n"]
    assert (verdict.said, verdict.is_good) == (said, said == "caught")
    assert (pristine / "causerie" / "one.py").read_text() == "x = 1\n"
    assert "a fault" in table([verdict])


def test_tests_that_fail_without_the_fault_are_found_out(monkeypatch: pytest.MonkeyPatch, pristine: Path) -> None:
    other = FAULT._replace(name="another", tests=(TWO,))
    monkeypatch.setattr(run, "run_tests", lambda python, tests, source: (int(ONE in tests), "said"))
    assert sound([FAULT, other], pristine) == [(FAULT, "said")]
    assert sound([other], pristine) == []


def test_an_interpreter_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("MUTANTS_SDK_PYTHON", str(tmp_path / "nothing"))
    assert main(["Transport"]) == 1
    assert "MUTANTS_SDK_PYTHON" in capsys.readouterr().out


def test_the_copy_is_what_is_tested(tmp_path: Path) -> None:
    package = tmp_path / "causerie"
    package.mkdir()
    (package / "__init__.py").touch()
    assert run.tells_the_copy_apart(run.sys.executable, tmp_path) is None
    assert run.tells_the_copy_apart(run.sys.executable, tmp_path / "elsewhere") is not None


def test_real_tests_are_run_and_their_failures_named(tmp_path: Path) -> None:
    package = tmp_path / "empty" / "causerie"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    copy = run.lay_out(tmp_path / "copy", package.parent)
    code, output = run.run_tests(run.sys.executable, ["tests/unit/test_step.py"], copy)
    assert code == 2, output  # there is nothing to import from the copy
    code, output = run.run_tests(run.sys.executable, ["tests/unit/test_step.py"], run.PACKAGE.parent)
    assert code == 0, output
