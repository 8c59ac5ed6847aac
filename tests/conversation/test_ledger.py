"""A tool of the server's takes effect once: what was settled is never made again, what is unknown is told (D5)."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest

from causerie.tools.base import ToolContext, ToolResult
from tests.support.raw import Answer, Raw
from tests.support.replies import PATIENCE
from tests.support.samples import GET_RATE, check_calls
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK
from tests.support.stage import serving
from tests.support.toolset import HeldToolset

TOOLS = [{"type": "web_search"}, {"type": "code_interpreter"}, GET_RATE]


@dataclass
class Acting(HeldToolset):
    """A tool whose calls are counted by query. "break": a defect, "long": too much, "fail": fails, "stuck": hangs."""

    came: dict[str, threading.Event] = field(default_factory=lambda: defaultdict(threading.Event))

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Do what the query says."""
        query = json.loads(arguments).get("query")
        self.came[f"{context.conversation_id} {query}"].set()
        result = await super().call(name, arguments, context)
        if query == "break":
            raise RuntimeError("a secret of the toolset")
        if query == "fail":
            return ToolResult(error="no such page")
        return ToolResult(output="x" * 65) if query == "long" else result

    def made(self, conversation: str) -> list[str]:
        """Return the queries of a conversation's calls."""
        return [
            json.loads(given).get("query") for _, given, where in self.calls if where.conversation_id == conversation
        ]


@dataclass
class Stage:
    """A server with a tool that acts (``web_search``) and one that does no harm twice (``code_interpreter``)."""

    url: str
    acting: Acting
    harmless: Acting


@pytest.fixture(scope="module")
def stages(model_server: ScriptedServer) -> Iterator[dict[str, Stage]]:
    """Run a server with time, and one without, each once: stopping one costs more than a test."""
    with ExitStack() as stack:
        found = {}
        for name, settings in {
            "": {}, "run": {"run_seconds": 0.4}, "tool": {"tool_seconds": 0.3}, "bytes": {"max_tool_output_bytes": 64},
        }.items():  # fmt: skip
            acting, harmless = Acting("search"), Acting("compute", repeatable=True)
            toolsets = {"web_search": acting, "code_interpreter": harmless}
            url = stack.enter_context(serving(upstream=model_server.url, toolsets=toolsets, **settings))
            found[name] = Stage(url, acting, harmless)
        yield found


class Talk:
    """A conversation with tools, on one of the stages."""

    def __init__(self, stage: Stage, model: Script) -> None:
        """Start it."""
        self.stage, self.model, self.raw = stage, model, Raw(stage.url)
        made = self.raw.post("/v1/conversations", {"inputs": "One", "model": model.name, "tools": TOOLS}).json
        self.id = made["conversation_id"]
        self.path = f"/v1/conversations/{self.id}"

    def append(self, **more: Any) -> Answer:
        """Run the next turn."""
        return self.raw.post(self.path, {"inputs": "Two", **more})

    def told(self, request: int = -1) -> list[str]:
        """Return the results that the model was told."""
        return check_calls(self.model.requests[request].messages)

    @property
    def acted(self) -> list[str]:
        """The queries of all calls that were made."""
        return self.stage.acting.made(self.id)


@pytest.fixture
def talk(stages: dict[str, Stage], model: Script) -> Talk:
    """A conversation on the stage without bounds."""
    return Talk(stages[""], model)


def search(query: str, tool: str = "search") -> tuple[str, dict[str, str]]:
    """Return a call."""
    return tool, {"query": query}


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_a_run_that_failed_is_not_made_again(talk: Talk, model: Script, stream: bool) -> None:
    """The refund was made; the run that asked for it failed afterwards; the retry must not make another."""
    model.calls(search("refund"))
    model.fail(500, "it broke")
    failed = talk.append(stream=stream)
    assert failed.status == (200 if stream else 502)
    assert talk.acted == ["refund"]
    first = talk.told()
    model.calls(search("refund"))
    model.say("It was refunded.")
    answer = talk.append()

    assert talk.acted == ["refund"]
    assert talk.told() == first == [f"Result {len(talk.stage.acting.calls)}"]
    assert [entry["type"] for entry in answer.json["outputs"]] == ["tool.execution", "message.output"]
    assert answer.json["usage"]["connectors"] == {"web_search": 1}


def test_what_is_asked_for_in_another_way_is_another_call(talk: Talk, model: Script) -> None:
    model.calls(search("refund"))
    model.fail(500)
    talk.append()
    model.calls(search("refund 2"), search("refund", "compute"))
    talk.append()
    assert talk.acted == ["refund", "refund 2"]
    assert talk.stage.harmless.made(talk.id) == ["refund"]


