"""The figures: what one round of each does, and which lines of the report come of it.

A round is complete in itself: servers of its own on an empty data directory, and the direct calls that belong beside
its figures, interleaved with them. It returns plain numbers; everything about showing them is said in `FIGURES`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import asks
import cancels
import clients
import processes
from asks import DELTA, FIRST_TOKEN, STARTED
from bench import Bench, Numbers
from load import Load, LoadError, Window, ask, median, p99
from processes import ProcessError, Server
from report import Budget
from upstream import TOKEN_MARK, Script
from wire import Connection, get

TURN = Script(tokens=64)
CLIENTS, STREAMS = 32, 16
TYPES = ("requests", "responses", "entries", "events")


class Line(NamedTuple):
    """One line of the report: the number it shows, the one beside it, and a note filled in from all numbers."""

    key: str
    label: str
    unit: str
    budget: Budget | None = None
    direct: str | None = None
    detail: str = ""


class Figure(NamedTuple):
    """Something that is measured in rounds."""

    name: str
    round: Callable[[Bench], Awaitable[Numbers]]
    lines: tuple[Line, ...]


def _ms(seconds: list[float]) -> float:
    return median(seconds) * 1000


async def turn(bench: Bench) -> Numbers:
    """One client: start and append, each beside the chat completion that it amounts to."""
    check = asks.plain(TURN)
    direct1, direct2, starts, appends = [], [], [], []
    async with bench.server() as server, bench.both(server) as (ours, theirs):
        start = asks.start(server.port, TURN)
        chats = [asks.chat(bench.upstream_port, TURN, turn=number) for number in (1, 2)]
        warm = 20
        for _ in range(bench.size(400, 100) + warm):
            direct1.append((await ask(theirs, chats[0], check=check)).seconds)
            begun = await ask(ours, start, check=check)
            direct2.append((await ask(theirs, chats[1], check=check)).seconds)
            append = asks.append(server.port, asks.turn_of(begun).conversation_id)
            appended = await ask(ours, append, check=check)
            starts.append(begun.seconds)
            appends.append(appended.seconds)
    for seconds in (direct1, direct2, starts, appends):
        del seconds[:warm]
    return {
        "start": _ms(starts) - _ms(direct1), "append": _ms(appends) - _ms(direct2),
        "direct1": _ms(direct1), "direct2": _ms(direct2),
        "start_p99": p99(starts) * 1000, "append_p99": p99(appends) * 1000,
    }  # fmt: skip


def _cores(window: Window) -> Numbers:
    names = ("server_cores", "upstream_cores", "load_cores")
    return {name: spent / window.seconds for name, spent in zip(names, window.cpu, strict=True)}


async def turns(bench: Bench) -> Numbers:
    """Many clients that each start one conversation after another, then the same load on the upstream."""
    check = asks.plain(TURN)
    seconds = bench.size(4, 2)
    async with bench.server() as server:
        load = Load(server.port, asks.start(server.port, TURN), check=check)
        ours = await load.run(CLIENTS, seconds, 1.0, bench.cpu(server))
        stored = asks.turn_of(load.done[-1]).conversation_id
        with closing(await Connection.open(server.port)) as reader:
            asks.expect_history(await reader.request(get(server.port, f"{asks.CONVERSATIONS}/{stored}/history")), 2)
        chat = asks.chat(bench.upstream_port, TURN)
        theirs = await Load(bench.upstream_port, chat, check=check).run(CLIENTS, 1.0, 0.3, bench.cpu(server))
    return {
        "rate": ours.rate, "direct": theirs.rate, "cpu": ours.cpu[0] / ours.answers * 1000,
        "p50": _ms(ours.latencies), "p99": p99(ours.latencies) * 1000, **_cores(ours),
    }  # fmt: skip


async def first_token(bench: Bench) -> Numbers:
    """One client that streams: when the first event and the first token arrive, beside the upstream's own."""
    script = Script(tokens=64, per_write=bench.per_write)
    check = asks.streamed(script)
    tokens, started, first, first_bytes = [], [], [], []
    async with bench.server() as server, bench.both(server) as (ours, theirs):
        start = asks.start(server.port, script, stream=True)
        chat = asks.chat(bench.upstream_port, script, stream=True)
        warm = 20
        for _ in range(bench.size(300, 80) + warm):
            direct = await ask(theirs, chat, FIRST_TOKEN, check=check)
            answer = await ask(ours, start, STARTED, DELTA, check=check)
            if None in answer.marks or None in direct.marks:
                raise LoadError("a stream without its first event or its first token")
            began, delta = answer.marks
            tokens.append((direct.marks[0] or 0) - direct.sent)
            first_bytes.append(direct.first - direct.sent)
            started.append((began or 0) - answer.sent)
            first.append((delta or 0) - answer.sent)
    for seconds in (tokens, started, first, first_bytes):
        del seconds[:warm]
    return {
        "first": _ms(first) - _ms(tokens), "started": _ms(started) - _ms(first_bytes),
        "direct_first": _ms(tokens), "direct_byte": _ms(first_bytes), "first_p99": p99(first) * 1000,
    }  # fmt: skip


