"""A fake OpenAI-compatible server that answers at once and costs next to nothing: the other end of every benchmark.

How it answers is said by the name of the model that is asked for (`Script`), so one process serves all figures at
the same time, directly and through Causerie. It is no model and no test double: it checks nothing.

    python benchmarks/upstream.py [--port 0]      prints the port, serves until it is told to stop
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import re
import signal
import sys
from typing import NamedTuple

import msgspec
import uvloop

TOKEN_MARK = b" tk"  # every token begins with it and nothing else contains it, so counting it counts tokens
CREATED = 1_700_000_000
BYTES_PER_TOKEN = 4  # what prompts are said to cost, so that usage shows how much of a history arrived
_MODEL = re.compile(r"bench-(\d+)-(\d+)-(\d+)", re.ASCII)
_HEAD = b"HTTP/1.1 %d %s\r\nserver: bench\r\ncontent-type: %s\r\n"
STREAM_HEAD = _HEAD % (200, b"OK", b"text/event-stream; charset=utf-8") + b"transfer-encoding: chunked\r\n\r\n"


class Script(NamedTuple):
    """How to answer: how many tokens, how many of them in one write, how many a second (0: as fast as possible)."""

    tokens: int = 64
    per_write: int = 1
    pace: int = 0

    @property
    def model(self) -> str:
        """The model name that asks for this."""
        return f"bench-{self.tokens}-{self.per_write}-{self.pace}"

    @classmethod
    def of(cls, model: str) -> Script:
        """Read a model name; any other name gets the default."""
        match = _MODEL.fullmatch(model)
        if match is None:
            return cls()
        tokens, per_write, pace = map(int, match.groups())
        return cls(max(tokens, 1), max(per_write, 1), pace)


class StreamOptions(msgspec.Struct):
    """What a caller wants of a stream."""

    include_usage: bool = False


class ChatRequest(msgspec.Struct):
    """The little that is read of a request; msgspec skips the messages without building them."""

    model: str = "bench"
    stream: bool = False
    stream_options: StreamOptions | None = None


def token(index: int) -> str:
    """Return the text of one token: six characters, about what a token of English has."""
    return f"{TOKEN_MARK.decode()}{index % 1000:03d}"


def text(script: Script) -> str:
    """Return the whole answer of a script."""
    return "".join(map(token, range(script.tokens)))


@functools.cache
def plain_answer(script: Script) -> tuple[bytes, bytes]:
    """Return a complete answer, cut in two where the usage goes."""
    body = {
        "id": "chatcmpl-bench", "object": "chat.completion", "created": CREATED, "model": script.model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text(script)},
                     "logprobs": None, "finish_reason": "stop"}],
    }  # fmt: skip
    return msgspec.json.encode(body)[:-1] + b',"usage":', b"}"


def usage(script: Script, prompt: int) -> bytes:
    """Return the usage of an answer to `prompt` bytes of request."""
    tokens = prompt // BYTES_PER_TOKEN
    return b'{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}' % (
        tokens, script.tokens, tokens + script.tokens,
    )  # fmt: skip


def chunk(script: Script, choices: list[dict[str, object]]) -> bytes:
    """Return one event of a stream."""
    body = {"id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": CREATED,
            "model": script.model, "choices": choices}  # fmt: skip
    return b"data: " + msgspec.json.encode(body) + b"\n\n"


def choice(delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
    """Return the one choice of an event."""
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def framed(data: bytes) -> bytes:
    """Return `data` as one HTTP chunk."""
    return b"%x\r\n%s\r\n" % (len(data), data)


@functools.cache
def stream_writes(script: Script) -> tuple[bytes, ...]:
    """Return a stream's writes up to the last token: the role first, as real servers do, then the text."""
    tokens = [chunk(script, [choice({"content": token(index)})]) for index in range(script.tokens)]
    grouped = (tokens[at : at + script.per_write] for at in range(0, len(tokens), script.per_write))
    role = chunk(script, [choice({"role": "assistant", "content": ""})])
    return (framed(role), *(framed(b"".join(group)) for group in grouped))


def stream_end(script: Script, prompt: int, options: StreamOptions | None) -> bytes:
    """Return a stream's last write: why it stopped, the usage if asked for, the sentinel."""
    events = [chunk(script, [choice({}, "stop")])]
    if options is not None and options.include_usage:
        events.append(chunk(script, [])[:-3] + b',"usage":' + usage(script, prompt) + b"}\n\n")
    return framed(b"".join(events) + b"data: [DONE]\n\n") + b"0\r\n\r\n"


