"""A database with something of everything in it, made by the engine and left as by a server that stopped.

The rehearsal model answers. Each conversation has a name, by which tests find it; `furnish` returns their ids.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec

from causerie.engine.engine import Engine
from causerie.engine.replay import Answerable
from causerie.stores.sqlite import SQLiteStore
from causerie.tools.base import ToolContext, ToolDefinition, ToolResult
from causerie.types.agents import CreateAgentRequest, SetAliasRequest, UpdateAgentRequest, UpdateVersionRequest
from causerie.types.requests import AppendRequest, RestartRequest, StartRequest, decode_request
from causerie.types.tools import Tool
from causerie.upstreams.base import CallDelta, Delta, ModelRequest
from causerie.upstreams.rehearsal import Rehearsal
from causerie.upstreams.script import Script
from tests.support.samples import GET_RATE, GET_TIME

from .driving import PATIENCE
from .rows import HERE

# The model that `busy` is served by searches, and with the first result searches again; asked slowly, it says nothing.
_SCRIPT = """
[[rules]]
model = "busy"
result_of = "web_search"
calls = [{ name = "web_search", arguments = { query = "again" } }]
[[rules]]
model = "busy"
user = "search"
calls = [{ name = "web_search", arguments = { query = "once" } }]
[[rules]]
model = "busy"
user = "slowly"
text = "Never said."
delay = 600
"""


class Search:
    """A toolset of two tools; the first call of one is answered, and its second never."""

    def __init__(self) -> None:
        self.calls = 0
        self.held = asyncio.Event()

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        names = ("web_search", "news_search")
        return [ToolDefinition(name=name, parameters={"type": "object"}) for name in names]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        if "again" in arguments:
            self.held.set()
            await asyncio.Event().wait()
        return ToolResult(output="Found.")


class OtherNames:
    """An upstream that is a rehearsal, but for the ids of its calls: no client is shown such."""

    def __init__(self, inner: Rehearsal) -> None:
        self._inner = inner

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        async with aclosing(self._inner.stream(request)) as batches:
            async for batch in batches:
                yield [self._renamed(delta) if request.model == "foreign" else delta for delta in batch]

    def _renamed(self, delta: Delta) -> Delta:
        if not (isinstance(delta, CallDelta) and delta.id):
            return delta
        return msgspec.structs.replace(delta, id=f"chatcmpl-{delta.id}")

    async def models(self) -> Sequence[str]:
        return await self._inner.models()

    async def close(self) -> None:
        await self._inner.close()


class Furnisher:
    """Speaks to an engine as a client would, in JSON."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.ids = dict[str, str]()

    async def start(self, name: str, body: dict[str, Any], key: str | None = None) -> list[dict[str, Any]]:
        """Start a conversation; return its outputs."""
        request = decode_request(json.dumps({"name": name, "inputs": "Hello"} | body).encode(), StartRequest)
        return await self._outputs(name, self.engine.start(HERE, request, key))

    async def append(
        self, name: str, inputs: Any, key: str | None = None, words: Sequence[dict[str, Any]] = ()
    ) -> list[dict[str, Any]]:
        """Append to a conversation; return its outputs."""
        request = decode_request(json.dumps({"inputs": inputs, "tool_confirmations": words}).encode(), AppendRequest)
        return await self._outputs(name, self.engine.append(HERE, self.ids[name], request, key))

    async def restart(self, name: str, parent: str, entry: int, inputs: Any) -> list[dict[str, Any]]:
        """Branch a conversation after its entry number `entry`."""
        history = await self.engine.get_history(HERE, self.ids[parent])
        body = {"from_entry_id": json.loads(history[entry - 1])["id"], "inputs": inputs}
        request = decode_request(json.dumps(body).encode(), RestartRequest)
        return await self._outputs(name, self.engine.restart(HERE, self.ids[parent], request))

    async def _outputs(self, name: str, begin: Awaitable[Answerable]) -> list[dict[str, Any]]:
        answer = json.loads(await (await begin).body())
        self.ids[name] = answer["conversation_id"]
        outputs: list[dict[str, Any]] = answer["outputs"]
        return outputs


def furnish(path: Path) -> dict[str, str]:
    """Make a database at `path`; return the ids of its conversations by their names."""

    async def bounded() -> dict[str, str]:
        async with asyncio.timeout(PATIENCE):
            return await _furnish(path)

    return asyncio.run(bounded())


