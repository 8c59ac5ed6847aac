"""Runs that stop before a call, or by an error, and go on elsewhere: nothing is lost and nothing is done twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from causerie.client import errors, models
from causerie.client.run import Answer, Defer, Deny, Function
from causerie.client.run.result import open_calls
from tests.support.scripted import Script

from .canned import canned
from .conftest import Side
from .runner import RATE, TIME, Runner, answer, told

Connect = Callable[..., Side]


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def runner(request: pytest.FixtureRequest, connect: Connect, url: str, model: Script) -> Runner:
    """A client that runs functions, in each of its four ways."""
    return Runner(connect(url), model.name, streams=request.param)


class Approver:
    """Says what it was told to say, in a sync or an async way; keeps who was asked about what, and in which thread."""

    def __init__(self, says: Sequence[Any], *, soon: bool = False) -> None:
        self.says, self.soon = list(says), soon
        self.asked: list[tuple[str, Any]] = []
        self.threads = set[str]()

    def __call__(self, call: models.FunctionCallEntry) -> Any:
        self.asked.append((call.name, call.arguments))
        self.threads.add(threading.current_thread().name)
        said = self.says.pop(0)
        return self._later(said) if self.soon else said

    async def _later(self, said: Any) -> Any:
        return said


@pytest.mark.parametrize("soon", [False, True])
@pytest.mark.parametrize(("word", "text"), [
    (True, "2.5% on x"), (False, "The user does not allow this call."), (Deny("Not on Sundays."), "Not on Sundays."),
    (Answer("3%"), "3%"), (Answer({"rate": 3}), '{"rate":3}'),
])  # fmt: skip
def test_somebody_decides_about_a_call(runner: Runner, model: Script, word: Any, text: str, soon: bool) -> None:
    approve = Approver([word, True], soon=soon)
    model.calls(RATE, TIME)
    result = runner.run("Which rate?", approve=approve)
    assert approve.asked == [("get_rate", '{"date": "x"}'), ("get_time", '{"zone": "UTC"}')]
    assert told(model) == [text, '{"zone":"UTC"}']
    assert sorted(runner.called) == (["UTC", "x"] if word is True else ["UTC"])
    assert result.waiting == []
    if runner.side._portal is None:
        assert approve.threads == {threading.current_thread().name}, "who asks a person asks where the person is"


def test_a_function_has_an_approver_of_its_own_or_needs_none(runner: Runner, model: Script) -> None:
    own, general = Approver([Deny("No.")]), Approver([True])

    def look() -> str:
        return "seen"

    functions = [Function(runner.get_rate, approve=own), Function(look, approve=False), runner.get_time]
    model.calls(RATE, ("look", {}), TIME)
    runner.run("Look.", functions=functions, approve=general)
    assert told(model) == ["No.", "seen", '{"zone":"UTC"}']
    assert (own.asked, general.asked) == ([("get_rate", '{"date": "x"}')], [("get_time", '{"zone": "UTC"}')])


@pytest.mark.parametrize("how", ["approve=True", "Defer"])
@pytest.mark.parametrize("form", ["object", "json"])
def test_a_run_stops_and_goes_on_elsewhere(
    runner: Runner, connect: Connect, url: str, model: Script, how: str, form: str
) -> None:
    """What may be made is made at once and only once; the rest waits, across JSON, for another client."""
    by_itself = how == "approve=True"
    functions = [Function(runner.get_rate, approve=True if by_itself else Approver([Defer()])), runner.get_time]
    model.calls(RATE, TIME)
    stopped = runner.run("Which rate?", functions=functions)
    assert (runner.called, len(model.requests), stopped.text) == (["UTC"], 1, "")
    (call,) = stopped.waiting
    assert (call.name, call.arguments) == ("get_rate", '{"date": "x"}')

    other = Runner(connect(url), model.name, streams=runner.streams)
    state: Any = json.loads(json.dumps(stopped.to_dict())) if form == "json" else stopped
    again = other.run(resume=state, functions=[Function(other.get_rate, approve=True), other.get_time])
    assert (len(again.waiting), len(model.requests)) == (1, 1), "nobody has said anything yet"
    ended = other.run(resume=again.to_dict(), decisions={call.tool_call_id: True})

    assert other.called == ["x"]
    assert ended.text == "Answer 2"
    assert sorted(told(model)) == ["2.5% on x", '{"zone":"UTC"}']
    assert (ended.turns, ended.usage.total_tokens) == (2, 38)
    assert [one.type for one in ended.entries] == [*["function.call"] * 2, *["function.result"] * 2, "message.output"]


def test_open_calls_are_found_in_the_history(runner: Runner, connect: Connect, url: str, model: Script) -> None:
    """All that another process needs is the conversation's id; ids of earlier calls may have come again."""
    model.calls(RATE)
    first = runner.run("Which rate?")
    model.calls(RATE, TIME)
    stopped = runner.run("Again.", conversation_id=first.conversation_id, approve=Approver([Defer(), Defer()]))
    assert len(stopped.waiting) == 2

    other = Runner(connect(url), model.name, streams=runner.streams)
    decisions = {stopped.waiting[0].tool_call_id: Deny("Enough.")}
    result = other.run(conversation_id=first.conversation_id, decisions=decisions)
    assert other.called == ["UTC"]
    assert result.text == "Answer 4"
    assert told(model) == ["2.5% on x", "Enough.", '{"zone":"UTC"}']


