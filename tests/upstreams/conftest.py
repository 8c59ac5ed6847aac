"""What the upstream tests share: a bounded event loop, and a model server that says what a test tells it to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import aclosing, suppress
from typing import Any, NamedTuple, Self

import pytest

from causerie.types.completion import CompletionArgs
from causerie.upstreams.base import Delta, ModelRequest, Upstream

Step = bytes | str
HANG = "hang"
ABORT = "abort"


class Heard(NamedTuple):
    """A request as it came over the wire."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class ScriptedServer:
    """Answers the n-th request with the n-th answer (the last one from then on): bytes, `HANG` or `ABORT`."""

    def __init__(self, *answers: list[Step]) -> None:
        self.answers = list(answers)
        self.requests: list[Heard] = []
        self.asked = asyncio.Event()
        self.gone = asyncio.Event()
        self._tasks: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        # Clients have gone by now, or are of no interest any more; either way their connections end here.
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.append(asyncio.ensure_future(self._serve(reader, writer, len(self._tasks) + 1)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            try:
                while True:
                    self.requests.append(await self._hear(reader, connection))
                    self.asked.set()
                    for step in self.answers[min(len(self.requests), len(self.answers)) - 1]:
                        await self._do(step, reader, writer)
            finally:
                self.gone.set()
                writer.close()
                await writer.wait_closed()

    async def _do(self, step: Step, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if isinstance(step, bytes):
            writer.write(step)
            await writer.drain()
            # Let the client read this step before the next one.
            for _ in range(5):
                await asyncio.sleep(0)
        elif step == HANG:
            # A client that waits for an answer sends nothing; what ends this is its going away.
            await reader.readexactly(1)
        else:
            writer.transport.abort()
            raise ConnectionAbortedError

    async def _hear(self, reader: asyncio.StreamReader, connection: int) -> Heard:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Heard(method, path, headers, body, connection)


class Wire:
    """Answers as bytes."""

    HANG = HANG
    ABORT = ABORT

    @staticmethod
    def plain(body: Any, status: int = 200, kind: str = "application/json", **headers: str) -> list[Step]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = len(data)
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{extra}\r\n"
        return [head.encode() + data]

    @staticmethod
    def stream(*pieces: Step, kind: str = "text/event-stream; charset=utf-8", ended: bool = True) -> list[Step]:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        steps: list[Step] = [head]
        steps += [b"%x\r\n%b\r\n" % (len(step), step) if isinstance(step, bytes) else step for step in pieces]
        return [*steps, b"0\r\n\r\n"] if ended else steps

    @staticmethod
    def data(*chunks: Any, done: bool = True) -> bytes:
        frames = [chunk if isinstance(chunk, bytes) else json.dumps(chunk).encode() for chunk in chunks]
        return b"".join(b"data: %b\n\n" % frame for frame in [*frames, *([b"[DONE]"] if done else [])])

    @staticmethod
    def delta(finish: str | None = None, **delta: Any) -> dict[str, Any]:
        return {"id": "x", "object": "chat.completion.chunk", "choices": [_choice("delta", delta, finish)]}

    @staticmethod
    def message(finish: str | None = "stop", **message: Any) -> dict[str, Any]:
        return {"id": "x", "object": "chat.completion", "choices": [_choice("message", message, finish)]}


def _choice(kind: str, said: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": 0, kind: said, "logprobs": None, "finish_reason": finish}


@pytest.fixture
def run() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine to its end, and not for ever."""

    def running(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(asyncio.wait_for(coroutine, 20))

    return running


@pytest.fixture
def serving() -> type[ScriptedServer]:
    return ScriptedServer


@pytest.fixture
def wire() -> type[Wire]:
    return Wire


@pytest.fixture
def ask() -> Callable[..., ModelRequest]:
    """Make a request: `messages` as objects or as a user's text, the rest as the port has it."""

    def asking(messages: Any = "Hello", **members: Any) -> ModelRequest:
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if isinstance(messages, list):
            messages = json.dumps(messages).encode()
        if isinstance(members.get("tools"), list):
            members["tools"] = json.dumps(members["tools"]).encode()
        members.setdefault("args", CompletionArgs())
        return ModelRequest(**{"model": "m", "messages": messages, **members})

    return asking


@pytest.fixture
def collect() -> Callable[[Upstream, ModelRequest], Coroutine[Any, Any, list[list[Delta]]]]:
    """Return all batches of an answer."""

    async def collecting(upstream: Upstream, request: ModelRequest) -> list[list[Delta]]:
        async with aclosing(upstream.stream(request)) as batches:
            return [batch async for batch in batches]

    return collecting