async def _streaming(bench: Bench, server: Server, script: Script, seconds: float) -> tuple[Window, Window]:
    """Measure the same streams through the server and directly."""
    check = asks.streamed(script)
    cpu = bench.cpu(server)
    start = asks.start(server.port, script, stream=True)
    ours = await Load(server.port, start, check=check, count=TOKEN_MARK).run(STREAMS, seconds, 0.5, cpu)
    chat = asks.chat(bench.upstream_port, script, stream=True)
    theirs = await Load(bench.upstream_port, chat, check=check, count=TOKEN_MARK).run(STREAMS, seconds / 3, 0.3, cpu)
    if not ours.counted:
        raise LoadError("no token came through")
    return ours, theirs


async def stream(bench: Bench) -> Numbers:
    """Many streams at once: a token a write, several tokens a write, and at the pace of a real model."""
    seconds = bench.size(4, 2)
    async with bench.server() as server:
        alone = Script(tokens=1000, per_write=bench.per_write)
        with closing(await Connection.open(server.port)) as connection:
            sample = await ask(connection, asks.start(server.port, alone, stream=True), check=asks.streamed(alone))
        fast, direct = await _streaming(bench, server, alone, seconds)
        grouped, grouped_direct = await _streaming(bench, server, alone._replace(per_write=8), seconds / 2)
        paced, _ = await _streaming(bench, server, Script(tokens=250, pace=250), seconds)
    return {
        "rate": fast.counted / fast.seconds, "direct": direct.counted / direct.seconds,
        "cpu": fast.cpu[0] / fast.counted * 1e6, **_cores(fast),
        "events": sample.body.count(DELTA) / alone.tokens,
        "grouped": grouped.counted / grouped.seconds,
        "grouped_direct": grouped_direct.counted / grouped_direct.seconds,
        "grouped_cpu": grouped.cpu[0] / grouped.counted * 1e6,
        "paced_cpu": paced.cpu[0] / paced.counted * 1e6, "paced_rate": paced.counted / paced.seconds,
    }  # fmt: skip


class _Talk:
    """One conversation that grows, with the upstream asked the same thing directly after each measured turn."""

    def __init__(self, bench: Bench, server: Server, ours: Connection, theirs: Connection) -> None:
        self._bench, self._server, self._ours, self._theirs = bench, server, ours, theirs
        self._id = ""
        self.turns = 0
        self.prompt_tokens = 0

    async def take_turn(self) -> float:
        """Return the seconds that one more turn takes."""
        port = self._server.port
        request = asks.append(port, self._id) if self._id else asks.start(port, TURN)
        answer = await ask(self._ours, request, check=asks.plain(TURN))
        read = asks.turn_of(answer)
        self._id, self.prompt_tokens = read.conversation_id, read.usage.prompt_tokens
        self.turns += 1
        return answer.seconds

    async def ask_directly(self) -> float:
        """Return the seconds that the upstream takes for the turn just taken.

        Raises:
            LoadError: what the upstream got through the server was much shorter.
        """
        chat = asks.chat(self._bench.upstream_port, TURN, turn=self.turns)
        answer = await ask(self._theirs, chat, check=asks.plain(TURN))
        if self.prompt_tokens < 0.9 * asks.usage_of(answer).prompt_tokens:
            raise LoadError(f"turn {self.turns} reached the model without its history")
        return answer.seconds

    async def check_stored(self) -> None:
        """Refuse a history that is not all that was said."""
        answer = await self._ours.request(get(self._server.port, f"{asks.CONVERSATIONS}/{self._id}/history"))
        asks.expect_history(answer, 2 * self.turns)


