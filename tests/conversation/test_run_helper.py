"""The official SDK's own loop, `run_async` and `run_stream_async`, from its first request to its last.

Its `RunContext` calls functions in this process; the server is real, and lives in other threads.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.library import OFFICIAL, Mistral, errors, utils
from tests.support.raw import Raw
from tests.support.replies import PATIENCE, Text
from tests.support.samples import result
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

if not OFFICIAL:
    pytest.skip("it is the official SDK's loop", allow_module_level=True)

from mcp import StdioServerParameters
from mistralai.extra.exceptions import DeferredToolCallsException, RunException
from mistralai.extra.mcp.stdio import MCPClientSTDIO
from mistralai.extra.run.context import RunContext
from mistralai.extra.run.result import RunResult
from pydantic import BaseModel

ROOT = Path(__file__).parents[2]
LOCAL_MCP = ROOT / "tests" / "support" / "local_mcp.py"
pytestmark = pytest.mark.client
GOOD = '{"percent": 2.5, "day": "x"}'


class Rate(BaseModel):
    """What a structured answer is parsed into."""

    percent: float
    day: str


class Loop:
    """The SDK's loop over a server: `run` drives it to its end, in either of its forms."""

    def __init__(self, url: str, *, streams: bool) -> None:
        self.url, self.streams = url, streams
        self.events: list[Any] = []

    def go(self, scenario: Callable[..., Any]) -> Any:
        """Run `scenario`, which gets a function that runs a context, on a loop of its own."""

        async def bounded() -> Any:
            async with asyncio.timeout(2 * PATIENCE), Mistral(api_key="any-key", server_url=self.url) as mistral:
                return await scenario(self._runner(mistral.beta.conversations))

        return asyncio.run(bounded())

    def run(self, context: RunContext, inputs: Any, **more: Any) -> Any:
        """Run one context once."""

        async def once(run: Any) -> Any:
            async with context:
                return await run(context, inputs, **more)

        return self.go(once)

    def _runner(self, conversations: Any) -> Callable[..., Any]:
        async def run(context: RunContext, inputs: Any, **more: Any) -> Any:
            if not self.streams:
                return await conversations.run_async(run_ctx=context, inputs=inputs, **more)
            found = None
            stream = await conversations.run_stream_async(run_ctx=context, inputs=inputs, **more)
            async for found in stream:
                self.events.append(found)
            assert isinstance(found, RunResult), "the last thing streamed is the result"
            return found

        return run


@pytest.fixture(params=[False, True], ids=["run_async", "run_stream_async"])
def loop(request: pytest.FixtureRequest, server_url: str) -> Loop:
    """The loop in each of its forms."""
    return Loop(server_url, streams=request.param)


def registered(context: RunContext, *, confirm: bool = False) -> list[str]:
    """Register a function and a coroutine; return the list of what they were called with."""
    called: list[str] = []

    async def get_rate(date: str) -> str:
        """Return the interest rate of a day.

        Args:
            date: the day, as ISO 8601 has it.
        """
        called.append(date)
        return f"2.5% on {date}"

    def get_time(zone: str = "UTC") -> dict[str, str]:
        """Return the time."""
        called.append(zone)
        if zone == "nowhere":
            raise LookupError("there is no such zone")
        return {"zone": zone, "time": "noon"}

    context.register_func(get_rate, requires_confirmation=confirm)
    context.register_func(get_time)
    return called


def types(entries: list[Any]) -> list[str]:
    """Return the kinds of entries."""
    return [entry.type for entry in entries]


@pytest.mark.requirement("C-300", "C-306")
def test_local_functions_are_called_until_the_model_answers(loop: Loop, raw: Raw, model: Script) -> None:
    context = RunContext(model=model.name)
    called = registered(context)
    model.calls(("get_rate", {"date": "2024-06-06"}), ("get_time", {"zone": "ü"}))
    model.call("get_time", {})
    model.say("It is ", "2.5%.")
    found = loop.run(context, "Which rate?", instructions="Be brief.")

    assert found.output_as_text == "It is 2.5%."
    assert sorted(called) == ["2024-06-06", "UTC", "ü"]
    assert types(found.output_entries) == [*["function.call"] * 2, *["function.result"] * 2, "function.call",
                                           "function.result", "message.output"]  # fmt: skip
    history = raw.get(f"/v1/conversations/{found.conversation_id}/history").json["entries"]
    assert [entry["type"] for entry in history] == ["message.input", *types(found.output_entries)]
    assert history[3]["result"] == "2.5% on 2024-06-06"
    assert json.loads(history[4]["result"]) == {"zone": "ü", "time": "noon"}
    offered = {tool["function"]["name"]: tool["function"] for tool in model.requests[0].tools}
    assert offered["get_rate"]["parameters"]["properties"]["date"]["description"] == "the day, as ISO 8601 has it."
    assert {request.messages[0]["content"] for request in model.requests} == {"Be brief."}
    assert [request.tools for request in model.requests] == [model.requests[0].tools] * 3
    assert context.request_count == 3


