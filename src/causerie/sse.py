"""Server-sent events as bytes: frames are encoded and decoded here, for the server, the client and the upstreams.

No I/O, and no opinion on what the data means: it is passed on as the bytes it came in.
"""

from __future__ import annotations

from typing import NamedTuple

KEEP_ALIVE = b": keep-alive\n\n"

_BOM = b"\xef\xbb\xbf"


class Frame(NamedTuple):
    """One event: its type, its data with lines joined by LF, and the last id that the stream gave."""

    event: str
    data: bytes
    id: str | None = None


def encode(event: str, data: bytes, id: str | None = None) -> bytes:
    """Return one event as it goes over the wire. `event` and `id` are single lines; `data` may have several."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    if id is None:
        return b"event: %b\ndata: %b\n\n" % (event.encode(), data)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event.encode(), id.encode(), data)


class Decoder:
    """Turns the bytes of an event stream into frames, wherever they were cut.

    Attributes:
        last_id: the last id that an event came with; a client that comes back names it.
        retry: milliseconds to wait before coming back, where the stream asked for that.
    """

    def __init__(self) -> None:
        """Start at the beginning of a body."""
        self.last_id: str | None = None
        self.retry: int | None = None
        self._parts: list[bytes] = []  # what no blank line has ended yet; line ends are LF in here
        self._at_start = True
        self._after_cr = False
        self._after_lf = False

    def feed(self, chunk: bytes) -> list[Frame]:
        """Return the events that these bytes complete."""
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_lf(chunk)
        if not chunk:
            return []
        ended = b"\n\n" in chunk or (self._after_lf and chunk[0] == 10)
        self._after_lf = chunk[-1] == 10
        if not ended:
            # Joining what is held at every read would be quadratic for a large event that comes in small pieces.
            self._parts.append(chunk)
            return []
        if self._parts:
            chunk = b"".join([*self._parts, chunk])
        if self._at_start:
            self._at_start = False
            chunk = chunk.removeprefix(_BOM)
        blocks = chunk.split(b"\n\n")
        self._parts = [blocks.pop()]
        return self._frames(blocks)

    def close(self) -> None:
        """Drop an event that no blank line ended, as the specification says; what follows is another body."""
        self._parts = []
        self._at_start = True
        self._after_cr = self._after_lf = False

    def _with_lf(self, chunk: bytes) -> bytes:
        # A CR at the very end is a line end at once; a LF that follows it in the next chunk is the rest of it.
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if chunk.endswith(b"\r"):
            self._after_cr = True
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _frames(self, blocks: list[bytes]) -> list[Frame]:
        frames = []
        last_id = self.last_id
        for block in blocks:
            # What every model server sends, thousands of times: one line of data and nothing else.
            if block[:6] == b"data: " and b"\n" not in block:
                frames.append(Frame("message", block[6:], last_id))
            else:
                frame = self._frame(block)
                last_id = self.last_id
                if frame is not None:
                    frames.append(frame)
        return frames

    def _frame(self, block: bytes) -> Frame | None:
        event = ""
        data: list[bytes] = []
        for line in block.split(b"\n"):
            field, _, value = line.partition(b":")
            if value[:1] == b" ":
                value = value[1:]
            if field == b"data":
                data.append(value)
            elif field == b"event":
                event = value.decode(errors="replace")
            elif field == b"id" and b"\0" not in value:
                self.last_id = value.decode(errors="replace")
            elif field == b"retry" and value.isdigit() and len(value) < 10:
                self.retry = int(value)
        return Frame(event or "message", b"\n".join(data), self.last_id) if data else None