async def growth(bench: Bench) -> Numbers:
    """One conversation to turn 520: turns 481 to 520 beside turns 8 to 12 of short ones, taken in between."""
    late_from, late_to = 481, 520
    late, early, late_direct, early_direct = [], [], [], []
    async with bench.server() as server, bench.both(server) as (ours, theirs):
        long = _Talk(bench, server, ours, theirs)
        shorts = [_Talk(bench, server, ours, theirs) for _ in range(8)]
        for talk, turns_before in ((long, late_from - 1), *((short, 7) for short in shorts)):
            for _ in range(turns_before):
                await talk.take_turn()
        for number in range(late_to - late_from + 1):
            short = shorts[number % len(shorts)]
            late.append(await long.take_turn())
            late_direct.append(await long.ask_directly())
            early.append(await short.take_turn())
            early_direct.append(await short.ask_directly())
        await long.check_stored()
    at500, at10 = _ms(late) - _ms(late_direct), _ms(early) - _ms(early_direct)
    return {"growth": at500 - at10, "at500": at500, "at10": at10,
            "direct": _ms(late_direct) - _ms(early_direct), "prompt": float(long.prompt_tokens)}  # fmt: skip


async def memory(bench: Bench) -> Numbers:
    """Look at a server that has answered nothing but /health, and at the same one after some turns."""
    async with bench.server() as server:
        idle = processes.memory(server.pid)
        load = Load(server.port, asks.start(server.port, TURN), check=asks.plain(TURN))
        await load.run(CLIENTS, 1.0, 0.2, lambda: ())
        used = processes.memory(server.pid)
        made = len(load.done)
    return {"rss": idle.rss, "pss": idle.pss, "used": used.rss, "made": made}


async def start(bench: Bench) -> Numbers:
    """From the start of the process to the first answer of /health, and to the first stored turn."""
    async with bench.server() as server:
        with closing(await Connection.open(server.port)) as connection:
            answer = await ask(connection, asks.start(server.port, TURN), check=asks.plain(TURN))
    bare, _ = processes.python("pass")
    return {"first": answer.done - server.started_at, "health": server.healthy_after, "bare": bare}


def imported() -> str:
    """Return the modules whose import is measured: the client, or where there is none yet the types.

    Raises:
        ProcessError: the package is not there for this interpreter.
    """
    if importlib.util.find_spec("causerie") is None:
        raise ProcessError("causerie is not installed for this interpreter")
    spec = importlib.util.find_spec("causerie.client")
    has_client = spec is not None and spec.origin is not None and Path(spec.origin).stat().st_size > 0
    return "causerie.client" if has_client else ", ".join(f"causerie.types.{name}" for name in TYPES)


async def import_time(bench: Bench) -> Numbers:
    """Fresh interpreters that import and say how long it took them."""
    code = f"import time; began = time.perf_counter(); import {imported()}; print(time.perf_counter() - began)"
    return {"import": _ms([float(processes.python(code)[1]) for _ in range(bench.size(5, 3))])}


def _cancel_lines() -> list[Line]:
    whens: list[tuple[str, str]] = [
        *cancels.STATES.items(),
        ("busy", f"in mid-stream, {cancels.BESIDE} streams beside"),
    ]
    return [
        Line(f"{way}_{state}_seen_p99", f"{said}, {when}, p99", "ms", Budget(1000),
             f"direct_{state}" if state in cancels.STATES else None,
             f"p50 {{{way}_{state}_seen_p50:.2f}} ms; the next turn has begun after "
             f"p50 {{{way}_{state}_free_p50:.2f}} ms, p99 {{{way}_{state}_free_p99:.2f}} ms")
        for way, said in cancels.WAYS.items() for state, when in whens
    ]  # fmt: skip


