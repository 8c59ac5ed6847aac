"""The faults can be tried as they are written: their texts are in the code, and their tests are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from .spec import SECTIONS, Mutant, load, problems

FAULT = Mutant("store", "a fault", "one.py", "x = 1\n", "x = 2\n", ("tests/test_one.py::test_one",))


@pytest.fixture
def house(tmp_path: Path) -> tuple[Path, Path]:
    """A package of one module and a root with one test."""
    (tmp_path / "one.py").write_text("x = 1\ny = 1\n")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_one.py").write_text("def test_one() -> None: ...\n")
    return tmp_path, tmp_path


def complaints(mutant: Mutant, house: tuple[Path, Path]) -> list[str]:
    """Return what is wrong with one fault."""
    return [problem for problem in problems([mutant], *house) if "no fault for the section" not in problem]


def test_every_fault_can_be_tried() -> None:
    assert problems(load()) == []


def test_every_section_needs_a_fault(house: tuple[Path, Path]) -> None:
    missing = [problem for problem in problems([FAULT], *house) if "no fault for the section" in problem]
    assert len(missing) == len(SECTIONS) - 1


def test_a_fault_that_fits_is_put_in_its_place(house: tuple[Path, Path]) -> None:
    assert complaints(FAULT, house) == []
    assert FAULT.applied_to("x = 1\ny = 1\n") == "x = 2\ny = 1\n"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"text": "z = 1"}, "0 times"),
        ({"text": " = 1"}, "2 times"),
        ({"file": "two.py"}, "two.py"),
        ({"replacement": "x = (\n"}, "no Python"),
        ({"section": "Weather"}, "no section 'Weather'"),
        ({"tests": ()}, "no test is named"),
        ({"tests": ("tests/test_one.py",)}, "no test tests/test_one.py"),
        ({"tests": ("tests/test_one.py::test_two",)}, "no test tests/test_one.py::test_two"),
        ({"tests": ("tests/test_two.py::test_one",)}, "no test tests/test_two.py::test_one"),
    ],
)
def test_a_fault_that_cannot_be_tried_is_named(changed: dict[str, object], said: str, house: tuple[Path, Path]) -> None:
    (complaint,) = complaints(FAULT._replace(**changed), house)
    assert said in complaint


def test_a_name_is_given_once(house: tuple[Path, Path]) -> None:
    assert "'a fault' is the name of 2 faults" in problems([FAULT, FAULT], *house)


def test_only_conversations_need_the_sdk() -> None:
    assert not FAULT.needs_sdk
    assert FAULT._replace(tests=("tests/conversation/test_start.py::test_one",)).needs_sdk
