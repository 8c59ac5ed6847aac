"""A hand-written HTTP/1.1 client that costs little: one request at a time on one kept-alive connection.

It stamps the time where bytes arrive, in the protocol's callbacks, so that waking a task up is not measured. It
knows bodies of a given length and chunked ones, nothing else; whatever it does not know is an error, never a guess.
"""

from __future__ import annotations

import asyncio
import time
from typing import NamedTuple

HOST = "127.0.0.1"


class WireError(Exception):
    """The peer closed the connection, or answered with something that is not understood."""


class Answer(NamedTuple):
    """One response. Times are seconds of `time.perf_counter`; a mark that never came is None."""

    status: int
    body: bytes
    sent: float
    first: float
    done: float
    marks: tuple[float | None, ...]

    @property
    def seconds(self) -> float:
        """From the request's first byte to the answer's last."""
        return self.done - self.sent


def post(port: int, path: str, body: bytes, *, accept: str = "application/json") -> bytes:
    """Return the bytes of a POST with a JSON body."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: {HOST}:{port}\r\naccept: {accept}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def get(port: int, path: str) -> bytes:
    """Return the bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nhost: {HOST}:{port}\r\naccept: application/json\r\n\r\n".encode()


class Connection(asyncio.Protocol):
    """One connection. `body` is what has arrived so far of the answer under way."""

    def __init__(self) -> None:
        """Start idle; `open` connects."""
        self.body = bytearray()
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._raw = b""
        self._status = 0
        self._length: int | None = None
        self._sent = self._first = 0.0
        self._wanted: tuple[bytes, ...] = ()
        self._marks: list[float | None] = []
        self._searched = 0

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to a port of this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, HOST, port)
        return connection

    def request(self, payload: bytes, marks: tuple[bytes, ...] = ()) -> asyncio.Future[Answer]:
        """Send `payload`; the future holds the answer, with the time at which each of `marks` was first seen.

        Marks are looked for in the given order: one is only searched for once all before it were found.
        """
        if self._transport is None or self._transport.is_closing():
            raise WireError("the connection is closed")
        if self._waiting is not None:
            raise WireError("a request is under way on this connection")
        self.body = bytearray()
        self._raw, self._status, self._length, self._first = b"", 0, None, 0.0
        self._wanted, self._marks, self._searched = marks, [], 0
        self._waiting = asyncio.get_running_loop().create_future()
        self._sent = time.perf_counter()
        self._transport.write(payload)
        return self._waiting

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transport is no subclass of asyncio's

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail the request that is under way, if any (asyncio calls this)."""
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(WireError(f"connection closed in mid-answer ({exc or 'by the peer'})"))

    def data_received(self, data: bytes) -> None:
        """Take what arrived (asyncio calls this)."""
        now = time.perf_counter()
        if self._waiting is None or self._waiting.done():
            return  # an answer to a request that was given up
        try:
            if not self._first:
                self._first = now
            finished = self._read(data)
        except ValueError as error:
            self._waiting.set_exception(WireError(f"not HTTP/1.1: {error}"))
            return
        if len(self._marks) < len(self._wanted):
            self._look_for_marks(now)
        if finished:
            self._finish(now)

    def _finish(self, now: float) -> None:
        marks = (*self._marks, *([None] * (len(self._wanted) - len(self._marks))))
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.set_result(Answer(self._status, bytes(self.body), self._sent, self._first, now, marks))

    def _look_for_marks(self, now: float) -> None:
        while len(self._marks) < len(self._wanted):
            wanted = self._wanted[len(self._marks)]
            found = self.body.find(wanted, self._searched)
            if found < 0:
                self._searched = max(self._searched, len(self.body) - len(wanted) + 1)
                return
            self._marks.append(now)
            self._searched = found + len(wanted)

    def _read(self, data: bytes) -> bool:
        """Take `data` in; whether the answer is complete."""
        if not self._status:
            head, blank, data = (self._raw + data).partition(b"\r\n\r\n")
            if not blank:
                self._raw = head
                return False
            self._raw = b""
            self._read_head(head)
        if self._length is None:
            return self._read_chunks(data)
        self.body += data
        return len(self.body) >= self._length

    def _read_head(self, head: bytes) -> None:
        lines = head.split(b"\r\n")
        self._status = int(lines[0].split(b" ", 2)[1])
        fields = {name.lower(): value.strip().lower() for name, _, value in (line.partition(b":") for line in lines)}
        if fields.get(b"transfer-encoding") == b"chunked":
            return
        if b"content-length" not in fields:
            raise ValueError("an answer without a length that is not chunked either")
        self._length = int(fields[b"content-length"])

    def _read_chunks(self, data: bytes) -> bool:
        if self._raw:
            data = self._raw + data
        at = 0
        while True:
            line_end = data.find(b"\r\n", at)
            if line_end < 0:
                break
            size = int(data[at:line_end], 16)
            begin = line_end + 2
            if len(data) < begin + size + 2:
                break
            if not size:
                return True
            self.body += data[begin : begin + size]
            at = begin + size + 2
        self._raw = data[at:]
        return False
