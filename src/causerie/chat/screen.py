"""Where a conversation is shown: what any screen can do, and the plain one for pipes, files and simple terminals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TextIO

from .words import Row, clean


class Screen(Protocol):
    """Something that shows a conversation."""

    def begin(self) -> None:
        """An answer is being waited for."""
        ...

    def text(self, piece: str) -> None:
        """Show a piece of the answer."""
        ...

    def thought(self, piece: str) -> None:
        """Show a piece of what the model thinks."""
        ...

    def did(self, line: str) -> None:
        """Show something that was done: a call, a tool, a handoff."""
        ...

    def end(self) -> None:
        """No more of this answer: whatever of it is half shown is shown in full."""
        ...

    def note(self, line: str) -> None:
        """Say something about the conversation."""
        ...

    def error(self, line: str) -> None:
        """Say what went wrong."""
        ...

    def rows(self, rows: Sequence[Row]) -> None:
        """Show things below each other."""
        ...


class PlainScreen:
    """The answer's text on one stream as it comes, everything else on another; no colours, nothing moves."""

    def __init__(self, out: TextIO, aside: TextIO) -> None:
        """Show answers on `out`."""
        self._out, self._aside = out, aside
        self._open: TextIO | None = None

    def begin(self) -> None:
        """See `Screen`."""

    def text(self, piece: str) -> None:
        """See `Screen`."""
        # A pipe gets every byte that the model wrote; a terminal would obey some of them.
        self._piece(self._out, clean(piece) if self._out.isatty() else piece)

    def thought(self, piece: str) -> None:
        """See `Screen`."""
        if self._open is not self._aside:
            self._piece(self._aside, "thinking: ")
        self._piece(self._aside, clean(piece))

    def did(self, line: str) -> None:
        """See `Screen`."""
        self._line(f"* {line}")

    def end(self) -> None:
        """See `Screen`."""
        if self._open is not None:
            print(file=self._open, flush=True)
            self._open = None

    def note(self, line: str) -> None:
        """See `Screen`."""
        self._line(f"({line})")

    def error(self, line: str) -> None:
        """See `Screen`."""
        self._line(f"error: {line}")

    def rows(self, rows: Sequence[Row]) -> None:
        """See `Screen`."""
        for one in rows:
            self._line(f"{one.number}\t{one.who}\t{one.text}")

    def _line(self, line: str) -> None:
        self.end()
        print(clean(line), file=self._aside, flush=True)

    def _piece(self, stream: TextIO, piece: str) -> None:
        if self._open is not stream:
            self.end()
            self._open = stream
        print(piece, end="", file=stream, flush=True)