def test_an_id_may_come_again() -> None:
    """A call is open if no result comes behind it, whatever came of an earlier one of that id."""
    call = models.FunctionCallEntry(tool_call_id="a", name="f", arguments="{}")
    done = models.FunctionResultEntry(tool_call_id="a", result="")
    said = models.FunctionCallEntry(tool_call_id="b", name="f", arguments="{}", confirmation_status="allowed")
    assert open_calls([call, done, call]) == open_calls([call]) == [call]
    assert open_calls([call, done]) == open_calls([call, done, call, done]) == open_calls([said]) == []


def test_a_conversation_without_open_calls_has_nothing_to_go_on_with(runner: Runner, model: Script) -> None:
    first = runner.run("Hello.")
    for ended in ({"conversation_id": first.conversation_id}, {"resume": first}):
        with pytest.raises(errors.RunStopped, match="No call is open"):
            runner.run(**ended)
    assert len(model.requests) == 1


@pytest.mark.parametrize("goes_on", [False, True])
def test_what_was_said_and_not_answered_is_said_again(runner: Runner, model: Script, goes_on: bool) -> None:
    where: dict[str, Any] = {}
    if goes_on:
        where = {"conversation_id": runner.run("Hello.").conversation_id}
    model.fail(500, "it broke")
    said = iter([{"role": "user", "content": "Which rate?"}])
    with pytest.raises(errors.UpstreamError) as caught:
        runner.run(said, **where)
    stopped = json.loads(json.dumps(caught.value.run.to_dict()))

    model.calls(RATE)
    ended = runner.run(resume=stopped, **({} if stopped["conversation_id"] else {"model": model.name}))
    assert (ended.inputs, runner.called) == (None, ["x"])
    assert [one.content for one in runner.history(ended) if one.type == "message.input"][-1] == "Which rate?"
    assert [one["content"] for one in model.last.messages if one["role"] == "user"].count("Which rate?") == 1


def test_a_run_has_so_many_turns_and_then_loses_nothing(runner: Runner, model: Script) -> None:
    for _ in range(3):
        model.calls(RATE)
    with pytest.raises(errors.TooManyTurns, match="asked 2 times") as caught:
        runner.run("Which rate?", max_turns=2)
    stopped = caught.value.run
    assert (runner.called, stopped.turns, stopped.waiting) == (["x", "x"], 2, [])

    ended = runner.run(resume=stopped.to_dict())
    assert (runner.called, ended.turns, ended.text) == (["x", "x", "x"], 4, "Answer 4")


@pytest.mark.parametrize(("status", "kind"), [(500, errors.UpstreamError), (429, errors.RateLimited)])
def test_what_functions_did_outlives_an_error_of_the_server(
    runner: Runner, model: Script, status: int, kind: type[errors.APIError]
) -> None:
    model.calls(RATE)
    model.fail(status, "it broke")
    with pytest.raises(kind, match="it broke") as caught:
        runner.run("Which rate?")
    ended = runner.run(resume=caught.value.run.to_dict())
    assert (runner.called, ended.text) == (["x"], "Answer 3")
    assert told(model) == ["2.5% on x"]


PENDING = {
    "type": "function.call", "tool_call_id": "callAAAA1", "name": "send_mail", "arguments": "{}",
    "confirmation_status": "pending",
}  # fmt: skip


@pytest.mark.parametrize(("word", "sent"), [(True, "allow"), (False, "deny"), (Deny("No."), "deny")])
@pytest.mark.parametrize("asked", ["at once", "later"])
def test_calls_of_the_servers_tools_are_confirmed(connect: Connect, word: Any, sent: str, asked: str) -> None:
    """A call that the server makes waits for a word, beside one that is made here."""
    local = {"type": "function.call", "tool_call_id": "callAAAA2", "name": "get_rate", "arguments": '{"date": "x"}'}
    with canned(answer(PENDING, local), answer({"type": "message.output", "content": "Done."})) as server:
        runner = Runner(connect(server.url), "some-model")
        if asked == "at once":
            result = runner.run("Send it.", approve=lambda call: word if call.name == "send_mail" else True)
        else:
            stopped = runner.run("Send it.")
            assert [one.name for one in stopped.waiting] == ["send_mail"]
            result = runner.run(resume=stopped.to_dict(), decisions={"callAAAA1": word})
    assert result.text == "Done."
    assert runner.called == ["x"]
    body = server.asked[-1].json
    assert body["tool_confirmations"] == [{"tool_call_id": "callAAAA1", "confirmation": sent}]
    assert [(one["tool_call_id"], one["result"]) for one in body["inputs"]] == [("callAAAA2", "2.5% on x")]
    assert (result.usage.connector_tokens, result.usage.connectors) == (6, {"web_search": 2})


def test_a_call_of_the_servers_cannot_be_answered_here(connect: Connect) -> None:
    with canned(answer(PENDING)) as server, pytest.raises(TypeError, match="allow or deny it"):
        Runner(connect(server.url), "some-model").run("Send it.", approve=lambda _: Answer("sent"))


@pytest.mark.parametrize("said", [None, "yes", 1])
def test_a_decision_that_is_none_is_refused(runner: Runner, model: Script, said: Any) -> None:
    model.calls(RATE)
    with pytest.raises(TypeError, match="A decision is True, False, Deny, Answer or Defer, not"):
        runner.run("Which rate?", approve=lambda _: said)
    assert runner.called == []


def test_a_call_of_a_function_that_was_not_given_cannot_be_allowed(runner: Runner, model: Script) -> None:
    model.calls(RATE)
    stopped = runner.run("Which rate?", approve=Approver([Defer()]))
    with pytest.raises(TypeError, match="no function 'get_rate' was given"):
        runner.run(resume=stopped, functions=[], decisions={stopped.waiting[0].tool_call_id: True})
