"""An engine to try laws on: a store in memory, a model that plays, and a loop.

Every run that it carries is held to the laws of one run: its events, its answer and what is stored are the same thing
told three times (D2, D9, D10).
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import threading
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Self, TypeVar

from hypothesis import Phase, settings

from causerie.engine.engine import Engine
from causerie.engine.plan import Bounds, Outcome
from causerie.engine.run import Run
from causerie.errors import APIError, CauserieError
from causerie.stores.sqlite import SQLiteStore
from causerie.types.base import decode, encode
from causerie.types.entries import Entry
from causerie.types.events import OUTPUT_EVENTS, ResponseDoneEvent, ResponseErrorEvent, ResponseStartedEvent
from causerie.types.fold import Fold, collect
from causerie.types.requests import AppendRequest, ListRequest, RestartRequest, StartRequest, decode_request
from causerie.upstreams.base import ModelRequest

from .playing import TOOLS, Playing, Toolbox, Turn

T = TypeVar("T")
HERE = "here"
PATIENCE = 20.0
Listed = dict[str, Any]
"""An entry as JSON."""


def laws(examples: int, **more: Any) -> settings:
    """Return the settings of a law: the same examples each time, and as many as a minute has room for.

    What fails is shown as it was found, at once. With LAWS_EFFORT=20 in the environment there are 20 times as many
    examples, other ones each time, and what fails is made small first.
    """
    effort = int(os.environ.get("LAWS_EFFORT", "1"))
    more |= {} if effort > 1 else {"derandomize": True, "phases": [Phase.explicit, Phase.generate]}
    return settings(max_examples=examples * effort, deadline=None, database=None, **more)


class Lasting(SQLiteStore):
    """A store in memory that can outlive the engine that closes it, and whose writer can be held up."""

    def __init__(self) -> None:
        super().__init__(":memory:")
        self.stays = False
        self._gate = threading.Event()

    def hold(self) -> None:
        """Let nothing that is submitted from here on be done before `release`."""
        self._gate = gate = threading.Event()
        reached = threading.Event()

        def wait(_: sqlite3.Connection) -> None:
            reached.set()
            assert gate.wait(PATIENCE)

        self._writer.submit(wait)
        assert reached.wait(PATIENCE)

    def release(self) -> None:
        """Go on."""
        self._gate.set()

    async def close(self) -> None:
        if not self.stays:
            await super().close()


class World:
    """Everything in process. What it does is JSON in and JSON out."""

    def __init__(self) -> None:
        self.model, self.toolbox = Playing(), Toolbox()
        self._runner = asyncio.Runner()
        self.store = Lasting()
        self.begin_anew()
        self.do(self.store.open("own_laws"))

    def begin_anew(self, cache_bytes: int = 1 << 20) -> None:
        """Go on as a server does that was started again: with the same store and nothing in memory."""
        self.engine = Engine(
            self.store, self.model, toolsets={"web_search": self.toolbox}, bounds=Bounds(model_calls=8),
            cache_bytes=cache_bytes,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of everything; nothing may be under way."""
        try:
            assert self.model.open == 0
            self.do(self.engine.close())
        finally:
            self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def do(self, work: Awaitable[T]) -> T:
        """Await something, for a bounded time."""

        async def bounded() -> T:
            async with asyncio.timeout(PATIENCE):
                return await work

        return self._runner.run(bounded())

    def start(self, body: dict[str, Any], turns: Sequence[Turn] = ()) -> Told:
        """Start a conversation that has all tools."""
        request = decode_request(json.dumps({"model": "m", "tools": TOOLS} | body).encode(), StartRequest)
        return self._carry(self.engine.start(HERE, request), turns)

    def append(
        self, conversation: str, body: dict[str, Any], turns: Sequence[Turn] = (), before: Sequence[Listed] = ()
    ) -> Told:
        """Append to a conversation; its outputs also tell of the calls `before`, which were made earlier."""
        request = decode_request(json.dumps(body).encode(), AppendRequest)
        return self._carry(self.engine.append(HERE, conversation, request), turns, before)

    def restart(
        self, conversation: str, body: dict[str, Any], turns: Sequence[Turn] = (), before: Sequence[Listed] = ()
    ) -> Told:
        """Branch a conversation."""
        request = decode_request(json.dumps(body).encode(), RestartRequest)
        return self._carry(self.engine.restart(HERE, conversation, request), turns, before)

    def delete(self, conversation: str) -> None:
        """Delete a conversation."""
        self.do(self.engine.delete(HERE, conversation))

    def history(self, conversation: str) -> list[Listed]:
        """Return all entries of a conversation."""
        return [json.loads(body) for body in self.do(self.engine.get_history(HERE, conversation))]

    def messages(self, conversation: str) -> list[Listed]:
        """Return all messages of a conversation."""
        return [json.loads(body) for body in self.do(self.engine.get_messages(HERE, conversation))]

    def listed(self) -> list[str]:
        """Return the ids of all conversations as they are listed."""
        return [found.id for found in self.do(self.engine.list(HERE, ListRequest(page_size=1000)))]

    def _carry(self, begin: Awaitable[Run], turns: Sequence[Turn], calls: Sequence[Listed] = ()) -> Told:
        played = self.model.play(turns)
        before = len(self.model.requests)

        async def whole() -> tuple[Run, Outcome | CauserieError]:
            run = await begin
            outcome = await run.outcome
            await run.wait()
            return run, outcome

        run, outcome = self.do(whole())
        hold_to_the_laws(run, outcome, played if len(self.model.requests) > before else [], calls)
        return Told(run, outcome, self.model.requests[before:])