async def _furnish(path: Path) -> dict[str, str]:
    search = Search()
    model = OtherNames(Rehearsal(Script.parse(_SCRIPT)))
    engine = Engine(SQLiteStore(path), model, toolsets={"web_search": search}, default_model="rehearsal")
    await engine.open()
    there = Furnisher(engine)
    await there.start("plain", {"metadata": {"user": "ada", "n": 1}}, key="k-start")
    await there.append("plain", "More", key="k-more")
    await _calls(there)
    await _branches(there)
    await there.start("prefixed", {"inputs": _prefix("A rhyme?")})
    slow = {"inputs": _prefix("Slowly"), "model": "busy", "stream": True}
    run = await engine.start(HERE, decode_request(json.dumps(slow).encode(), StartRequest))
    await engine.cancel(HERE, run.conversation_id)
    there.ids["cancelled"] = run.conversation_id
    await there.start("busy", {"model": "busy", "tools": [{"type": "web_search"}]})
    request = decode_request(b'{"inputs": "search", "stream": true}', AppendRequest)
    await engine.append(HERE, there.ids["busy"], request, "k-busy")
    await search.held.wait()
    await _agents(there)
    await engine.close(grace=0)  # which leaves that run for the next owner
    return there.ids


def _prefix(question: str) -> list[dict[str, Any]]:
    return [
        {"type": "message.input", "role": "user", "content": question},
        {"type": "message.input", "role": "assistant", "content": "Roses", "prefix": True},
    ]


async def _calls(there: Furnisher) -> None:
    """`waiting`: a call without a result. `answered`: with it. `parallel`, and `cut` between. `served`: our tool."""
    (call,) = await there.start("answered", {"inputs": '/call get_rate {"date": "today"}', "tools": [GET_RATE]})
    await there.append("answered", [_result(call)])
    ask = {"model": "foreign", "inputs": "/call get_rate {}", "tools": [GET_RATE]}
    (call,) = await there.start("foreign", ask)
    await there.append("foreign", [_result(call)])
    await there.append("foreign", "/call get_rate {}")
    await there.start("waiting", {"inputs": "/call get_rate {}", "tools": [GET_RATE]})
    both = "/call get_rate {} /call get_time {}"
    calls = await there.start("parallel", {"inputs": both, "tools": [GET_RATE, GET_TIME]})
    await there.append("parallel", [_result(call) for call in calls])
    await there.append("parallel", both)
    await there.restart("cut", "parallel", 2, [_result(calls[0])])
    await there.start("served", {"inputs": "/call web_search {}", "tools": [{"type": "web_search"}]})
    await _words(there)


async def _words(there: Furnisher) -> None:
    """`asked`: of two calls that waited one was allowed, then a function answered; `deaf` was cut before.

    `told` had both settled at once and is deleted; `heard` still stands on it, and `echo` was begun with what it shows.
    """
    asking = [{"type": "web_search", "tool_configuration": {"requires_confirmation": ["news_search"]}}]
    calls = {"inputs": "/call news_search {} /call get_rate {} /call news_search {}", "tools": [*asking, GET_RATE]}
    first, rate, second = await there.start("asked", calls)
    await there.append("asked", [], words=[_word(second, "allow")])
    await there.restart("deaf", "asked", 2, [])
    await there.append("asked", [_result(rate)], words=[_word(first, "deny")])
    first, rate, second = await there.start("told", calls)
    await there.append("told", [_result(rate)], words=[_word(first, "deny"), _word(second, "allow")])
    shown = [json.loads(entry) for entry in await there.engine.get_history(HERE, there.ids["told"])]
    await there.start("echo", {"inputs": [*shown, {"role": "user", "content": "And?"}]})
    await there.append("told", "More")
    await there.restart("heard", "told", 6, "Well?")
    await there.engine.delete(HERE, there.ids["told"])
    first, _, second = await there.start("denied", calls)
    await there.append("denied", [], words=[_word(first, "deny")])


async def _branches(there: Furnisher) -> None:
    """`branch` stands on `parent`, `leaf` on both; `trunk` is deleted, and `survivor` still stands on its beginning."""
    await there.start("parent", {})
    await there.append("parent", "Two")
    await there.restart("branch", "parent", 2, "Other")
    await there.restart("leaf", "branch", 4, "Leaf")
    await there.start("trunk", {})
    await there.append("trunk", "Two")
    await there.restart("survivor", "trunk", 2, "On")
    await there.engine.delete(HERE, there.ids["trunk"])


async def _agents(there: Furnisher) -> None:
    """`helper` has three versions, of which 1 is current and 2 is called `beta`; `gone` is deleted during a run."""
    agents = there.engine.agents
    for name in ("helper", "gone"):
        body = json.dumps({"model": "rehearsal", "name": name, "metadata": {"team": "a"}})
        made = await agents.create(HERE, decode_request(body.encode(), CreateAgentRequest))
        there.ids[name] = made.id
        for change in (b'{"metadata": {"team": "b"}}', b'{"name": "newest", "metadata": null}'):
            await agents.update(HERE, made.id, decode_request(change, UpdateAgentRequest))
        await agents.create_version_alias(HERE, made.id, SetAliasRequest(alias="beta", version=2))
        await agents.update_version(HERE, made.id, UpdateVersionRequest(version=1))
    await agents.delete(HERE, there.ids["gone"])


def _word(call: dict[str, Any], confirmation: str) -> dict[str, Any]:
    return {"tool_call_id": call["tool_call_id"], "confirmation": confirmation}


def _result(call: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function.result", "tool_call_id": call["tool_call_id"], "result": "fine"}