@pytest.mark.requirement("C-306")
def test_the_streamed_loop_yields_everything(server_url: str, model: Script) -> None:
    loop, context = Loop(server_url, streams=True), RunContext(model=model.name)
    registered(context)
    model.call("get_rate", {"date": "x"})
    model.say("It is ", "2.5%.")
    found = loop.run(context, "Which rate?")

    *events, last = loop.events
    assert last is found
    told = [event.event for event in events]
    assert told == [
        "conversation.response.started", *["function.call.delta"] * 2, "conversation.response.done",
        "function.result", "conversation.response.started", *["message.output.delta"] * 2,
        "conversation.response.done",
    ]  # fmt: skip
    assert events[4].data.result == "2.5% on x"
    assert found.output_as_text == "It is 2.5%."


@pytest.mark.requirement("C-302")
def test_a_structured_answer_is_parsed(loop: Loop, model: Script) -> None:
    context = RunContext(model=model.name, output_format=Rate)
    registered(context)
    model.call("get_rate", {"date": "x"})
    model.say("It is two and a half.")
    model.say(GOOD)
    found = loop.run(context, "Which rate?")

    assert found.output_as_model == Rate(percent=2.5, day="x")
    assert types(found.output_entries) == ["function.call", "function.result", "message.output"]
    wanted = [request.json.get("response_format") for request in model.requests]
    assert wanted[:2] == [None, None], "tools are free first"
    assert (wanted[2]["type"], wanted[2]["json_schema"]["strict"]) == ("json_schema", True)
    assert wanted[2]["json_schema"]["schema"]["additionalProperties"] is False


@pytest.mark.requirement("C-302")
def test_a_structured_answer_needs_no_functions(loop: Loop, model: Script) -> None:
    model.say(*GOOD)
    found = loop.run(RunContext(model=model.name, output_format=Rate), "Which rate?")
    assert found.output_as_model == Rate(percent=2.5, day="x")
    assert model.last.json["response_format"]["json_schema"]["name"] == "Rate"


@pytest.mark.requirement("C-303")
def test_a_function_that_nobody_registered_ends_the_loop(loop: Loop, raw: Raw, model: Script) -> None:
    context = RunContext(model=model.name)
    tool = {"type": "function", "function": {"name": "get_rate", "parameters": {"type": "object", "properties": {}}}}
    model.call("get_rate", {})
    with pytest.raises(errors.HTTPValidationError) as caught:
        loop.run(context, "Which rate?", tools=[tool])

    assert caught.value.status_code == 422
    assert "Either inputs or tool_confirmations must be provided" in caught.value.body
    assert len(model.requests) == 1, "the model was not asked again"
    assert context.request_count == 1
    path = f"/v1/conversations/{context.conversation_id}"
    assert [entry["type"] for entry in raw.get(f"{path}/history").json["entries"]] == ["message.input", "function.call"]
    assert raw.post(path, {"inputs": [result("callAAAA1", "2.5%")]}).status == 200, "the call still waits"


@pytest.mark.requirement("C-309")
def test_an_error_of_a_function_is_told_to_the_model(loop: Loop, model: Script) -> None:
    context = RunContext(model=model.name, continue_on_fn_error=True)
    registered(context)
    model.call("get_time", {"zone": "nowhere"})
    model.say("There is none.")
    found = loop.run(context, "What time is it?")

    assert found.output_as_text == "There is none."
    assert model.last.messages[-1]["content"] == "Error while executing get_time: there is no such zone"


@pytest.mark.requirement("C-309")
def test_an_error_of_a_function_ends_the_loop_otherwise(loop: Loop, model: Script) -> None:
    context = RunContext(model=model.name)
    registered(context)
    model.call("get_time", {"zone": "nowhere"})
    with pytest.raises(RunException, match="Failed to execute tool get_time"):
        loop.run(context, "What time is it?")
    assert len(model.requests) == 1


