"""Cuts Markdown that is still being written into blocks that will not change any more, and the one that still may."""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(?P<signs>`{3,}|~{3,})")


class Blocks:
    """Takes pieces of text in order.

    A block ends with an empty line outside a fence, once what follows is not indented: it could belong to a list.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lines: list[str] = []
        self._line = ""
        self._fence = ""
        self._ended = False

    @property
    def rest(self) -> str:
        """The block that may still change."""
        return "".join(self._lines) + self._line

    def feed(self, text: str) -> list[str]:
        """Take a piece; return the blocks that it completes."""
        whole = []
        self._line += text
        while self._line:
            if self._ended and not self._line[0].isspace():
                whole.append("".join(self._lines))
                self._lines, self._ended = [], False
            line, newline, after = self._line.partition("\n")
            if not newline:
                break
            self._take(line)
            self._line = after
        return whole

    def close(self) -> str:
        """Return what is left, and begin anew."""
        rest = self.rest
        self._lines, self._line, self._fence, self._ended = [], "", "", False
        return rest

    def _take(self, line: str) -> None:
        found = _FENCE.match(line)
        if self._fence:
            if found and found["signs"].startswith(self._fence) and not line.strip().strip(self._fence[0]):
                self._fence = ""
        elif found:
            self._fence, self._ended = found["signs"], False
        elif line.strip():
            self._ended = False
        else:
            self._ended = bool(self._lines)
        if self._lines or line.strip():
            self._lines.append(f"{line}\n")
