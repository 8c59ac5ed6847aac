"""A model server and a toolset that play what a law was given: any deltas, in any batches, failing anywhere.

The model server judges each prompt as the strictest real one would: see `flaws`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Any

from causerie.errors import CauserieError
from causerie.tools.base import ToolContext, ToolDefinition, ToolResult
from causerie.types.tools import Tool
from causerie.upstreams.base import Delta, ModelRequest, TextDelta, UsageDelta

FUNCTIONS = ("get_rate", "get_time")
"""What the caller answers."""
SERVED = ("search", "fetch")
"""What the server runs."""
ASKING = ("send",)
"""What the server runs once the caller allows it."""
TOOLS: list[dict[str, Any]] = [
    *({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in FUNCTIONS),
    {"type": "web_search", "tool_configuration": {"requires_confirmation": [*ASKING]}},
]


@dataclass(frozen=True)
class Called:
    """A call that a turn makes: its id as the model server gives it, its name, its arguments as they come."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True)
class Turn:
    """What the model does when it is asked: says this, batch by batch, and then perhaps fails."""

    batches: tuple[tuple[Delta, ...], ...]
    text: str = ""
    reasoning: str = ""
    calls: tuple[Called, ...] = ()
    error: CauserieError | None = None

    @property
    def goes_on(self) -> bool:
        """Whether the model is asked again after it: all that it called is run by the server."""
        return self.error is None and bool(self.calls) and all(call.name in SERVED for call in self.calls)


DONE = Turn(batches=((TextDelta("Done."), UsageDelta(3, 2)),), text="Done.")
"""What the model says when it was given nothing to say."""


@dataclass
class Playing:
    """An upstream that plays turns, and keeps what it was asked."""

    turns: list[Turn] = field(default_factory=list)
    requests: list[ModelRequest] = field(default_factory=list)
    open: int = 0

    def play(self, turns: Sequence[Turn]) -> list[Turn]:
        """Play `turns`; return all that a run will come to see, the last one included where that is not theirs."""
        self.turns = list(turns)
        ending = [*turns, DONE]
        until = next(place for place, turn in enumerate(ending) if not turn.goes_on)
        return ending[: until + 1]

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        self.requests.append(request)
        assert flaws(json.loads(request.messages)) == []
        turn = self.turns.pop(0) if self.turns else DONE
        self.open += 1
        try:
            for batch in turn.batches:
                await asyncio.sleep(0)
                yield list(batch)
            if turn.error is not None:
                raise turn.error
        finally:
            self.open -= 1

    async def models(self) -> list[str]:
        return ["m"]

    async def close(self) -> None:
        """Hold nothing."""


@dataclass
class Toolbox:
    """A toolset of three tools that answers with the results it was given, then with an empty one."""

    results: list[ToolResult | Exception] = field(default_factory=list)
    contexts: list[ToolContext] = field(default_factory=list)

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        return [ToolDefinition(name=name) for name in (*SERVED, *ASKING)]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        self.contexts.append(context)
        result = self.results.pop(0) if self.results else ToolResult()
        await asyncio.sleep(0)
        if isinstance(result, Exception):
            raise result
        return result


def _is_object(call: dict[str, Any]) -> bool:
    try:
        return isinstance(json.loads(call["function"]["arguments"]), dict)
    except ValueError:
        return False


def flaws(messages: list[dict[str, Any]]) -> list[str]:
    """Say what is wrong with a prompt: what makes a strict model server refuse it, for good.

    A call is answered at once and once: right after the assistant's message come the results of its calls, and
    nothing else does.
    """
    found, waiting = list[str](), set[str]()
    for place, message in enumerate(messages):
        role, where = message["role"], f"message {place}"
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                found.append(f"{where} answers a call that is not open: {message['tool_call_id']}")
            waiting.discard(message["tool_call_id"])
            continue
        if waiting:
            found.append(f"{where} ({role}) comes before the results of {sorted(waiting)}")
        if role == "system" and place:
            found.append(f"{where}: a system message that is not the first")
        calls = message.get("tool_calls", [])
        waiting = {call["id"] for call in calls}
        if len(waiting) != len(calls) or "" in waiting:
            found.append(f"{where}: call ids that do not tell calls apart: {[call['id'] for call in calls]}")
        found += [f"{where}: arguments that are no JSON object: {call}" for call in calls if not _is_object(call)]
        if not (message["content"] or calls or message.get("reasoning_content") or message.get("reasoning")):
            found.append(f"{where} ({role}): nothing said")
        if "prefix" in message and message is not messages[-1]:
            found.append(f"{where}: a prefix that is not last")
    if waiting:
        found.append(f"the results of {sorted(waiting)} are missing")
    return found