@pytest.mark.requirement("C-304")
@pytest.mark.parametrize("allowed", [True, False])
def test_a_local_call_waits_and_is_taken_up_in_another_process(loop: Loop, model: Script, allowed: bool) -> None:
    """One call is made at once, the other asks first; both results go in one append, after JSON and back."""
    context = RunContext(model=model.name)
    called = registered(context, confirm=True)
    model.calls(("get_rate", {"date": "x"}), ("get_time", {"zone": "UTC"}))
    model.say("So it is.")
    with pytest.raises(DeferredToolCallsException) as caught:
        loop.run(context, "Which rate, and when?")
    assert called == ["UTC"]
    assert len(model.requests) == 1
    stored = json.loads(json.dumps(caught.value.to_dict()))

    waiting = DeferredToolCallsException.from_dict(stored)
    (call,) = waiting.deferred_calls
    assert (call.tool_name, call.tool_call_id) == ("get_rate", "callAAAA1")
    again = RunContext(model=model.name, conversation_id=waiting.conversation_id)
    called = registered(again, confirm=True)
    found = loop.run(again, [call.confirm() if allowed else call.reject("Not today."), *waiting.executed_results])

    assert called == (["x"] if allowed else [])
    assert found.output_as_text == "So it is."
    told = {message["tool_call_id"]: message["content"] for message in model.last.messages if message["role"] == "tool"}
    assert told["callAAAA1"] == ("2.5% on x" if allowed else "Not today.")
    assert json.loads(told["callAAAA2"]) == {"zone": "UTC", "time": "noon"}


ASKING = {"type": "web_search", "tool_configuration": {"requires_confirmation": ["web_search"]}}


@pytest.fixture(scope="module")
def searching(model_server: ScriptedServer) -> Iterator[tuple[str, ScriptedToolset]]:
    """A server with a tool of its own."""
    toolset = ScriptedToolset()
    with serving(upstream=model_server.url, toolsets={"web_search": toolset}) as url:
        yield url, toolset


@pytest.mark.requirement("C-171", "C-305")
@pytest.mark.parametrize("allowed", [True, False])
def test_a_call_of_the_servers_is_deferred_and_confirmed(
    searching: tuple[str, ScriptedToolset], model: Script, allowed: bool
) -> None:
    """Its call waits beside a local one, which is made at once; the words go with that one's result."""
    url, toolset = searching
    before = len(toolset.calls)
    context = RunContext(model=model.name)
    called = registered(context)
    model.calls(("web_search", {"query": "x"}), ("get_time", {"zone": "UTC"}))
    model.say("So it is.")
    with pytest.raises(DeferredToolCallsException) as caught:
        Loop(url, streams=False).run(context, "Look.", tools=[ASKING])
    waiting = DeferredToolCallsException.from_dict(json.loads(json.dumps(caught.value.to_dict())))
    (call,) = waiting.deferred_calls
    assert (call.tool_name, called, len(toolset.calls)) == ("web_search", ["UTC"], before)

    again = RunContext(model=model.name, conversation_id=waiting.conversation_id)
    registered(again)
    words = [call.confirm() if allowed else call.reject("Not today."), *waiting.executed_results]
    found = Loop(url, streams=False).run(again, words)
    assert found.output_as_text == "So it is."
    assert len(toolset.calls) == before + allowed
    shown = Raw(url).get(f"/v1/conversations/{again.conversation_id}/history").json["entries"]
    assert [entry.get("confirmation_status") for entry in shown[1:3]] == ["allowed" if allowed else "denied", None]


@pytest.mark.requirement("C-171", "C-305")
@pytest.mark.parametrize("allowed", [True, False])
def test_a_confirmation_goes_alone(searching: tuple[str, ScriptedToolset], model: Script, allowed: bool) -> None:
    url, toolset = searching
    before = len(toolset.calls)
    context = RunContext(model=model.name)
    model.call("web_search", {"query": "x"})
    model.say("So it is.")
    with pytest.raises(DeferredToolCallsException) as caught:
        Loop(url, streams=False).run(context, "Look.", tools=[ASKING])
    (call,) = caught.value.deferred_calls
    again = RunContext(model=model.name, conversation_id=caught.value.conversation_id)
    found = Loop(url, streams=False).run(again, [call.confirm() if allowed else call.reject()])
    assert found.output_as_text == "So it is."
    assert len(toolset.calls) == before + allowed


@pytest.mark.requirement("C-307")
def test_the_streamed_loop_does_not_see_that_a_call_waits(
    searching: tuple[str, ScriptedToolset], model: Script
) -> None:
    """What it makes of events says nothing of confirmations; so it appends nothing, and is told so."""
    url, toolset = searching
    before = len(toolset.calls)
    context = RunContext(model=model.name)
    model.call("web_search", {"query": "x"})
    with pytest.raises(errors.HTTPValidationError) as caught:
        Loop(url, streams=True).run(context, "Look.", tools=[ASKING])
    assert caught.value.status_code == 422
    assert "Either inputs or tool_confirmations must be provided" in caught.value.body
    assert (len(model.requests), len(toolset.calls)) == (1, before)


