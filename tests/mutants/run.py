"""Breaks the code on purpose and sees the tests turn red: ``python -m tests.mutants.run [WORD ...]``.

Each fault of `mutants.toml` goes alone into a copy of the package, and its tests are run beside that copy, so that
servers they start have the fault too: each of them must fail, and all must be green without it. The work tree is only
read. A WORD chooses the faults whose section
or name has it.

Faults whose tests need the official SDK are tried with the interpreter in MUTANTS_SDK_PYTHON, or else with the one
that `make test` makes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from .spec import PACKAGE, ROOT, Mutant, load, problems

SDK_PYTHON = ROOT / ".venvs" / "mistralai-3.7.0" / "bin" / "python"
PATIENCE = 600.0
"""Seconds after which a run of tests is given up; what hangs is neither red nor green."""
GREEN, RED = 0, 1
_SAID = {2: "cannot be collected", 4: "names no test", 5: "names no test"}


class Verdict(NamedTuple):
    """What came of one fault."""

    mutant: Mutant
    said: str
    is_good: bool
    seconds: float
    output: str


def python_for(mutant: Mutant) -> str:
    """Return the interpreter that a fault's tests need."""
    return os.environ.get("MUTANTS_SDK_PYTHON", str(SDK_PYTHON)) if mutant.needs_sdk else sys.executable


def lay_out(folder: Path, source: Path) -> Path:
    """Make a work tree of its own: a copy of the package in `source`, beside the tests; return where the copy lies."""
    copy = folder / "src"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("tests", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    return copy


def run_tests(python: str, tests: Sequence[str], source: Path) -> tuple[int, str]:
    """Run the tests beside `source` against the package in it; return pytest's exit code and what it printed."""
    command = [python, "-m", "pytest", "-q", "-rfE", "--tb=short", "--no-header", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1", "NO_COLOR": "1"}
    environment.pop("REQUIREMENTS_REPORT", None)  # what a broken package does proves nothing
    try:
        done = subprocess.run(
            command, cwd=source.parent, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"given up after {PATIENCE:g} seconds"
    return done.returncode, done.stdout + done.stderr


def tells_the_copy_apart(python: str, source: Path) -> str | None:
    """See that an interpreter takes the package from `source` and not from where it is installed; say what is wrong."""
    command = [python, "-c", "import causerie; print(causerie.__file__)"]
    try:
        done = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True, check=False
        )
    except OSError as error:
        return (
            f"{python} cannot be started ({error.strerror}). `make test` makes it; or name one in MUTANTS_SDK_PYTHON."
        )
    if not done.stdout.startswith(str(source)):
        return f"{python} does not take the package from {source}: {done.stdout or done.stderr}"
    return None


def attempt(mutant: Mutant, pristine: Path, folder: Path) -> Verdict:
    """Put one fault into a copy and run its tests."""
    started = time.monotonic()
    source = lay_out(folder, pristine)
    path = source / "causerie" / mutant.file
    path.write_text(mutant.applied_to(path.read_text("utf-8")), "utf-8")
    code, output = run_tests(python_for(mutant), mutant.tests, source)
    said = {GREEN: "SURVIVED", RED: "caught"}.get(code, f"{_SAID.get(code, 'no answer')} ({code})")
    if code == RED and (blind := [test for test in mutant.tests if not _failed(test, output)]):
        said = f"not seen by {', '.join(blind)}"
    return Verdict(mutant, said, said == "caught", time.monotonic() - started, output)


def _failed(test: str, output: str) -> bool:
    """Whether pytest's summary says that a test failed, in one of its variants at least."""
    return re.search(rf"^(FAILED|ERROR) {re.escape(test)}(\[| |$)", output, re.MULTILINE) is not None


def sound(mutants: Sequence[Mutant], pristine: Path) -> list[tuple[Mutant, str]]:
    """Run all tests without any fault; return the faults whose tests are not green then, and what was printed."""
    failed = list[tuple[Mutant, str]]()
    for python in sorted({python_for(one) for one in mutants}):
        mine = [one for one in mutants if python_for(one) == python]
        code, output = run_tests(python, sorted({test for one in mine for test in one.tests}), pristine)
        if code == GREEN:
            continue
        for one in mine:  # whose tests are they?
            code, output = run_tests(python, one.tests, pristine)
            if code != GREEN:
                failed.append((one, output))
    return failed


def table(verdicts: Sequence[Verdict]) -> str:
    """Return one line for each fault."""
    width = max(len(one.mutant.section) for one in verdicts)
    return "\n".join(
        f"{one.mutant.section:<{width}}  {one.said:<10}  {one.seconds:5.1f} s  {one.mutant.name}" for one in verdicts
    )


def main(words: list[str]) -> int:
    """Try the faults that are asked for; return 0 where every one is caught."""
    everything = load()
    mutants = [one for one in everything if not words or any(word in (one.section, one.name) for word in words)]
    mutants = mutants or [one for one in everything if any(word in f"{one.section} {one.name}" for word in words)]
    if found := problems(everything):
        print("\n".join(found))
        return 1
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        pristine = lay_out(Path(folder) / "pristine", PACKAGE.parent)
        wrong = {tells_the_copy_apart(python, pristine) for python in {python_for(one) for one in mutants}} - {None}
        if wrong:
            print("\n".join(str(sentence) for sentence in wrong))
            return 1
        unsound = sound(mutants, pristine)
        for mutant, output in unsound:
            print(f"{output}\n{mutant.section}: the tests of {mutant.name!r} fail without the fault")
        rest = [one for one in mutants if one not in {bad for bad, _ in unsound}]
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            places = [Path(folder) / str(number) for number in range(len(rest))]
            verdicts = list(workers.map(attempt, rest, [pristine] * len(rest), places))
    bad = [one for one in verdicts if not one.is_good]
    for one in bad:
        print(f"{one.output}\n{one.mutant.section}: {one.mutant.name!r} was not caught: {one.said}")
    if verdicts:
        print(table(verdicts))
    print(f"{len(verdicts) - len(bad)} of {len(mutants)} faults were caught by the tests that are there for them")
    return 1 if bad or unsound or not verdicts else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
