"""Usage: what a run cost, summed over everything that it did."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from causerie.tools.base import ToolResult
from tests.support.raw import Raw
from tests.support.replies import CallPiece, Reasoning, Text
from tests.support.samples import GET_RATE, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

SEARCH = {"type": "web_search"}


@pytest.fixture(scope="module")
def searching(model_server: ScriptedServer) -> Iterator[tuple[str, ScriptedToolset]]:
    """Run a server that can search, once: stopping one costs more than a test."""
    toolset = ScriptedToolset()
    with serving(upstream=model_server.url, toolsets={"web_search": toolset}) as url:
        yield url, toolset


@pytest.fixture
def search(searching: tuple[str, ScriptedToolset], connect: Callable[[str], SDK]) -> tuple[SDK, ScriptedToolset]:
    """The SDK for that server, and what it searches with; no results are queued."""
    url, toolset = searching
    toolset.results.clear()
    return connect(url), toolset


def usage_of(sdk: SDK, streamed: bool, operation: str = "start", **arguments: object) -> dict[str, object]:
    """Run `operation` and return the usage that it reports."""
    if streamed:
        done = getattr(sdk, f"{operation}_stream")(**arguments)[-1]
        assert done.type == "conversation.response.done"
        return dict(as_json(done)["usage"])
    return dict(as_json(getattr(sdk, operation)(**arguments))["usage"])


@pytest.mark.requirement("C-201", "C-204")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("counts", [(16, 3), (1, 0), (0, 0), (2**40, 2**41)])
def test_the_total_is_the_sum_of_its_parts(sdk: SDK, model: Script, counts: tuple[int, int], streamed: bool) -> None:
    model.say("Seven.", usage=counts)
    usage = usage_of(sdk, streamed, inputs="What is 3+4?")

    prompt, completion = counts
    expected = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    assert {name: usage[name] for name in expected} == expected
    assert not usage.get("connector_tokens")
    assert not usage.get("connectors")


@pytest.mark.requirement("C-201", "C-203", "C-204")
@pytest.mark.parametrize("streamed", [False, True])
def test_all_model_calls_and_tools_of_a_run_count(
    search: tuple[SDK, ScriptedToolset], model: Script, streamed: bool
) -> None:
    sdk, toolset = search
    toolset.results[:] = [ToolResult(output="One", tokens=7), ToolResult(output="Two", tokens=20)]
    toolset.results.append(ToolResult(output="Three", tokens=100))
    model.call("web_search", {"query": "a"}, usage=(10, 1))
    model.calls(("web_search", {"query": "b"}), ("web_search", {"query": "c"}), usage=(30, 2))
    model.reply(Reasoning("Hm."), Text("Found."), usage=(200, 4))
    usage = usage_of(sdk, streamed, inputs="Search.", tools=[SEARCH])

    assert len(model.requests) == 3
    assert usage == {
        "prompt_tokens": 240,
        "completion_tokens": 7,
        "connector_tokens": 127,
        "total_tokens": 374,
        "connectors": {"web_search": 3},
    }


@pytest.mark.requirement("C-203", "C-204")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_run_that_ends_with_a_call_counts_too(
    search: tuple[SDK, ScriptedToolset], model: Script, streamed: bool
) -> None:
    sdk, toolset = search
    toolset.results[:] = [ToolResult(output="One", tokens=7)]
    model.call("web_search", {"query": "a"}, usage=(10, 1))
    model.call("get_rate", {"date": "x"}, call_id="callAAAA2", usage=(30, 2))
    usage = usage_of(sdk, streamed, inputs="Search.", tools=[SEARCH, GET_RATE])
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (40, 3, 50)


@pytest.mark.requirement("C-203")
def test_calls_of_both_kinds_made_together_count_once(search: tuple[SDK, ScriptedToolset], model: Script) -> None:
    sdk, toolset = search
    toolset.results[:] = [ToolResult(output="One", tokens=7)]
    model.reply(
        CallPiece(0, "callAAAA1", "web_search", "{}"), CallPiece(1, "callAAAA2", "get_rate", "{}"), usage=(10, 1)
    )
    response = sdk.start(inputs="Search, and call.", tools=[SEARCH, GET_RATE])

    assert [output.type for output in response.outputs] == ["tool.execution", "function.call"]
    assert as_json(response.usage)["total_tokens"] == 18
    model.say("Done.", usage=(40, 5))
    told = sdk.append(conversation_id=response.conversation_id, inputs=[result("callAAAA2", "2.5%")])
    assert as_json(told.usage)["total_tokens"] == 45


@pytest.mark.requirement("C-203")
@pytest.mark.parametrize("streamed", [False, True])
def test_each_run_counts_for_itself(sdk: SDK, model: Script, streamed: bool) -> None:
    model.say("One", usage=(10, 1))
    first = sdk.start(inputs="1")
    for prompt in (20, 30):
        model.say("Again", usage=(prompt, 2))
        usage = usage_of(sdk, streamed, "append", conversation_id=first.conversation_id, inputs="2")
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (prompt, 2, prompt + 2)
    model.say("Elsewhere", usage=(5, 5))
    branch = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[0].id, "inputs": "3"}
    assert usage_of(sdk, streamed, "restart", **branch)["total_tokens"] == 10


@pytest.mark.requirement("C-204")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_server_that_does_not_count_costs_nothing(sdk: SDK, model: Script, streamed: bool) -> None:
    model.say("Seven.", usage=None)
    usage = usage_of(sdk, streamed, inputs="What is 3+4?")
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (0, 0, 0)


@pytest.mark.requirement("C-204")
def test_a_stream_asks_for_its_usage(raw: Raw, model: Script) -> None:
    start = {"inputs": "What is 3+4?", "model": model.name}
    plain = raw.post("/v1/conversations", start).json["usage"]
    done = raw.post("/v1/conversations", start | {"stream": True}).events[-1]

    assert done["usage"] == plain == {"prompt_tokens": 16, "completion_tokens": 3, "total_tokens": 19}
    assert [request.json.get("stream_options") for request in model.requests] == [None, {"include_usage": True}]