@pytest.mark.requirement("C-300")
def test_a_run_goes_on_in_its_conversation(loop: Loop, model: Script) -> None:
    model.say("One.")
    model.say("Two.")
    first = RunContext(model=model.name)
    loop.run(first, "Count.")
    found = loop.run(RunContext(model=model.name, conversation_id=first.conversation_id), "Go on.")
    assert found.output_as_text == "Two."
    assert [message["content"] for message in model.last.messages] == ["Count.", "One.", "Go on."]


@asynccontextmanager
async def local_mcp() -> AsyncIterator[MCPClientSTDIO]:
    """Start a local MCP server and talk to it over its standard input and output."""
    # What it logs is not ours; a file of its own would have to be closed in the right task.
    client = MCPClientSTDIO(stdio_params=StdioServerParameters(command=sys.executable, args=[str(LOCAL_MCP)]))
    yield client


def test_tools_of_a_local_mcp_server_are_offered_and_made(loop: Loop, model: Script) -> None:
    model.call("get_rate", {"date": "x"})
    model.say("It is 2.5%.")

    async def scenario(run: Any) -> Any:
        async with local_mcp() as client, RunContext(model=model.name) as context:
            await context.register_mcp_client(client, tool_configuration={"exclude": ["forget_rates"]})
            return await run(context, "Which rate?")

    found = loop.go(scenario)
    assert found.output_as_text == "It is 2.5%."
    assert [tool["function"]["name"] for tool in model.requests[0].tools] == ["get_rate"]
    assert model.requests[0].tools[0]["function"]["parameters"]["required"] == ["date"]
    assert "2.5% on x" in model.last.messages[-1]["content"]


def test_a_tool_of_a_local_mcp_server_can_ask_first(loop: Loop, model: Script) -> None:
    model.call("forget_rates", {})
    model.say("Gone.")

    async def scenario(run: Any) -> Any:
        async with local_mcp() as client, RunContext(model=model.name) as context:
            await context.register_mcp_client(client, {"requires_confirmation": ["forget_rates"]})
            with pytest.raises(DeferredToolCallsException) as caught:
                await run(context, "Forget them.")
            (call,) = caught.value.deferred_calls
            return await run(context, [call.confirm()])

    assert loop.go(scenario).output_as_text == "Gone."
    assert "forgotten" in model.last.messages[-1]["content"]


@pytest.mark.requirement("C-311")
@pytest.mark.parametrize("status", [429, 503])
def test_a_retry_config_recovers_what_passes(loop: Loop, model: Script, status: int) -> None:
    """The upstream says "later" once: without a config that is an error, with one it is a second request."""
    retries = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 10, 1.0, 10_000), retry_connection_errors=False)
    for _ in range(2):
        model.fail(status, headers={"Retry-After": "0"})
    model.say("Here I am.")
    if loop.streams:
        # Its stream has begun when the upstream is asked: what fails then is an event, which nothing sends again.
        for _ in range(2):
            loop.run(RunContext(model=model.name), "Hello?", retries=retries)
            assert loop.events[-2].event == "conversation.response.error"
            assert loop.events[-2].data.code == status
        assert len(model.requests) == 2
        return
    with pytest.raises(errors.SDKError) as caught:
        loop.run(RunContext(model=model.name), "Hello?")
    assert caught.value.status_code == status
    assert len(model.requests) == 1
    assert loop.run(RunContext(model=model.name), "Hello?", retries=retries).output_as_text == "Here I am."
    assert len(model.requests) == 3


@pytest.mark.requirement("C-312")
def test_the_clients_patience_is_told_of() -> None:
    page = " ".join((ROOT / "docs" / "run.md").read_text("utf-8").split())
    assert "`mistralai` 2.4.1 gives up after 30 seconds" in page
    assert "`timeout_ms`" in page


@pytest.mark.requirement("C-312")
def test_a_stream_outlives_the_clients_patience(serve: Callable[..., str], model: Script, meanwhile: Any) -> None:
    """A silent model is no silent stream; comments keep it alive for many times as long as the client would wait."""
    patience, beat = 0.4, 0.1
    url = serve(keep_alive_seconds=beat)
    gate = model.gate()
    model.reply(gate, Text("At last."))
    running = meanwhile(
        Loop(url, streams=True).run, RunContext(model=model.name), "Hello?", timeout_ms=int(patience * 1000)
    )
    gate.wait_reached()
    raw = Raw(url)
    (conversation,) = [one["id"] for one in raw.get("/v1/conversations").json]
    (run,) = raw.get(f"/v1/conversations/{conversation}/runs").json["data"]
    with raw.follow(f"/v1/conversations/{conversation}/runs/{run['id']}/events") as stream:
        silence = 0.0
        while silence < 2 * patience:
            frame = stream.frame()
            assert frame is not None
            silence += beat * len(frame.comments)
    gate.open()
    assert running.result(PATIENCE).output_as_text == "At last."
