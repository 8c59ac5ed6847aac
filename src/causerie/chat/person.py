"""The person at the terminal: lines that are typed, and Ctrl-C while an answer is on its way."""

from __future__ import annotations

import signal
import sys
import termios
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Protocol

try:  # with it lines can be edited and called back
    import readline
except ImportError:
    readline = None  # type: ignore[assignment]


class Person(Protocol):
    """Somebody who can be asked."""

    def ask(self, prompt: str) -> str:
        """Return what they type; several lines where all but the last end with a backslash.

        Raises:
            EOFError: they have nothing more to say.
            KeyboardInterrupt: they pressed Ctrl-C.
        """
        ...


class Keyboard:
    """The person at standard input. The prompt goes to standard error where standard output is no terminal."""

    def __init__(self, words: list[str]) -> None:
        """Let Tab complete `words`."""
        if readline is not None:
            readline.set_completer_delims(" \t\n")
            readline.set_completer(lambda text, state: [*(w for w in words if w.startswith(text or "/")), None][state])
            readline.parse_and_bind("tab: complete")

    def ask(self, prompt: str) -> str:
        """See `Person`."""
        lines = [self._line(prompt)]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._line("… "))
        return "\n".join(lines)

    def _line(self, prompt: str) -> str:
        try:
            return input(prompt) if sys.stdout.isatty() else self._plain(prompt)
        except (EOFError, KeyboardInterrupt):
            self._write("\n")  # what comes next begins a line
            raise

    def _plain(self, prompt: str) -> str:
        self._write(prompt)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.rstrip("\n")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()


class CtrlC:
    """While an answer is on its way, Ctrl-C asks for its end, and a second one interrupts whatever waits for it.

    The first does not break off what is going on: the answer is read to its end, which then is near. Keys that are
    pressed meanwhile do not show, for they would stand in the middle of it.
    """

    def __init__(self, cancel: Callable[[], bool]) -> None:
        """Ask with `cancel`; it returns whether that was the first time."""
        self._cancel = cancel

    def __enter__(self) -> None:
        """Listen."""
        self._before = signal.signal(signal.SIGINT, self._pressed)
        self._echoing = _silenced()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        if self._echoing is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._echoing)
        signal.signal(signal.SIGINT, self._before)

    def _pressed(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002  # what a handler takes
        if not self._cancel():
            raise KeyboardInterrupt


def _silenced() -> list[Any] | None:
    """Let the terminal show no keys; return how it was, or None where there is no terminal."""
    if not sys.stdin.isatty():
        return None
    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSADRAIN, silent)
    return before
