"""What a trace tells: whether something was on disk before something else left.

In SQLite's write-ahead log a commit is a number of frames, the last of which says how large the database is then. It is
durable when a sync of the log, begun after that frame was written, has returned.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SYNCS = {"fsync", "fdatasync"}
FRAME_HEADER = struct.Struct(">6I")  # page, size of the database after a commit (else 0), salts, checksums


@dataclass(frozen=True)
class Call:
    """A system call, where it begins or where it has returned."""

    number: int
    thread: int
    name: str
    path: str
    stage: Literal["enter", "return"]
    data: bytes
    result: int | None


class Undurable(AssertionError):
    """Something left before it was on disk."""


class Trace:
    """All calls of a program, in order."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = calls

    @classmethod
    def read(cls, log: Path) -> Trace:
        """Read what `trace.py` wrote."""
        lines = (json.loads(line) for line in log.read_text("utf-8").splitlines())
        return cls([Call(**(line | {"data": base64.b64decode(line["data"])})) for line in lines])

    def leaving(self, data: bytes, *, with_: bytes = b"", to: str = "socket:") -> Call:
        """Return the call by which `data` first left, on the connection or to the file that `with_` was sent to."""
        places = {call.path for call in self._entering(to) if with_ in call.data}
        found = [call for call in self._entering(to) if call.path in places and data in call.data]
        assert found, f"{data!r} never left"
        return found[0]

    def see_durable(self, data: bytes, before: Call) -> None:
        """See that `data` was on disk when `before` began.

        Raises:
            Undurable: it was not; the message says how far it had come.
        """
        written = [call for call in self._entering("-wal", upto=before.number) if data in call.data]
        if not written:
            raise Undurable(f"{data!r} was not even written when {before.data[:60]!r} left")
        committed = self._committed(written[0], before)
        for sync in self._syncs(committed.number, before.number):
            if self._returned(sync) < before.number:
                return
        raise Undurable(f"{data!r} was written, but not synced when {before.data[:60]!r} left")

    def _committed(self, written: Call, before: Call) -> Call:
        """Return the write that ended the commit of which `written` is a page."""
        # The header of a frame comes before its page: that of this one is the write before it.
        (*_, own) = [call for call in self._entering("-wal", upto=written.number) if _is_header(call)]
        headers = [call for call in self._entering("-wal", own.number - 1, before.number) if _is_header(call)]
        for header in headers:
            if FRAME_HEADER.unpack(header.data)[1]:
                pages = self._entering("-wal", header.number, before.number)
                return next(pages, header)
        raise Undurable(f"the commit of {written.data[:60]!r} was not written to its end when an answer left")

    def _syncs(self, after: int, before: int) -> Iterator[Call]:
        return (
            call
            for call in self._calls
            if after < call.number < before and call.stage == "enter"
            and call.name in SYNCS and call.path.endswith("-wal")
        )  # fmt: skip

    def _returned(self, call: Call) -> int:
        """Return when a call returned, having done what it should."""
        later = (one for one in self._calls if one.number > call.number and one.thread == call.thread)
        end = next(later)
        assert (end.stage, end.name, end.result) == ("return", call.name, 0)
        return end.number

    def _entering(self, where: str, after: int = 0, upto: int = 2**62) -> Iterator[Call]:
        return (
            call for call in self._calls
            if call.stage == "enter" and after < call.number <= upto and call.name not in SYNCS
            and (call.path.startswith(where) or call.path.endswith(where))
        )  # fmt: skip


def _is_header(call: Call) -> bool:
    return len(call.data) == FRAME_HEADER.size
