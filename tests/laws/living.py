"""Processes that live and die over one database file.

Each has an engine, a model that is a function of its prompt, and tools that count. A process is run until it is at
rest, so that what a law asks for comes out the same each time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from causerie.engine.engine import Engine
from causerie.engine.plan import Bounds
from causerie.errors import StoreUnavailable, UpstreamError
from causerie.stores.sqlite import SQLiteStore
from causerie.tools.base import ToolContext, ToolDefinition, ToolResult
from causerie.types.tools import Tool
from causerie.upstreams.base import CallDelta, Delta, ModelRequest, TextDelta, Upstream, UsageDelta

from .playing import flaws

T = TypeVar("T")
PATIENCE = 20.0
FOR_EVER = 1_000_000
ACT, LOOK, ASK = "act", "look", "get_rate"
"""A tool of the server's that must not act twice, one that may, and a function of the caller's."""
SEND, PEEK = "send", "peek"
"""The like of the first two, but the caller has to allow each call."""
MAILBOX: dict[str, Any] = {
    "type": "connector", "connector_id": "mail", "tool_configuration": {"requires_confirmation": [SEND, PEEK]},
}  # fmt: skip
TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": ASK, "parameters": {"type": "object"}}},
    {"type": "web_search"},
    {"type": "code_interpreter"},
]
KINDS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "say": (True, ()),
    "fail": (True, ()),
    "act": (True, (ACT,)),
    "look": (False, (LOOK,)),
    "both": (True, (ACT, LOOK, ACT)),
    "ask": (True, (ASK,)),
    "mixed": (False, (ASK, ACT)),
}
"""What a turn of the model may be: whether it says something, and what it calls."""


class Died(Exception):
    """The process died while it was asked for something."""


@dataclass
class Nature:
    """What is outside of every process: how the model answers, how far it may go, and what tools have done.

    Attributes:
        programs: the kinds of the turns that answer each token; past its end the model says something and is done.
        budget: how many more steps a run may make, by its token; at 0 it stands still.
        said: all texts that the model has begun to say, by token.
        effects: every act, with where it came from.
        allowed: every call of a tool that asks first that was made, with where it came from.
        begun: how often the model had spoken before each token's run asked it for the first time.
    """

    programs: dict[str, list[str]] = field(default_factory=dict)
    budget: Counter[str] = field(default_factory=Counter)
    said: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    effects: list[tuple[ToolContext, str]] = field(default_factory=list)
    allowed: list[tuple[ToolContext, str, str]] = field(default_factory=list)
    begun: dict[str, int] = field(default_factory=dict)
    attempts: Counter[tuple[str, int]] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def asked_for(self, request: ModelRequest) -> tuple[str, int]:
        """Return the token of the request whose run asks, and how many turns of the model that has behind it."""
        token, turns = f"t{request.args.random_seed}", 0
        for message in reversed(json.loads(request.messages)):
            if message["role"] in ("user", "tool") and f"<{token}>" in str(message["content"]):
                return token, turns
            turns += message["role"] == "assistant"
        return token, turns - self.begun.setdefault(token, turns)  # it has no inputs: words, or a handoff that goes on


class Process:
    """One life of a server, in process."""

    def __init__(
        self, path: Path, nature: Nature, *, adopt: bool, keep_seconds: float, cache_bytes: int,
        model: Callable[[Process], Upstream] | None = None, bounds: Bounds | None = None,
    ) -> None:  # fmt: skip
        """Open the database at `path`, whoever had it before; `model` makes who answers."""
        self.alive, self.fuse, self.heard = True, FOR_EVER, True
        self._nature, self._pending, self._buried = nature, 0, False
        self._parked: list[tuple[str, asyncio.Future[None]]] = []
        self._unheard: list[asyncio.Future[Any]] = []
        self._held: list[tuple[Any, asyncio.Future[Any]]] = []
        self.holds = False
        self._runner = asyncio.Runner()
        self._store = SQLiteStore(path)
        self._carry_out, self._look_up = self._store._writer.submit, self._store._read
        self._store._writer.submit = self._submit  # type: ignore[method-assign]
        self._store._read = self._read  # type: ignore[method-assign]
        tools = {
            "web_search": _Tools(self, ACT), "code_interpreter": _Tools(self, LOOK),
            "connector": _Tools(self, SEND, PEEK),
        }  # fmt: skip
        self.engine = Engine(
            self._store, (model or _Model)(self), toolsets=tools, default_model="m",
            bounds=bounds or Bounds(model_calls=8), keep_seconds=keep_seconds, cache_bytes=cache_bytes,
            beat_seconds=FOR_EVER,
        )  # fmt: skip
        self.do(self.engine.open(adopt=adopt))

    @property
    def store(self) -> SQLiteStore:
        """The store, to look into it."""
        return self._store

    @property
    def nature(self) -> Nature:
        """What is outside."""
        return self._nature

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Begin something, and let all that follows come to rest."""
        task = self._runner.get_loop().create_task(work)
        self.rest()
        return task

    def together(self, *works: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
        """Begin several things in the same instant, and let all that follows come to rest."""
        tasks = [self._runner.get_loop().create_task(work) for work in works]
        self.flow()
        return tasks

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry something out.

        Raises:
            Died: the process did, before it was done.
        """
        task = self._runner.get_loop().create_task(work)
        self.rest()
        if not task.done():  # it waits for a write
            self.flow()
        if not self.alive:
            raise Died
        assert task.done(), "nothing happens any more, and it has not come to an end"
        return task.result()

    def hold(self) -> None:
        """Let no write through until `flow`: the disk is slow."""
        self.holds = True

    def flow(self) -> None:
        """Let the writes through that were held, in their order."""
        self._runner.run(self._let_through())
        self.rest()

    def rest(self) -> None:
        """Run until nothing more can happen by itself."""
        self._runner.run(self._quiet())

    def advance(self, token: str, steps: int) -> None:
        """Let a run go on by so many steps."""
        self._nature.budget[token] += steps
        for _, waiter in self._parked:
            if not waiter.done():
                waiter.set_result(None)
        self.rest()

    async def step(self, token: str) -> None:
        """Stand still where the budget says so; `advance` lets it go on."""
        while self._nature.budget[token] <= 0:
            waiter = asyncio.get_running_loop().create_future()
            self._parked.append((token, waiter))
            try:
                await waiter
            finally:
                self._parked.remove((token, waiter))
        self._nature.budget[token] -= 1

    def close(self) -> None:
        """Stop as a server does that is told to."""
        self._runner.run(asyncio.wait_for(self._stopped(), PATIENCE))
        self.alive = False
        self._buried = True
        self._runner.close()

    def crash(self) -> None:
        """Die: nothing is written any more, what was under way never ends, and the lock goes with the process."""
        if self._buried:
            return
        self.alive = False
        self._buried = True
        writer = self._store._writer
        writer._ended = self._store._closed = True
        while not writer._queue.empty():
            writer._queue.get_nowait()
        writer._queue.put(None)
        writer._thread.join(PATIENCE)
        self._store._readers.shutdown()
        for connection in self._store._connections:
            connection.close()
        if self._store._lock is not None:
            self._store._lock.release()
        for future in (*self._unheard, *(promised for _, promised in self._held)):
            if not future.done():
                future.set_exception(StoreUnavailable("The process is dead."))
                future.exception()
        self._runner.close()  # what is left of it finds a store that is closed

    def _submit(self, job: Any) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        if not self.alive:
            refused: asyncio.Future[Any] = loop.create_future()
            refused.set_exception(StoreUnavailable("The process is dead."))
            return refused
        if self.holds:
            self._held.append((job, loop.create_future()))
            return self._held[-1][1]
        self.fuse -= 1
        if self.fuse < 0:
            if self.heard:  # what it wrote last is on disk, but nobody is told
                self._carry_out(job).add_done_callback(lambda done: done.cancelled() or done.exception())
                self._store._writer._queue.put(None)
                self._store._writer._thread.join(PATIENCE)
            self.alive = False
            self._unheard.append(loop.create_future())
            return self._unheard[-1]
        self._pending += 1
        future = self._carry_out(job)
        future.add_done_callback(self._answered)
        return future

    async def _stopped(self) -> None:
        await asyncio.gather(self.engine.close(grace=0), self._let_through())

    async def _let_through(self) -> None:
        self.holds, held, self._held = False, self._held, []
        for job, promised in held:
            self._unheard.append(promised)
            self._submit(job).add_done_callback(partial(_hand_on, promised))

    def _answered(self, _: asyncio.Future[Any]) -> None:
        self._pending -= 1

    async def _read(self, job: Any) -> Any:
        self._pending += 1
        try:
            return await self._look_up(job)
        finally:
            self._pending -= 1

    async def _quiet(self) -> None:
        loop: Any = asyncio.get_running_loop()
        deadline, quiet = time.monotonic() + PATIENCE, 0
        while self.alive and quiet < 3:
            await asyncio.sleep(0)
            # Besides the store's threads there is nobody who could wake this loop.
            quiet = quiet + 1 if self._pending == 0 and not loop._ready else 0
            assert time.monotonic() < deadline, "it does not come to rest"


def _hand_on(promised: asyncio.Future[Any], found: asyncio.Future[Any]) -> None:
    if promised.done():
        found.exception()  # whoever asked has gone; the work is done all the same
    elif error := found.exception():
        promised.set_exception(error)
    else:
        promised.set_result(found.result())


class _Model:
    """An upstream whose answer depends on the last token in the prompt, and on how often it was asked for it."""

    def __init__(self, process: Process) -> None:
        self._process, self._nature = process, process.nature

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        self._nature.complaints += flaws(json.loads(request.messages))
        token, turn = self._nature.asked_for(request)
        self._nature.attempts[token, turn] += 1
        attempt = self._nature.attempts[token, turn]
        program = self._nature.programs.get(token, [])
        kind = program[turn] if turn < len(program) else "say"
        for batch in self._batches(token, turn, attempt, kind):
            await self._process.step(token)
            yield batch
        if kind == "fail" and attempt == 1:
            raise UpstreamError("It broke.")

    def _batches(self, token: str, turn: int, attempt: int, kind: str) -> list[list[Delta]]:
        says, calls = KINDS[kind]
        words = [f"{token}.{turn} ", f"({attempt})"] if says else []
        if words:
            self._nature.said[token].append("".join(words))
        found: list[list[Delta]] = [[TextDelta(word)] for word in words]
        for index, name in enumerate(calls):
            given = json.dumps({"query": f"{token}.{turn}.{index}"})
            found.append([CallDelta(index, f"call{turn}{attempt}{index}xx", name, given[:5])])
            found[-1].append(CallDelta(index, arguments=given[5:]))
        return [*found, [UsageDelta(3, 2)]]

    async def models(self) -> list[str]:
        return ["m"]

    async def close(self) -> None:
        """Hold nothing."""


class _Tools:
    """A toolset whose tools stand still before they act and after they have."""

    def __init__(self, process: Process, *names: str) -> None:
        self._process, self._names = process, names

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        return [ToolDefinition(name=name, repeatable=name in (LOOK, PEEK)) for name in self._names]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        query = json.loads(arguments)["query"]
        token = query.partition(".")[0]
        await self._process.step(token)
        if name == ACT:
            self._process.nature.effects.append((context, query))
        elif name in (SEND, PEEK):
            self._process.nature.allowed.append((context, name, query))
        await self._process.step(token)
        return ToolResult(output=f"done {query}", info={"of": query})
