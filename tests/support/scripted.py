"""A model server that plays a script: OpenAI-compatible HTTP on loopback, in a thread of its own.

Every test has a `Script`, reached by a model name that no other test uses; so a run that outlives its test cannot
take a reply meant for the next one. The server records each request exactly as it came.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .moderating import Moderations
from .replies import PATIENCE, Bytes, Failure, Gate, Hangup, Reply, Step, Text, call, delta_of, message_of


@dataclass
class Request:
    """A request as the model server got it."""

    path: str
    headers: dict[str, str]
    body: bytes
    answered: threading.Event = field(default_factory=threading.Event)
    """Set when all but the last byte of the reply is written."""
    abandoned: threading.Event = field(default_factory=threading.Event)
    """Set when the client hung up before that."""

    @property
    def json(self) -> dict[str, Any]:
        """The body, parsed."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The chat messages."""
        messages: list[dict[str, Any]] = self.json["messages"]
        return messages

    @property
    def messages_bytes(self) -> bytes:
        """The chat messages, byte for byte as they were sent: what a prefix cache sees."""
        _, _, rest = self.body.decode().partition('"messages":')
        rest = rest.lstrip()
        _, end = json.JSONDecoder().raw_decode(rest)
        return rest[:end].encode()

    @property
    def tools(self) -> list[dict[str, Any]]:
        """The tools that were offered to the model."""
        tools: list[dict[str, Any]] = self.json.get("tools") or []
        return tools


class Script:
    """What the model of one test answers, and what it was asked.

    Replies are played in the order they were queued; with none left it answers "Answer N" to its Nth request.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop) -> None:
        """Answer to the model name `name`."""
        self.name = name
        self.problems: list[str] = []
        self.moderations = Moderations()
        self.moderated: list[Request] = []
        self.reads_chats = False  # whether its moderation has a path for chats
        self._loop = loop
        self._requests: list[Request] = []
        self._replies: deque[Reply | Failure] = deque()
        self._gates: list[Gate] = []
        self._arrived = threading.Condition()

    @property
    def requests(self) -> list[Request]:
        """The requests so far, oldest first."""
        with self._arrived:
            return list(self._requests)

    @property
    def checked(self) -> list[Any]:
        """What was given to moderations so far, text by text."""
        return [text for request in self.moderated for text in request.json["input"]]

    @property
    def last(self) -> Request:
        """The latest request."""
        return self.requests[-1]

    def request(self, number: int) -> Request:
        """Return request `number`, counted from 1; wait for it if it has not come yet."""
        with self._arrived:
            came = self._arrived.wait_for(lambda: len(self._requests) >= number, PATIENCE)
            assert came, f"the model was asked {len(self._requests)} times, not {number}"
            return self._requests[number - 1]

    def reply(
        self,
        *steps: Step,
        usage: tuple[int, int] | None = (16, 3),
        finish: str | None = None,
        before: Gate | None = None,
    ) -> None:
        """Queue an answer made of these steps."""
        self._replies.append(Reply(steps, usage, finish, before))

    def say(
        self,
        *pieces: str,
        usage: tuple[int, int] | None = (16, 3),
        finish: str | None = None,
        before: Gate | None = None,
    ) -> None:
        """Queue a text, streamed in these pieces."""
        self.reply(*map(Text, pieces), usage=usage, finish=finish, before=before)

    def call(self, name: str, arguments: Any, *, call_id: str = "callAAAA1", **how: Any) -> None:
        """Queue one tool call."""
        self.reply(*call(name, arguments, call_id=call_id), **how)

    def calls(self, *calls: tuple[str, Any], **how: Any) -> None:
        """Queue parallel tool calls; their ids are ``callAAAA1``, ``callAAAA2`` and so on."""
        steps = [
            step
            for index, (name, arguments) in enumerate(calls)
            for step in call(name, arguments, call_id=f"callAAAA{index + 1}", index=index)
        ]
        self.reply(*steps, **how)

    def fail(
        self,
        status: int,
        message: str = "the scripted model refuses",
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        before: Gate | None = None,
        **error: Any,
    ) -> None:
        """Queue an HTTP error: an OpenAI-shaped object with `message` and `error`, or `body` as it is."""
        shaped = json.dumps({"error": {"message": message, "type": "invalid_request_error", **error}}).encode()
        self._replies.append(Failure(status, shaped if body is None else body, headers or {}, before))

    def gate(self) -> Gate:
        """Return a closed gate to put into a reply; it opens at the end of the test at the latest."""
        gate = Gate(self._loop)
        self._gates.append(gate)
        return gate

    def close(self) -> None:
        """Open all gates and complain about anything that went wrong on the server's side."""
        for gate in self._gates:
            gate.open()
        assert not self.problems, self.problems

    def take(self, request: Request) -> Reply | Failure:
        """Record `request` and return what answers it. The server calls this."""
        with self._arrived:
            self._requests.append(request)
            self._arrived.notify_all()
            return self._replies.popleft() if self._replies else Reply((Text(f"Answer {len(self._requests)}"),))


