"""A program at a terminal: what a person would see and type, without a person. Every wait is bounded."""

from __future__ import annotations

import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .replies import PATIENCE
from .spawned import environment

ROWS, COLUMNS = 40, 120
CTRL_C, CTRL_D = "\x03", "\x04"
_PIECE = re.compile(
    r"\x1b\[(?P<count>\d*)(?P<what>[ABCDJKm])|(?P<other>\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>])|(?P<sign>.)", re.DOTALL
)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07|\x1b[=>]|\r")


class Terminal:
    """A program that believes that it talks to a person.

    Attributes:
        raw: all that it wrote, escape codes included.
    """

    def __init__(self, command: Sequence[str | Path], *, cwd: Path, env: dict[str, str]) -> None:
        """Start it."""
        self.raw = ""
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self._process = subprocess.Popen(
            [str(part) for part in command], cwd=cwd, env=environment() | {"TERM": "xterm-256color"} | env,
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=_control,  # noqa: PLW1509
        )  # fmt: skip
        os.close(theirs)

    @property
    def text(self) -> str:
        """All that it wrote, without escape codes."""
        return _CONTROL.sub("", self.raw)

    @property
    def shown(self) -> list[str]:
        """The lines that are shown now, and those that have scrolled away above them."""
        return drawn(self.raw)

    def sees(self, pattern: str, patience: float = PATIENCE) -> re.Match[str]:
        """Return the next match of `pattern` in what is written, escape codes left out; what it skips is seen, too."""
        deadline = time.monotonic() + patience
        while (found := re.compile(pattern).search(self.text, self._seen)) is None:
            assert self._read(deadline), f"{pattern!r} was not seen, only:\n{self.text[self._seen :]}"
        self._seen = found.end()
        return found

    def types(self, text: str) -> None:
        """Type a line and press Enter."""
        self.presses(f"{text}\r")

    def presses(self, keys: str) -> None:
        """Press keys, once the program waits: a Ctrl-C between a prompt and the wait behind it is lost on readline."""
        deadline = time.monotonic() + PATIENCE
        while not self._sleeps():
            assert time.monotonic() < deadline, "it never came to rest"
        os.write(self._ours, keys.encode())

    def leaves(self, patience: float = PATIENCE) -> int:
        """Return the exit code, once it has ended."""
        deadline = time.monotonic() + patience
        while self._read(deadline):
            pass
        return self._process.wait(max(deadline - time.monotonic(), 0))

    def close(self) -> None:
        """End it if it still runs."""
        self._process.kill()
        self._process.wait(PATIENCE)
        os.close(self._ours)

    def _sleeps(self) -> bool:
        """Whether its main thread waits for something, as the kernel tells it."""
        pid = self._process.pid
        try:
            told = Path(f"/proc/{pid}/task/{pid}/stat").read_text()
        except FileNotFoundError:  # no such kernel, or no such program any more
            return True
        return told.rpartition(") ")[2][0] != "R"

    def _read(self, deadline: float) -> bool:
        """Read on; return False when there is nothing more, or not in time."""
        ready, _, _ = select.select([self._ours], [], [], max(deadline - time.monotonic(), 0))
        try:
            data = os.read(self._ours, 65536) if ready else b""
        except OSError:  # what Linux says when the other end is closed
            return False
        self.raw += self._decoder.decode(data)  # readline writes byte by byte, and one read may end within a sign
        return bool(data)


def drawn(raw: str) -> list[str]:
    """Return the lines that a terminal shows, as far as our programs move about on one."""
    lines, row, column = [[" "] * COLUMNS], 0, 0
    for piece in _PIECE.finditer(raw):
        count, sign = int(piece["count"] or 0), piece["sign"]
        if piece["what"] == "K":
            first = 0 if count == 2 else column
            lines[row][first:] = [" "] * (COLUMNS - first)
        elif piece["what"] == "J":
            lines[row][column:] = [" "] * (COLUMNS - column)
            del lines[row + 1 :]
        elif piece["what"] == "A":
            row = max(row - max(count, 1), 0)
        elif piece["what"] in {"C", "D"}:
            column += max(count, 1) if piece["what"] == "C" else -max(count, 1)
        elif sign == "\n":
            row += 1
            lines += [[" "] * COLUMNS for _ in range(row + 1 - len(lines))]
        elif sign in {"\r", "\b"}:
            column = 0 if sign == "\r" else column - 1
        elif sign:
            assert column < COLUMNS, "what is wider than the terminal is not understood here"
            lines[row][column] = sign
            column += 1
    return ["".join(line).rstrip() for line in lines]


def _control() -> None:
    """Make standard input the terminal that signals come from, and Ctrl-C mean what it means there.

    Whoever runs the tests in the background has it ignored, and children inherit that.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextmanager
def terminal(command: Sequence[str | Path], *, cwd: Path, env: dict[str, str] | None = None) -> Iterator[Terminal]:
    """Run a program at a terminal for as long as the block lasts."""
    program = Terminal(command, cwd=cwd, env=env or {})
    try:
        yield program
    finally:
        program.close()