def test_a_retry_that_asks_for_more_makes_only_what_is_new(talk: Talk, model: Script) -> None:
    model.calls(search("a"), search("b"))
    model.fail(500)
    talk.append()
    first = talk.told()
    model.calls(search("c"), search("b"), search("a"))
    talk.append()
    assert talk.acted == ["a", "b", "c"]
    assert talk.told()[1:] == first[::-1]


def test_once_the_head_has_moved_the_same_call_is_a_new_one(talk: Talk, model: Script) -> None:
    for _ in range(2):
        model.calls(search("refund"))
        model.say("Done.")
        assert talk.append().status == 200
    assert talk.acted == ["refund", "refund"]


def test_a_cancelled_run_moves_the_head_too(talk: Talk, model: Script, meanwhile: Any) -> None:
    with model.gate() as gate:
        model.calls(search("refund"))
        model.say("Done.", before=gate)
        asked: Future[Answer] = meanwhile(talk.append)
        gate.wait_reached()
        talk.raw.post(f"{talk.path}/cancel", None)
        asked.result(PATIENCE)
    model.calls(search("refund"))
    talk.append()
    assert talk.acted == ["refund", "refund"]
    assert len(talk.told()) == 2, "the model knows of the first"


def test_the_same_call_twice_in_a_run_is_made_twice(talk: Talk, model: Script) -> None:
    model.calls(search("a"), search("a"))
    model.calls(search("a"))
    model.fail(500)
    talk.append()
    assert talk.acted == ["a", "a", "a"]
    first = talk.told()
    assert len(set(first)) == 3
    model.calls(search("a"))
    model.calls(search("a"), search("a"))
    model.calls(search("a"))
    talk.append()
    assert talk.acted == ["a"] * 4, "the fourth is the first that is new"
    assert talk.told()[:3] == first


def test_branches_and_other_conversations_have_ledgers_of_their_own(talk: Talk, model: Script) -> None:
    entry = talk.raw.get(f"{talk.path}/history").json["entries"][-1]["id"]
    model.calls(search("refund"))
    model.fail(500)
    talk.append()
    model.calls(search("refund"))
    model.say("Done.")
    branch = talk.raw.post(f"{talk.path}/restart", {"inputs": "Two", "from_entry_id": entry})
    assert talk.stage.acting.made(branch.json["conversation_id"]) == ["refund"]
    other = Talk(talk.stage, model)
    model.calls(search("refund"))
    model.say("Done.")
    other.append()
    assert other.acted == talk.acted == ["refund"]


@pytest.mark.parametrize("tool", ["search", "compute"])
def test_a_call_that_was_interrupted_is_told_as_unknown_unless_it_can_be_repeated(
    stages: dict[str, Stage], model: Script, tool: str
) -> None:
    talk = Talk(stages["run"], model)
    toolset = talk.stage.acting if tool == "search" else talk.stage.harmless
    model.calls(search("stuck", tool))
    assert talk.append().status == 504
    assert toolset.stopped.wait(PATIENCE)
    model.calls(search("stuck", tool))
    model.say("Well.")
    again = talk.append()

    if tool == "search":
        assert toolset.made(talk.id) == ["stuck"]
        (told,) = talk.told()
        assert "unknown" in told
        assert "not made again" in told
        assert [entry["type"] for entry in again.json["outputs"]] == ["tool.execution", "message.output"]
    else:
        assert toolset.made(talk.id) == ["stuck", "stuck"]
        assert again.status == 504


def test_a_defect_of_a_tool_leaves_its_outcome_unknown(talk: Talk, model: Script) -> None:
    model.calls(search("break"))
    assert talk.append().status == 500
    model.calls(search("break"))
    model.say("Well.")
    assert talk.append().status == 200
    assert talk.acted == ["break"]
    (told,) = talk.told()
    assert "unknown" in told
    assert "secret" not in told


def test_a_tool_that_fails_tells_the_model_and_its_failure_is_its_result(talk: Talk, model: Script) -> None:
    model.calls(search("fail"))
    model.fail(500)
    talk.append()
    model.calls(search("fail"))
    model.say("Well.")
    assert talk.append().status == 200
    assert talk.acted == ["fail"]
    assert talk.told(2) == talk.told(4) == ["Error: no such page"]


