"""Whether what a page shows is what was printed, when ids, times and places never are the same twice."""

from __future__ import annotations

import re
from collections.abc import Callable

# What differs from one try to the next, and what has to stand in its place.
_ID = r"(?:conv|msg|fc|fr|run|ag|handoff)_[0-9a-f]{32}"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
_VOLATILE = re.compile(rf"(?P<id>\b{_ID}\b)|(?P<time>{_TIME})|(?P<path>/path/to/\S*)")
_INSTEAD = {"time": _TIME, "path": r"/\S+"}


class Agreement:
    """Between one page and one try of it."""

    def __init__(self) -> None:
        """Nothing has been compared yet; `known` will be the ids by how the page calls them."""
        self.known: dict[str, str] = {}

    def holds(self, shown: str, printed: str) -> bool:
        """Whether `printed` is what the page showed, but for what differs each time; ``...`` stands for any lines.

        An id that stood at two places on the page has to be the same at both.
        """
        found = re.fullmatch(self._pattern(shown.rstrip("\n")), printed.rstrip("\n"))
        if found is None:
            return False
        self.known |= found.groupdict()
        return True

    def _pattern(self, shown: str) -> str:
        named = set[str]()

        def instead(volatile: re.Match[str]) -> str:
            text = volatile[0]
            if volatile.lastgroup != "id":
                return _INSTEAD[str(volatile.lastgroup)]
            if text in self.known:
                return self.known[text]
            if text in named:
                return f"(?P={text})"
            named.add(text)
            return f"(?P<{text}>{_ID})"

        # Of what make prints, the server does not know; it comes once, when there is no environment yet.
        lines = [line for line in shown.split("\n") if not line.startswith("== making ")]
        return "\n".join(r"(?:.*\n)*?.*" if line == "..." else _replaced(line, instead) for line in lines)


def _replaced(line: str, instead: Callable[[re.Match[str]], str]) -> str:
    """Return a pattern for a line: itself but for what is volatile."""
    pattern, end = "", 0
    for volatile in _VOLATILE.finditer(line):
        pattern += re.escape(line[end : volatile.start()]) + instead(volatile)
        end = volatile.end()
    return pattern + re.escape(line[end:])