class Told:
    """What came of a run that began."""

    def __init__(self, run: Run, outcome: Outcome | CauserieError, requests: list[ModelRequest]) -> None:
        self.id = run.conversation_id
        self.error = outcome if isinstance(outcome, CauserieError) else None
        self.outputs: list[Listed] = [] if self.error else [json.loads(body) for body in outcome.outputs]
        self.prompts = [request.messages for request in requests]


def hold_to_the_laws(
    run: Run, outcome: Outcome | CauserieError, played: Sequence[Turn], calls: Sequence[Listed] = ()
) -> None:
    """See that a run's log is in order, and that log and outcome tell the same; `calls` are those of earlier runs."""
    events = run.log.events
    first, last, between = events[0], events[-1], events[1:-1]
    assert run.log.ended
    assert isinstance(first, ResponseStartedEvent)
    assert (first.conversation_id, first.run_id) == (run.conversation_id, run.id)
    assert all(isinstance(event, OUTPUT_EVENTS) for event in between)
    in_order(between)
    if isinstance(outcome, CauserieError):
        assert isinstance(last, ResponseErrorEvent)
        status = outcome.status_code if isinstance(outcome, APIError) else 500
        assert (last.message, last.code) == (outcome.message, status)
        return
    assert isinstance(last, ResponseDoneEvent)
    told = [json.loads(body) for body in outcome.outputs]
    assert folded(between) == [without_end(entry) for entry in told]
    collected = collect(events, stopped_clock)
    assert (collected.conversation_id, collected.usage) == (run.conversation_id, outcome.usage)
    assert [without_end(json.loads(encode(entry))) for entry in collected.outputs] == [without_end(e) for e in told]
    whole(told, played, calls)
    usage = outcome.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens + (usage.connector_tokens or 0)


def in_order(events: Sequence[Any]) -> None:
    """See that `output_index` counts entries from 0 and never goes back, and that it and the id go together."""
    indexes = [event.output_index for event in events]
    assert indexes == sorted(indexes)
    assert sorted(set(indexes)) == list(range(len(set(indexes))))
    assert len({(event.output_index, event.id) for event in events}) == len({event.id for event in events})
    assert len({event.id for event in events}) == len(set(indexes))
    for one, other in pairwise(events):
        if one.id == other.id and hasattr(one, "content_index"):
            assert 0 <= other.content_index - one.content_index <= 1