@pytest.mark.parametrize("tool", ["search", "compute"])
def test_a_call_that_takes_too_long_is_stopped_and_the_run_goes_on(
    stages: dict[str, Stage], model: Script, tool: str
) -> None:
    talk = Talk(stages["tool"], model)
    toolset = talk.stage.acting if tool == "search" else talk.stage.harmless
    toolset.stopped.clear()
    model.calls(search("stuck", tool), search("x", tool))
    model.say("Well.")
    answer = talk.append()

    assert answer.status == 200
    assert toolset.stopped.is_set()
    late, quick = talk.told()
    assert "0.3 seconds" in late
    assert "tool_seconds" in late
    assert quick.startswith("Result ")
    assert [entry["type"] for entry in answer.json["outputs"]] == ["tool.execution"] * 2 + ["message.output"]


def test_a_result_that_is_too_long_ends_the_run_and_stays_made(stages: dict[str, Stage], model: Script) -> None:
    talk = Talk(stages["bytes"], model)
    for _ in range(2):
        model.calls(search("long"))
        answer = talk.append()
        assert answer.status == 400
        assert "max_tool_output_bytes" in answer.json["message"]
    assert talk.acted == ["long"]
    assert len(talk.raw.get(f"{talk.path}/history").json["entries"]) == 2


def test_calls_of_one_turn_are_made_together_and_told_in_order(talk: Talk, model: Script, meanwhile: Any) -> None:
    """The first cannot end before the others have been made."""
    acting = talk.stage.acting
    acting.reached.clear()
    model.calls(search("stuck"), search("a"), search("b"))
    asked: Future[Answer] = meanwhile(talk.append, stream=True)
    assert acting.reached.wait(PATIENCE)
    with talk.raw.follow(
        f"{talk.path}/runs/{talk.raw.get(f'{talk.path}/runs').json['data'][0]['id']}/events"
    ) as stream:
        kinds = [stream.frame() for _ in range(3)]
        assert [frame.event for frame in kinds] == [
            "conversation.response.started", "tool.execution.started", "tool.execution.delta",
        ]  # fmt: skip
    for query in "ab":
        assert acting.came[f"{talk.id} {query}"].wait(PATIENCE)
    talk.raw.get("/health")  # comes back when the results that were on their way to the store are there
    talk.raw.post(f"{talk.path}/cancel", None)
    assert asked.result(PATIENCE).status == 200
    assert sorted(talk.acted) == ["a", "b", "stuck"]
    entries = talk.raw.get(f"{talk.path}/history").json["entries"][3:]
    assert [json.loads(entry["arguments"])["query"] for entry in entries] == ["stuck", "a", "b"]
    talk.append()
    unknown, *known = talk.told()
    assert "unknown" in unknown
    assert [told.partition(" ")[0] for told in known] == ["Result", "Result"], "what took effect is told"


def test_with_store_false_nothing_is_recorded(talk: Talk, model: Script) -> None:
    for _ in range(2):
        model.calls(search("refund"))
        model.fail(500)
        assert talk.append(store=False).status == 502
    model.calls(search("refund"))
    model.fail(500)
    talk.append()
    model.calls(search("refund"))
    assert talk.append(store=False).status == 200
    assert talk.acted == ["refund"] * 4
    model.calls(search("refund"))
    assert talk.append().status == 200
    assert talk.acted == ["refund"] * 4, "the one that was recorded still holds"


def test_a_tool_is_told_where_its_call_comes_from(talk: Talk, model: Script) -> None:
    model.calls(search("a"), search("b"))
    started, *events = talk.append(stream=True).events
    (_, _, one), (_, _, other) = talk.stage.acting.calls[-2:]
    assert {(where.workspace, where.conversation_id, where.run_id) for where in (one, other)} == {
        ("local", talk.id, started["run_id"])
    }
    assert (one.tool_call_id, other.tool_call_id) == ("callAAAA1", "callAAAA2")
    assert len(events) == 3 * 2 + 1 + 1


def test_the_sdks_retry_does_not_make_a_call_again(stages: dict[str, Stage], connect: Any, model: Script) -> None:
    sdk: SDK = connect(stages[""].url)
    made = sdk.start(inputs="One", tools=TOOLS).conversation_id
    model.calls(search("refund"))
    model.fail(503, "loading")
    with sdk.refuses(503):
        sdk.append(conversation_id=made, inputs="Two")
    model.calls(search("refund"))
    model.say("It was refunded.")
    response = sdk.append(conversation_id=made, inputs="Two")
    assert [output.type for output in response.outputs] == ["tool.execution", "message.output"]
    assert stages[""].acting.made(made) == ["refund"]