CHEAPER = Budget(3, floor=True)
USE = "cores in use: server {server_cores:.2f}, upstream {upstream_cores:.2f}, load {load_cores:.2f}"
FIGURES = (
    Figure("turn", turn, (
        Line("start", "added per stored turn, start, p50", "ms", Budget(2.5), "direct1",
             "p99 of the whole call {start_p99:.2f} ms"),
        Line("append", "added per stored turn, append, p50", "ms", Budget(2.5), "direct2",
             "p99 of the whole call {append_p99:.2f} ms"),
    )),
    Figure("turns", turns, (
        Line("rate", f"stored turns, {CLIENTS} clients", "/s", Budget(1000, floor=True), "direct",
             "a call takes p50 {p50:.1f} ms, p99 {p99:.1f} ms; " + USE),
        Line("cpu", "CPU of the server per turn", "ms"),
    )),
    Figure("first-token", first_token, (
        Line("first", "added to the first token, p50", "ms", Budget(2.0), "direct_first",
             "p99 of the whole wait {first_p99:.2f} ms"),
        Line("started", "added to the started event, p50", "ms", None, "direct_byte"),
    )),
    Figure("stream", stream, (
        Line("rate", f"streamed tokens, {STREAMS} streams", "/s", Budget(60_000, floor=True), "direct",
             "{events:.2f} events per token; " + USE),
        Line("cpu", "CPU of the server per token", "us", Budget(14)),
        Line("grouped", "the same, 8 tokens in one write", "/s", None, "grouped_direct",
             "CPU of the server per token {grouped_cpu:.1f} us"),
        Line("paced_cpu", "CPU per token, 250 tokens/s a stream", "us", None, None,
             "{paced_rate:,.0f} tokens/s in all, so nearly every token is a read and a write of its own"),
    )),
    Figure("growth", growth, (
        Line("growth", "turn 500 over turn 10", "ms", Budget(1.0), "direct",
             "added at turn 10 {at10:.2f} ms, at turn 500 {at500:.2f} ms with {prompt:,.0f} tokens of prompt"),
    )),
    Figure("cancel", cancels.cancel, (*_cancel_lines(),)),
    Figure("memory", memory, (
        Line("rss", "idle memory, resident", "MiB", Budget(60), None, "{used:.0f} MiB after {made:,.0f} turns"),
        Line("pss", "idle memory, proportional share", "MiB"),
    )),
    Figure("start", start, (
        Line("first", "start to first stored turn", "s", Budget(1.0), "bare",
             "/health answered after {health:.2f} s; direct is a bare interpreter"),
    )),
    Figure("import", import_time, (
        Line("import", "import of the client", "ms", Budget(150)),
    )),
    Figure("client", clients.client, (
        Line("import", "import, times cheaper than the SDK", "x", CHEAPER, None,
             "{ours_import:.0f} ms beside {sdk_import:.0f} ms; {ours_ready:.0f} ms with the HTTP library, which the "
             "first call loads"),
        Line("event_cpu", "CPU per streamed event, times cheaper", "x", CHEAPER, None,
             "{ours_event_cpu:.1f} us beside {sdk_event_cpu:.1f} us"),
        Line("paced_cpu", "the same, each event a write of its own", "x", CHEAPER, None,
             "{ours_paced_cpu:.0f} us beside {sdk_paced_cpu:.0f} us, most of ours for a wake-up and a read"),
        Line("call_cpu", "CPU per call, times cheaper", "x", CHEAPER, None,
             "{ours_call_cpu:,.0f} us beside {sdk_call_cpu:,.0f} us"),
        Line("call_wall", "time of a call, times shorter", "x", CHEAPER, None,
             "{ours_call_wall:,.0f} us beside {sdk_call_wall:,.0f} us, what the canned server takes included"),
    )),
)  # fmt: skip
