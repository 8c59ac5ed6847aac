"""Words on calls that come in the same instant as others: only what is true when their run begins is carried out."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from causerie.engine.engine import Engine
from causerie.errors import Conflict, UpstreamError
from causerie.moderation.base import ModerationRequest, Offered, Score, Scored
from causerie.tools.base import ToolDefinition
from causerie.types.requests import AppendRequest
from causerie.types.tools import Tool
from causerie.upstreams.base import CallDelta

from .playing import ASKING, FUNCTIONS, Called, Toolbox, Turn
from .world import HERE, World, answers, asking, decode_request

IDS = ("callAAAA1", "callAAAA2")
SENDING = Turn(
    batches=(tuple(CallDelta(place, id_, ASKING[0], "{}") for place, id_ in enumerate(IDS)),),
    calls=tuple(Called(id_, ASKING[0], "{}") for id_ in IDS),
)
"""Two calls that wait."""


class Slow(Toolbox):
    """Says what it has as late as it is told to, once, like a server that is far away."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = False
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        if self.waits:
            self.waits = False
            self.reached.set()
            await self.go_on.wait()
        return [*await super().tools(tool)]


class Judge:
    """A moderator that has no objections, and comes to say so when it is told to."""

    offered = Offered(frozenset({"sexual"}))

    def __init__(self) -> None:
        self.waits = False
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def score(self, request: ModerationRequest) -> Scored:
        if self.waits:
            self.waits = False
            self.reached.set()
            await self.go_on.wait()
        return Scored([{"sexual": Score(0.0, flagged=False)} for _ in request.texts])

    async def close(self) -> None:
        """Hold nothing."""


def words(results: Any = (), **said: str) -> AppendRequest:
    """Return a request that says no more than that."""
    told = [{"tool_call_id": id_, "confirmation": word} for id_, word in said.items()]
    return decode_request(json.dumps({"inputs": [*results], "tool_confirmations": told}).encode(), AppendRequest)


@pytest.mark.parametrize("cache_bytes", [0, 1 << 20])
@pytest.mark.parametrize("late", [{IDS[0]: "allow"}, {IDS[0]: "deny"}, {IDS[1]: "allow"}, dict.fromkeys(IDS, "allow")])
def test_words_are_refused_that_others_were_quicker_than(late: dict[str, str], cache_bytes: int) -> None:
    """A denial that is not the last word moves no head; all the same, what was read before it is not true any more."""
    with World() as world:
        world.toolbox = box = Slow()
        world.begin_anew(cache_bytes)
        begun = world.start({"inputs": "Do it."}, [SENDING])

        async def overtaken() -> Any:
            box.waits = True
            slow = asyncio.ensure_future(world.engine.append(HERE, begun.id, words(**late)))
            await box.reached.wait()
            quick = await world.engine.append(HERE, begun.id, words(callAAAA1="deny"))
            await quick.outcome
            box.go_on.set()
            return (await asyncio.gather(slow, return_exceptions=True))[0]

        assert isinstance(world.do(overtaken()), Conflict)
        assert box.contexts == []
        assert [call["tool_call_id"] for call in asking(world.history(begun.id))] == [IDS[1]]
        told = world.append(begun.id, {"inputs": [], "tool_confirmations": [
            {"tool_call_id": IDS[1], "confirmation": "allow"},
        ]}, before=asking(world.history(begun.id)))  # fmt: skip
        assert [entry["type"] for entry in told.outputs] == ["tool.execution", "message.output"]
        assert len(box.contexts) == 1


def test_a_denial_is_too_late_for_what_is_made_while_guardrails_are_asked() -> None:
    with World() as world:
        judge, names = Judge(), (ASKING[0], FUNCTIONS[0])
        world.engine = Engine(world.store, world.model, toolsets={"web_search": world.toolbox}, moderator=judge)
        begun = world.start(
            {
                "inputs": "Do it.",
                "guardrails": [{"moderation_llm_v2": {"custom_category_thresholds": {"sexual": 0.5},
                                                      "ignore_other_categories": True}}],
            },
            [Turn(
                batches=(tuple(CallDelta(place, IDS[place], name, "{}") for place, name in enumerate(names)),),
                calls=tuple(Called(id_, name, "{}") for id_, name in zip(IDS, names, strict=True)),
            )],
        )  # fmt: skip
        assert begun.error is None
        results = answers(begun.outputs)

        async def overtaken() -> None:
            judge.waits = True
            slow = asyncio.ensure_future(world.engine.append(HERE, begun.id, words(results, callAAAA1="deny")))
            await judge.reached.wait()
            world.model.turns = [Turn(batches=(), error=UpstreamError("It broke."))]
            quick = await world.engine.append(HERE, begun.id, words(results, callAAAA1="allow"))
            assert isinstance(await quick.outcome, UpstreamError)
            judge.go_on.set()
            await (await slow).body()

        world.do(overtaken())
        assert len(world.toolbox.contexts) == 1
        kinds = [(entry["type"], entry.get("confirmation_status")) for entry in world.history(begun.id)]
        assert kinds[1] == ("function.call", "allowed")
        assert [kind for kind, _ in kinds[3:]] == ["function.result", "tool.execution", "message.output"]