class ScriptedServer:
    """The HTTP side. `url` is what an OpenAI-compatible client takes as its base URL."""

    def __init__(self) -> None:
        """Start nothing yet; see `running`."""
        self.url = ""
        self._loop = asyncio.new_event_loop()
        self._scripts: dict[str, Script] = {}
        self._made = 0
        self._connections: set[asyncio.Task[None]] = set()

    def script(self, name: str | None = None) -> Script:
        """Return a new script under a name of its own."""
        self._made += 1
        script = Script(name or f"scripted-{self._made}", self._loop)
        self._scripts[script.name] = script
        return script

    @contextmanager
    def running(self) -> Iterator[ScriptedServer]:
        """Serve on a free port of loopback for as long as the context lasts."""
        ready = threading.Event()
        thread = threading.Thread(target=self._run, args=(ready,), name="scripted-model")
        thread.start()
        assert ready.wait(PATIENCE), "the scripted model server did not start"
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the scripted model server did not stop"

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connected, "127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._loop.call_soon(ready.set)
        self._loop.run_forever()
        server.close()
        for task in self._connections:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._connections, return_exceptions=True))
        self._loop.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await _read(reader)) is not None:
                await self._answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client is gone; `Request.abandoned` says so where a test cares
        except asyncio.CancelledError:
            pass  # the server stops
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.path == "/v1/models":
            data = [{"id": name, "object": "model", "created": 0, "owned_by": "test"} for name in self._scripts]
            await _respond(writer, 200, json.dumps({"object": "list", "data": data}).encode())
            return
        if request.path.endswith("/moderations"):
            await self._moderate(request, writer)
            return
        name = request.json.get("model", "") if request.body else ""
        script = self._scripts.get(name)
        if request.path != "/v1/chat/completions" or script is None:
            error = {"message": f"The model `{name}` does not exist.", "type": "invalid_request_error"}
            error["code"] = "model_not_found"
            await _respond(writer, 404, json.dumps({"error": error}).encode())
            return
        playing = asyncio.ensure_future(_play(script, request, writer))
        leaving = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({playing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                if not request.answered.is_set():
                    request.abandoned.set()
                raise ConnectionResetError
            playing.result()
        except TimeoutError:
            script.problems.append("a gate was never opened")
            raise ConnectionResetError from None
        finally:
            playing.cancel()
            leaving.cancel()
            # The next request can only be read when the watch for a hang-up has really ended.
            await asyncio.wait({playing, leaving})

    async def _moderate(self, request: Request, writer: asyncio.StreamWriter) -> None:
        # A moderation model has one name for all tests: where it is none of theirs, the text says whose it is.
        said = request.body.decode()
        owners = [script for name, script in self._scripts.items() if f"<{name}>" in said]
        owner = self._scripts.get(request.json["model"]) or (owners[0] if owners else None)
        if owner is None or (request.path != "/v1/moderations" and not owner.reads_chats):
            await _respond(writer, 404, b'{"detail": "Not Found"}')
            return
        owner.moderated.append(request)
        status, body, headers = await owner.moderations.answer(request.json)
        await _respond(writer, status, body, **headers)


async def _read(reader: asyncio.StreamReader) -> Request | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(first.split(" ")[1], headers, body)


async def _respond(writer: asyncio.StreamWriter, status: int, body: bytes, **headers: str) -> None:
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    writer.write(f"HTTP/1.1 {status} Scripted\r\n{head}\r\n".encode() + body)
    await writer.drain()


async def _play(script: Script, request: Request, writer: asyncio.StreamWriter) -> None:
    reply = script.take(request)
    if reply.before is not None:
        await reply.before.hold()
    if isinstance(reply, Failure):
        request.answered.set()
        await _respond(writer, reply.status, reply.body, **reply.headers)
    elif request.json.get("stream"):
        await _stream(reply, request, writer)
    else:
        await _plain(reply, request, writer)


async def _plain(reply: Reply, request: Request, writer: asyncio.StreamWriter) -> None:
    raw = b""
    for step in reply.steps:
        if isinstance(step, Gate):
            await step.hold()
        elif isinstance(step, Hangup):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
            await writer.drain()
            raise ConnectionResetError
        elif isinstance(step, Bytes):
            raw += step.data
    choice = {"index": 0, "message": message_of(reply), "finish_reason": reply.finish_reason}
    answer = {"id": "cmpl-1", "object": "chat.completion", "created": 0, "model": request.json["model"]}
    answer |= {"choices": [choice], **({} if reply.usage is None else {"usage": _usage(reply.usage)})}
    request.answered.set()
    await _respond(writer, 200, raw or json.dumps(answer).encode())


async def _stream(reply: Reply, request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    base = {"id": "cmpl-1", "object": "chat.completion.chunk", "created": 0, "model": request.json["model"]}

    def event(**members: Any) -> None:
        _chunk(writer, b"data: " + json.dumps(base | members).encode() + b"\n\n")

    event(choices=[{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
    await writer.drain()
    for step in reply.steps:
        delta = delta_of(step)
        if isinstance(step, Gate):
            await step.hold()
        elif isinstance(step, Hangup):
            await writer.drain()
            raise ConnectionResetError
        elif isinstance(step, Bytes):
            _chunk(writer, step.data)
        elif delta is not None:
            event(choices=[{"index": 0, "delta": delta, "finish_reason": None}])
        await writer.drain()
    event(choices=[{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}])
    if reply.usage is not None and (request.json.get("stream_options") or {}).get("include_usage"):
        event(choices=[], usage=_usage(reply.usage))
    request.answered.set()
    _chunk(writer, b"data: [DONE]\n\n")
    writer.write(b"0\r\n\r\n")
    await writer.drain()


def _usage(counts: tuple[int, int]) -> dict[str, int]:
    prompt, completion = counts
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
