"""Runs of the caller's functions: over a real server with a scripted model, through the sync and the async methods."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pytest

from causerie.client import Mistral, errors, models, utils
from causerie.client.run import Function, RunResult
from causerie.client.run.loop import Plan
from causerie.client.runs import Options
from tests.support.replies import PATIENCE, Text
from tests.support.scripted import Script

from .canned import canned
from .canned import stream as canned_stream
from .conftest import Side
from .runner import RATE, TIME, Runner, answer, told

Connect = Callable[..., Side]


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def runner(request: pytest.FixtureRequest, connect: Connect, url: str, model: Script) -> Runner:
    """A client that runs functions, in each of its four ways."""
    return Runner(connect(url), model.name, streams=request.param)


def fixed() -> str:
    """Say what is always so."""
    return "so"


def test_functions_are_called_until_the_model_answers(runner: Runner, model: Script) -> None:
    model.calls(RATE, TIME)
    model.call("get_time", {"zone": "ü"})
    model.say("It is ", "2.5%.")
    other = {"type": "function", "function": {"name": "other", "parameters": {}}}
    result = runner.run("Which rate?", instructions="Be brief.", tools=[other])

    assert result.text == "It is 2.5%."
    assert sorted(runner.called) == ["UTC", "x", "ü"]
    assert [one.type for one in result.entries] == [*["function.call"] * 2, *["function.result"] * 2, "function.call",
                                                    "function.result", "message.output"]  # fmt: skip
    assert (result.turns, result.usage.total_tokens, result.output) == (3, 3 * 19, None)
    assert [one.type for one in runner.history(result)] == ["message.input", *(one.type for one in result.entries)]
    assert told(model) == ["2.5% on x", '{"zone":"UTC"}', '{"zone":"ü"}']
    assert {request.messages[0]["content"] for request in model.requests} == {"Be brief."}
    assert sorted(tool["function"]["name"] for tool in model.last.tools) == ["get_rate", "get_time", "other"]
    described = {tool["function"]["name"]: tool["function"] for tool in model.last.tools}["get_time"]
    assert described["description"] == "The time."
    assert described["parameters"]["properties"] == {"zone": {"type": "string", "description": "where."}}


def test_a_stream_has_the_events_of_all_turns(connect: Connect, url: str, model: Script) -> None:
    runner = Runner(connect(url), model.name, streams=True)
    model.calls(RATE, TIME)
    model.say("It is ", "2.5%.")
    result = runner.run("Which rate?")
    assert [event.event for event in runner.events] == [
        "conversation.response.started", *["function.call.delta"] * 4, "conversation.response.done",
        "function.result", "function.result", "conversation.response.started", *["message.output.delta"] * 2,
        "conversation.response.done",
    ]  # fmt: skip
    assert [one.data.result for one in runner.events[6:8]] == ["2.5% on x", '{"zone":"UTC"}']
    stored = runner.history(result)[1:]
    assert [(one.type, getattr(one, "id", "")) for one in result.entries if one.type != "function.result"] == [
        (one.type, one.id) for one in stored if one.type != "function.result"
    ]


def test_who_hangs_up_calls_nothing_more(connect: Connect, url: str, model: Script) -> None:
    runner = Runner(connect(url), model.name)
    model.calls(RATE)
    stream = runner.side.call("run_stream", inputs="Which rate?", functions=runner.functions, model=model.name)
    while runner.side.next(stream).event != "conversation.response.done":
        pass
    runner.side.hang_up(stream)
    assert runner.side.next(stream) is None
    assert runner.called == []
    assert runner.run(conversation_id=stream.result.conversation_id).text == "Answer 2"
    assert runner.called == ["x"]


class Sum(msgspec.Struct):
    """A sum."""

    sum: int


@dataclass
class Total:
    """A sum."""

    sum: int


class Amount(TypedDict):
    """A sum."""

    sum: int


@pytest.mark.parametrize(("kind", "value"), [(Sum, Sum(7)), (Total, Total(7)), (Amount, {"sum": 7})])
@pytest.mark.parametrize("args", [None, {"temperature": 0.5}, models.CompletionArgs(temperature=0.5)])
def test_an_answer_comes_as_the_type_that_was_asked_for(
    runner: Runner, model: Script, kind: Any, value: Any, args: Any
) -> None:
    model.call("get_time", {"zone": "UTC"})
    model.say("Seven.")
    model.say('{"sum": 7}')
    result = runner.run("Add.", output=kind, **({} if args is None else {"completion_args": args}))

    assert (result.output, result.text) == (value, '{"sum": 7}')
    wanted = model.last.json["response_format"]["json_schema"]
    assert (wanted["name"], wanted["strict"], wanted["schema"]["additionalProperties"]) == (kind.__name__, True, False)
    assert model.last.json.get("temperature") == (None if args is None else 0.5)


def test_an_answer_of_another_type_is_an_error_that_has_it(runner: Runner, model: Script) -> None:
    model.say('{"sum": "seven"}')
    with pytest.raises(errors.WrongOutput, match=r"not a Sum: Expected `int`, got `str` - at `\$\.sum`") as caught:
        runner.run("Add.", output=Sum, functions=[])
    assert caught.value.run.text == '{"sum": "seven"}'
    assert caught.value.run.output is None


def test_a_later_run_goes_on_in_the_conversation(runner: Runner, model: Script) -> None:
    model.calls(RATE)
    first = runner.run("Which rate?")
    model.calls(TIME)
    second = runner.run("And the time?", conversation_id=first.conversation_id)
    assert (first.text, second.text) == ("Answer 2", "Answer 4")
    assert (second.turns, second.usage.total_tokens) == (2, 38)
    assert told(model) == ["2.5% on x", '{"zone":"UTC"}']


@pytest.mark.parametrize("args", [{"tool_choice": "required"}, models.CompletionArgs(tool_choice="any")])
def test_a_demand_for_a_call_is_met_by_the_first(runner: Runner, model: Script, args: Any) -> None:
    model.calls(RATE)
    assert runner.run("Which rate?", completion_args=args).text == "Answer 2"
    assert [request.json["tool_choice"] for request in model.requests] == ["required", "auto"]


@pytest.mark.parametrize("most", [1, 3])
def test_calls_are_made_together_but_not_too_many(runner: Runner, model: Script, most: int) -> None:
    """Three calls, sync and async, meet where they may; where one may be made at a time, no two ever do."""
    barrier, running, at_once = threading.Barrier(most), [0], [0]

    def meet() -> str:
        running[0] += 1
        at_once[0] = max(at_once[0], running[0])
        barrier.wait(PATIENCE)
        running[0] -= 1
        return "met"

    async def meet_async() -> str:
        return await asyncio.to_thread(meet)

    model.calls(("meet", {}), ("meet_async", {}), ("meet", {}))
    runner.run("Meet!", functions=[meet, meet_async], concurrency=most)
    assert at_once == [most]
    assert told(model) == ["met"] * 3


def test_functions_see_the_callers_context(runner: Runner, model: Script) -> None:
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

    def who() -> str:
        return user.get()

    async def who_async() -> str:
        return user.get()

    async def scenario() -> None:
        user.set("Ada")
        given: dict[str, Any] = {"inputs": "Who?", "model": model.name, "functions": [who, who_async]}
        conversations, portal = runner.side.mistral.beta.conversations, runner.side._portal
        # The sync side stands inside of a running loop here, as it does in a notebook.
        await conversations.run_async(**given) if portal else conversations.run(**given)

    model.calls(("who", {}), ("who_async", {}))
    runner.side._portal.call(scenario()) if runner.side._portal else asyncio.run(scenario())
    assert told(model) == ["Ada", "Ada"]


def test_an_exception_is_told_to_the_model(runner: Runner, model: Script) -> None:
    model.calls(("get_time", {"zone": "nowhere"}), ("get_time", {"area": "x"}), ("get_time", "{"), TIME)
    assert runner.run("What time is it?").text == "Answer 2"
    first, second, third, last = told(model)
    assert first == "Error: there is no such zone"
    assert second.startswith("Error: The arguments do not fit: Object ")
    assert third.startswith("Error: The arguments do not fit: ")
    assert last == '{"zone":"UTC"}'


@pytest.mark.parametrize("where", ["run", "function"])
def test_an_exception_can_end_the_run_which_is_gone_on_with(runner: Runner, model: Script, where: str) -> None:
    """What the other calls came to is not lost: they are not made again."""
    model.calls(("get_time", {"zone": "nowhere"}), RATE)
    functions = [runner.get_rate, Function(runner.get_time, on_error="raise" if where == "function" else None)]
    with pytest.raises(errors.FunctionFailed, match=r"get_time failed: there is no such zone") as caught:
        runner.run("When?", functions=functions, on_error="raise" if where == "run" else "tell")
    assert isinstance(caught.value.__cause__, LookupError)
    stopped = caught.value.run
    assert [one.name for one in stopped.waiting] == ["get_time"]

    result = runner.run(resume=stopped)
    assert runner.called == ["nowhere", "x", "nowhere"]
    assert result.text == "Answer 2"
    assert sorted(told(model)) == ["2.5% on x", "Error: there is no such zone"]


@pytest.mark.parametrize("where", ["run", "function"])
def test_a_function_that_takes_too_long_is_given_up(runner: Runner, model: Script, where: str) -> None:
    freed = threading.Event()

    def wait() -> bool:
        return freed.wait(PATIENCE)

    async def wait_async() -> None:
        await asyncio.Event().wait()

    def hurry() -> None:
        raise TimeoutError("in a hurry")

    limits: dict[str, Any] = {"timeout": 0.05} if where == "run" else {"timeout": None}
    own = None if where == "run" else 0.05
    model.calls(("wait", {}), ("wait_async", {}), ("hurry", {}))
    runner.run("Wait.", functions=[Function(wait, timeout=own), Function(wait_async, timeout=own), hurry], **limits)
    freed.set()
    assert told(model) == [*["Error: It was given up after 0.05 seconds."] * 2, "Error: in a hurry"]


def test_a_function_that_is_none_is_answered_too(runner: Runner, model: Script) -> None:
    model.calls(("get_wether", {}), RATE)
    assert runner.run("Which weather?").text == "Answer 2"
    assert told(model) == ["Error: there is no function 'get_wether'. There are: get_rate, get_time.", "2.5% on x"]


def test_results_are_sent_again_under_the_same_key(connect: Connect) -> None:
    """Whoever hangs up may have heard: the retry says that it is the same append."""
    call = {"type": "function.call", "tool_call_id": "callAAAA1", "name": "get_rate", "arguments": '{"date": "x"}'}
    retries = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 10, 1.0, 10_000), retry_connection_errors=True)
    with canned(answer(call), None, answer({"type": "message.output", "content": "2.5%"})) as server:
        runner = Runner(connect(server.url), "some-model")
        assert runner.run("Which rate?", retries=retries).text == "2.5%"
    assert runner.called == ["x"]
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert (keys[1], server.asked[1].body) == (keys[2], server.asked[2].body)
    assert keys[0] != keys[1]


def test_an_agent_has_its_own_functions(connect: Connect) -> None:
    call = {"type": "function.call", "tool_call_id": "callAAAA1", "name": "get_rate", "arguments": '{"date": "x"}'}
    with canned(answer(call), answer({"type": "message.output", "content": '{"sum": 7}'})) as server:
        runner = Runner(connect(server.url), "")
        result = runner.run("Which rate?", agent_id="ag_1", agent_version=3, output=Sum, handoff_execution="client")
    assert (result.output, runner.called) == (Sum(7), ["x"])
    start, append = (asked.json for asked in server.asked)
    assert start.keys() == {"agent_id", "agent_version", "inputs", "completion_args", "handoff_execution", "stream"}
    assert append.keys() >= {"completion_args", "handoff_execution"}
    assert append["handoff_execution"] == "client"


def test_what_a_newer_server_says_is_not_fatal(connect: Connect) -> None:
    events: list[dict[str, Any]] = [
        {"type": "conversation.response.started", "conversation_id": "conv_1", "created_at": "2026-01-01T00:00:00Z"},
        {"type": "something.new", "id": "x", "output_index": 0},
        {"type": "message.output.delta", "created_at": "2026-01-01T00:00:00Z", "output_index": 1, "id": "msg_1",
         "content_index": 0, "model": "m", "role": "assistant", "content": "Hello."},
        {"type": "conversation.response.done", "created_at": "2026-01-01T00:00:00Z",
         "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}},
    ]  # fmt: skip
    with canned(canned_stream(*((None, event) for event in events))) as server:
        runner = Runner(connect(server.url), "m", streams=True)
        result = runner.run("Hello?")
    assert [event.event for event in runner.events] == [event["type"] for event in events]
    assert result.text == "Hello."


def test_what_was_stored_by_a_newer_version_is_kept() -> None:
    entry = {"type": "something.new", "id": "x"}
    stored = RunResult[Any](conversation_id="conv_1", turns=1).to_dict() | {"entries": [entry]}
    assert RunResult.from_dict(stored).to_dict() == stored


def test_thoughts_and_files_are_not_text(connect: Connect) -> None:
    chunks = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Sev"},
              {"type": "text", "text": "en."}]  # fmt: skip
    said = [{"type": "message.output", "content": chunks}, {"type": "message.output", "content": "Or eight."}]
    with canned(answer(*said)) as server:
        assert Runner(connect(server.url), "m").run("Add.").text == "Seven.\nOr eight."


@pytest.mark.parametrize(("options", "what"), [
    ({}, "Give inputs"),
    ({"inputs": "x", "max_turns": 0}, "1 or more"), ({"inputs": "x", "concurrency": 0}, "1 or more"),
    ({"inputs": "x", "resume": RunResult()}, "brings its conversation"), ({"inputs": "x", "surprise": 1}, "surprise"),
    ({"inputs": "x", "streams": True}, "takes no streams"), ({"inputs": "x", "on_error": "pass"}, "not 'pass'"),
    ({"resume": {"turns": 1}}, "has no conversation_id, entries"), ({"resume": "{}"}, "JSON text"),
    ({"conversation_id": "conv_1", "resume": {}}, "brings its conversation"),
    ({"inputs": "x", "conversation_id": "conv_1", "model": "m", "tools": []}, "leave model, tools out"),
    ({"resume": RunResult(conversation_id="conv_1"), "name": None}, "leave name out"),
    ({"inputs": "x", "decisions": {"callAAAA1": True}}, "callAAAA1 do not"),
    ({"inputs": "x", "functions": [print]}, "cannot be passed"),
    ({"inputs": "x", "output": complex}, "complex has no JSON Schema: type"),
    ({"inputs": "x", "functions": [Function(fixed, name="a"), Function(fixed, name="a")]}, "same name"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_before_anything_is_sent(
    connect: Connect, options: dict[str, Any], what: str
) -> None:
    with canned() as server, pytest.raises(TypeError, match=what):
        connect(server.url).call("run", **options)
    assert server.asked == []


def test_everything_that_a_run_takes_is_declared_for_editors() -> None:
    taken = {one.name for one in dataclasses.fields(Plan)}
    assert set(Options.__annotations__) == taken - {"output", "streams"}


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let it mean what it means at a terminal: whoever runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_what_async_functions_do(server_url: str) -> None:
    cancelled = threading.Event()

    async def nap() -> None:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with Mistral(server_url=server_url) as mistral, pytest.raises(KeyboardInterrupt):
        mistral.beta.conversations.run(inputs="/call nap", model="rehearsal", functions=[nap])
    assert cancelled.wait(PATIENCE)


def test_a_held_answer_does_not_hold_the_loop(connect: Connect, url: str, model: Script) -> None:
    """Two async runs on one loop: one goes on while the other's model is silent."""
    gate = model.gate()
    model.reply(gate, Text("Late."))
    side = connect(url)
    if side._portal is None:
        return

    async def both() -> tuple[str, str]:
        conversations = side.mistral.beta.conversations
        late = asyncio.ensure_future(conversations.run_async(inputs="One.", model=model.name))
        await asyncio.to_thread(gate.wait_reached)
        early = await conversations.run_async(inputs="Two.", model=model.name)
        gate.open()
        return early.text, (await late).text

    assert side._portal.call(both()) == ("Answer 2", "Late.")
