"""A server that has its answers ready: what a client costs is measured against it, so it must cost next to nothing.

It answers on a free port of loopback until its standard input ends: a request for a stream with one long stream of
events, everything else with one conversation response.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import uvloop

EVENTS = 5_000
PACED, PACE = 500, 0.002
CONVERSATION = "conv_01a206585e19774386a92e4cd82cd897"
_AT = "2026-11-23T02:59:44.306286Z"


def _event(number: int, kind: str, members: str) -> str:
    data = f'{{"type":"{kind}","created_at":"{_AT}",{members}}}'
    return f"event: {kind}\nid: 1-{number}\ndata: {data}\n\n"


def stream(count: int) -> list[bytes]:
    """Return the pieces of the body of a stream of `count` events, as the server would send it."""
    delta = (
        '"output_index":0,"id":"msg_01a206585e3274ba8b01daf92200a1ae","content_index":0,"model":"bench",'
        '"role":"assistant","content":" token"'
    )
    usage = '"usage":{"prompt_tokens":2,"completion_tokens":20,"total_tokens":22}'
    pieces = [
        _event(1, "conversation.response.started", f'"conversation_id":"{CONVERSATION}"'),
        *(_event(number, "message.output.delta", delta) for number in range(2, count)),
        _event(count, "conversation.response.done", usage),
    ]
    return [piece.encode() for piece in pieces]


ANSWER = (
    f'{{"object":"conversation.response","conversation_id":"{CONVERSATION}","outputs":[{{"type":"message.output",'
    f'"object":"entry","id":"msg_01a206585e3274ba8b01daf92200a1ae","created_at":"{_AT}","completed_at":"{_AT}",'
    '"role":"assistant","content":"It is a canned answer of some length, as a model might give one.","model":"bench"}],'
    '"usage":{"prompt_tokens":2,"completion_tokens":20,"total_tokens":22},"guardrails":null}'
).encode()


def _response(kind: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Canned(asyncio.Protocol):
    """One connection."""

    answer = _response("application/json", ANSWER)
    events = _response("text/event-stream", b"".join(stream(EVENTS)))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._data = b""

    def data_received(self, data: bytes) -> None:
        """Answer once the request is whole."""
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        lowered = head.lower()
        _, _, length = lowered.partition(b"content-length: ")
        if end and len(body) >= int(length.partition(b"\r\n")[0] or 0):
            self._data = b""
            if b'"paced"' in body:
                asyncio.ensure_future(self._pace())  # noqa: RUF006  # it lives as long as it waits for the clock
            else:
                self._transport.write(self.events if b'"stream":true' in body.replace(b" ", b"") else self.answer)

    async def _pace(self) -> None:
        """Send one event in one write, as a model at work makes them."""
        pieces = stream(PACED)
        head, _, _ = _response("text/event-stream", b"".join(pieces)).partition(b"\r\n\r\n")
        self._transport.write(head + b"\r\n\r\n")
        for piece in pieces:
            await asyncio.sleep(PACE)
            self._transport.write(piece)


async def main() -> None:
    """Say the port, and serve."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Canned, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