def folded(events: Sequence[Any]) -> list[Listed]:
    """Fold events into entries, as JSON."""
    fold = Fold(stopped_clock)
    found = [*(fold.feed(event) for event in events), fold.close()]
    return [without_end(json.loads(encode(entry))) for entry in found if entry is not None]


def whole(told: Sequence[Listed], played: Sequence[Turn], calls: Sequence[Listed]) -> None:
    """See that the entries say all that the model said, and nothing else."""
    assert "".join(text_of(entry) for entry in told) == "".join(turn.text for turn in played)
    assert "".join(thoughts_of(entry) for entry in told) == "".join(turn.reasoning for turn in played)
    made = [call_of(entry) for entry in told if entry["type"] in ("function.call", "tool.execution")]
    asked = [(call.name, call.arguments or "{}") for turn in played for call in turn.calls]
    asked += [call_of(call) for call in calls]
    # White space after whole arguments may come too late to be told.
    assert sorted((name, given.strip()) for name, given in made) == sorted(
        (name, given.strip()) for name, given in asked
    )


def grows(prompts: Sequence[bytes]) -> None:
    """See that each prompt begins with the whole of the one before, to the byte."""
    for one, other in pairwise(prompts):
        stays = one.removesuffix(b"]")
        if json.loads(one)[-1].get("prefix"):
            # The beginning that an answer has to have stands last; later the answer stands there.
            stays = stays[: stays.rindex(b'{"role":"assistant"')].removesuffix(b",")
        assert other.startswith(stays + b","), (one, other)


def answers(told: Sequence[Listed], text: str = "fine") -> list[Listed]:
    """Return a result for every call among `told` that waits for one."""
    waiting = [call["tool_call_id"] for call in open_calls(told) if not call.get("confirmation_status")]
    return [{"type": "function.result", "tool_call_id": id_, "result": text} for id_ in waiting]


def asking(told: Sequence[Listed]) -> list[Listed]:
    """Return the calls among `told` that wait for a word."""
    return [call for call in open_calls(told) if call.get("confirmation_status")]


def open_calls(told: Sequence[Listed]) -> list[Listed]:
    """Return the calls among `told` that nothing has come of."""
    waiting = dict[str, Listed]()
    for entry in told:
        if entry["type"] == "function.call" and entry.get("confirmation_status") not in ("allowed", "denied"):
            waiting[entry["tool_call_id"]] = entry
        elif entry["type"] == "function.result":
            waiting.pop(entry["tool_call_id"], None)
    return [*waiting.values()]


def call_of(entry: Listed) -> tuple[str, str]:
    """Return the name and the arguments of a call, whoever ran it."""
    return entry.get("function", entry["name"]), entry["arguments"]


def text_of(entry: Listed) -> str:
    """Return the text of a message."""
    content = entry.get("content", "")
    return content if isinstance(content, str) else "".join(chunk.get("text", "") for chunk in content)


def thoughts_of(entry: Listed) -> str:
    """Return what a message tells of what the model thought."""
    chunks = [chunk for chunk in entry.get("content", "") if isinstance(chunk, dict) and chunk["type"] == "thinking"]
    return "".join(part["text"] for chunk in chunks for part in chunk["thinking"])


def without_end(entry: Listed) -> Listed:
    """Return an entry without what no event tells: when it was complete."""
    return {key: value for key, value in entry.items() if key != "completed_at"}


def stopped_clock() -> datetime:
    """Return the same time always."""
    return datetime(2025, 1, 1, 0, 0, 0, 1, UTC)


def read(body: bytes) -> Entry:
    """Read a stored entry."""
    return decode(body, Entry)  # type: ignore[arg-type]
