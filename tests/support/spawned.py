"""Programs that a test starts, listens to, and stops by their process id. Every wait is bounded."""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .replies import PATIENCE

_SOURCE = Path(__file__).parents[2] / "src"


class Spawned:
    """A program that runs, and the lines that it says on standard output and error, in one order."""

    def __init__(self, command: Sequence[str | Path], *, cwd: Path, env: dict[str, str] | None = None) -> None:
        """Start `command` in the folder `cwd`; `env` is added to the environment."""
        self.said: list[str] = []
        self._process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=environment() | (env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, args=(self._process.stdout,), name="listens")
        self._listener.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def line(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Return the match in the next line that has `pattern`; lines before it are in `said`."""
        deadline = time.monotonic() + patience
        while True:
            try:
                line = self._lines.get(timeout=max(deadline - time.monotonic(), 0))
            except queue.Empty:
                raise AssertionError(f"{pattern!r} was not said in time, only:\n{self._told()}") from None
            assert line is not None, f"it ended before it said {pattern!r}:\n{self._told()}"
            self.said.append(line)
            if found := re.search(pattern, line):
                return found

    def tell(self, text: str) -> None:
        """Write to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it without warning."""
        self._process.kill()
        self._process.wait(PATIENCE)

    def ended(self) -> int:
        """Wait until it ends by itself, and return its exit code."""
        return self._process.wait(PATIENCE)

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
        self._listener.join(PATIENCE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _listen(self, output: IO[str]) -> None:
        for line in output:
            self._lines.put(line)
        self._lines.put(None)

    def _told(self) -> str:
        return "".join(self.said[-40:])


@contextmanager
def spawned(command: Sequence[str | Path], *, cwd: Path, env: dict[str, str] | None = None) -> Iterator[Spawned]:
    """Run a program for as long as the block lasts."""
    program = Spawned(command, cwd=cwd, env=env)
    try:
        yield program
    finally:
        program.stop()


@contextmanager
def causerie(*flags: str | Path, cwd: Path) -> Iterator[tuple[Spawned, str]]:
    """Run `causerie serve` with these flags on a free port; once it is up, yield the program and its URL."""
    command = [sys.executable, "-m", "causerie", "serve", "--port", "0", *flags]
    with spawned(command, cwd=cwd) as program:
        url = program.line(r"^ +url +(http://\S+)")[1]
        program.line("Ctrl-C stops it")
        yield program, url


def environment() -> dict[str, str]:
    """What this process has, without settings of ours; the package is found where the tests find it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CAUSERIE_", "PYTEST_"))}
    return kept | {"PYTHONPATH": str(_SOURCE), "PYTHONUNBUFFERED": "1"}