class Session(asyncio.Protocol):
    """One connection of a caller."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start idle."""
        self._loop = loop
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._needed = 0
        self._writes: tuple[bytes, ...] = ()
        self._next = 0
        self._script = Script()
        self._began = 0.0
        self._open = self._flowing = False
        self._stalled = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (asyncio calls this)."""
        self._transport = transport  # type: ignore[assignment]  # uvloop's transport is no subclass of asyncio's
        self._open = self._flowing = True

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Stop streaming (asyncio calls this)."""
        self._open = False

    def pause_writing(self) -> None:
        """Wait for a slow reader (asyncio calls this)."""
        self._flowing = False

    def resume_writing(self) -> None:
        """Go on (asyncio calls this)."""
        self._flowing = True
        if self._stalled:
            self._stalled = False
            self._write_next()

    def data_received(self, data: bytes) -> None:
        """Take what arrived and answer every complete request (asyncio calls this)."""
        self._buffer += data
        while len(self._buffer) >= self._needed and not self._writes and self._serve_one():
            pass

    def _serve_one(self) -> bool:
        head_end = self._buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return False
        head = bytes(self._buffer[:head_end]).lower()
        _, named, rest = head.partition(b"\r\ncontent-length:")
        length = int(rest.split(b"\r\n", 1)[0]) if named else 0
        self._needed = head_end + 4 + length
        if len(self._buffer) < self._needed:
            return False
        # A long history is a quarter of a megabyte: it is read where it lies.
        with memoryview(self._buffer) as whole, whole[head_end + 4 : self._needed] as body:
            self._answer(head.split(b"\r\n", 1)[0], body)
        del self._buffer[: self._needed]
        self._needed = 0
        return True

    def _answer(self, request_line: bytes, body: memoryview) -> None:
        if request_line.startswith(b"post /v1/chat/completions "):
            try:
                self._complete(msgspec.json.decode(body, type=ChatRequest), len(body))
            except msgspec.MsgspecError as error:
                message = {"error": {"message": str(error), "type": "invalid_request_error", "code": 400}}
                self._send(400, b"Bad Request", msgspec.json.encode(message))
        elif request_line.startswith(b"get /v1/models "):
            self._send(200, b"OK", b'{"object":"list","data":[{"id":"bench","object":"model","created":0}]}')
        else:
            self._send(404, b"Not Found", b'{"error":{"message":"no such path","type":"not_found","code":404}}')

    def _send(self, status: int, reason: bytes, *parts: bytes) -> None:
        head = _HEAD % (status, reason, b"application/json")
        length = b"content-length: %d\r\n\r\n" % sum(map(len, parts))
        self._transport.write(b"".join((head, length, *parts)))

    def _complete(self, request: ChatRequest, prompt: int) -> None:
        script = Script.of(request.model)
        if not request.stream:
            before, after = plain_answer(script)
            self._send(200, b"OK", before, usage(script, prompt), after)
            return
        self._transport.write(STREAM_HEAD)
        self._script, self._next, self._began = script, 0, self._loop.time()
        self._writes = (*stream_writes(script), stream_end(script, prompt, request.stream_options))
        self._write_next()

    def _write_next(self) -> None:
        # One write per turn of the loop: several in one turn would leave in one system call, which no model does.
        if not self._open or not self._writes:
            return
        if not self._flowing:
            self._stalled = True
            return
        self._transport.write(self._writes[self._next])
        self._next += 1
        if self._next == len(self._writes):
            self._writes = ()
            self.data_received(b"")
        elif self._script.pace:
            due = self._next * self._script.per_write / self._script.pace
            self._loop.call_at(self._began + due, self._write_next)
        else:
            self._loop.call_soon(self._write_next)


async def serve(port: int, *, attached: bool) -> None:
    """Print the port, serve until told to stop; where `attached`, also until standard input is closed."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if attached:
        loop.add_reader(sys.stdin.fileno(), stop.set)
    server = await loop.create_server(lambda: Session(loop), "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible server that answers at once.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--attached", action="store_true", help="stop when standard input is closed")
    given = parser.parse_args()
    uvloop.run(serve(given.port, attached=given.attached))


if __name__ == "__main__":
    main()
