"""A run can be ended at any time: the model is told, what is whole is kept, and the conversation is free (D12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.library import OFFICIAL
from tests.support.raw import Answer, Raw
from tests.support.reading import CANCELLED, DONE, STARTED, Reading
from tests.support.replies import PATIENCE, CallPiece, Gate, Reasoning, Step, Text
from tests.support.samples import GET_RATE, GET_TIME, check_calls, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.stage import serving
from tests.support.toolset import HeldToolset

TOOLS = [{"type": "web_search"}, {"type": "code_interpreter"}, GET_RATE, GET_TIME]
WHEN: dict[str, tuple[Callable[[Script, Gate], None], str]] = {
    "before the headers": (lambda model, gate: model.say("Seven.", before=gate), ""),
    "before the first token": (lambda model, gate: model.reply(gate, Text("Seven.")), ""),
    "in the middle": (lambda model, gate: model.reply(Text("Sev"), gate, Text("en.")), "Sev"),
    "after the last token": (lambda model, gate: model.reply(Text("Sev"), Text("en."), gate), "Seven."),
}
"""Where the model is when its run is cancelled, and what it has said by then."""


@pytest.fixture(scope="module")
def toolsets() -> dict[str, HeldToolset]:
    """The tools of the server below: one that acts, and one that does no harm when it is called again."""
    return {"web_search": HeldToolset("act"), "code_interpreter": HeldToolset("look", repeatable=True)}


@pytest.fixture(scope="module")
def url(model_server: ScriptedServer, toolsets: dict[str, HeldToolset]) -> Iterator[str]:
    """Run a server whose tools get stuck when they are told to, once: stopping one costs more than a test."""
    with serving(upstream=model_server.url, toolsets=toolsets) as url:
        yield url


class Talk:
    """A conversation of one turn, to be run and cancelled."""

    def __init__(self, raw: Raw, model: Script) -> None:
        """Start it."""
        self.raw, self.model = raw, model
        made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name, "tools": TOOLS}).json
        self.path = f"/v1/conversations/{made['conversation_id']}"

    def append(self, *, stream: bool = True, **more: Any) -> Answer:
        """Run the next turn."""
        return self.raw.post(self.path, {"inputs": "Two", "stream": stream, **more})

    def cancel(self) -> list[dict[str, Any]]:
        """Cancel whatever runs; return the runs that were ended."""
        answer = self.raw.post(f"{self.path}/cancel", None)
        assert answer.status == 200, answer.body
        assert answer.json["object"] == "list"
        runs: list[dict[str, Any]] = answer.json["data"]
        return runs

    def hear(self, text: str) -> None:
        """Wait until the run has told `text`: that the model has sent it does not say that it has come."""
        run = self.raw.get(f"{self.path}/runs").json["data"][0]["id"]
        seen = Reading()
        with self.raw.follow(f"{self.path}/runs/{run}/events") as events:
            while text and text not in [one["text"] for one in seen.said]:
                seen.take([events.frame()])

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What history shows behind the first turn and the input of the second."""
        entries: list[dict[str, Any]] = self.raw.get(f"{self.path}/history").json["entries"]
        assert [entry["content"] for entry in entries[:3]] == ["One", "Answer 1", "Two"]
        return entries[3:]

    def goes_on(self) -> list[dict[str, Any]]:
        """See that the conversation is free; return the messages that its next turn asks with."""
        answer = self.raw.post(self.path, {"inputs": "Three"})
        assert answer.status == 200, answer.body
        check_calls(self.model.last.messages)
        return self.model.last.messages


@pytest.fixture
def talk(url: str, model: Script) -> Talk:
    """A conversation that waits for its second turn."""
    return Talk(Raw(url), model)


def gone(model: Script) -> bool:
    """Whether the model server saw its client hang up."""
    return model.last.abandoned.wait(PATIENCE)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("held", "text"), WHEN.values(), ids=WHEN)
def test_a_cancel_reaches_the_model_and_frees_the_conversation(
    talk: Talk, model: Script, meanwhile: Any, held: Callable[[Script, Gate], None], text: str, stream: bool
) -> None:
    with model.gate() as gate:
        held(model, gate)
        asked: Future[Answer] = meanwhile(talk.append, stream=stream)
        gate.wait_reached()
        kept = text if stream else ""  # without a stream, the model is asked for an answer in one piece
        talk.hear(kept)
        (run,) = talk.cancel()
        after = talk.goes_on()
    answer = asked.result(PATIENCE)

    assert model.request(2).abandoned.wait(PATIENCE)
    assert [entry["content"] for entry in talk.entries[:-2]] == [kept] * bool(kept)
    assert [message["content"] for message in after] == ["One", "Answer 1", "Two", *([kept] * bool(kept)), "Three"]
    assert (run["state"], run["operation"], run["error"]) == ("cancelled", "append", None)
    assert run["ended_at"] >= run["started_at"]
    assert answer.status == 200
    if stream:
        events = [event for event in answer.events if event["type"] != "message.output.delta"]
        assert [event["type"] for event in events] == [STARTED, CANCELLED, DONE]
        assert (events[1]["run_id"], events[1]["discard"]) == (run["id"], [])
        Reading(answer.frames).check(talk.entries[:-2])
    else:
        assert answer.json["outputs"] == []
        assert answer.json["conversation_id"] == talk.path.rpartition("/")[2]


@pytest.mark.parametrize("operation", ["start", "append", "restart"])
def test_every_operation_is_cancelled_by_the_id_of_its_run(talk: Talk, model: Script, operation: str) -> None:
    last = talk.raw.get(f"{talk.path}/history").json["entries"][-1]["id"]
    path, body = {
        "start": ("/v1/conversations", {"model": model.name}),
        "append": (talk.path, {}),
        "restart": (f"{talk.path}/restart", {"from_entry_id": last}),
    }[operation]
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with talk.raw.stream(path, {"inputs": "Two", "stream": True, **body}) as stream:
            started, delta = stream.frame(), stream.frame()
            assert started is not None
            run, made = started.json["run_id"], f"/v1/conversations/{started.json['conversation_id']}"
            answer = talk.raw.post(f"{made}/runs/{run}/cancel", None)
            rest = [frame.event for frame in stream.frames()]
        assert gone(model)

    assert (answer.status, answer.json["state"], answer.json["operation"]) == (200, "cancelled", operation)
    assert answer.json == talk.raw.get(f"{made}/runs/{run}").json
    assert rest == [CANCELLED, DONE]
    assert delta is not None
    entries = talk.raw.get(f"{made}/history").json["entries"]
    assert [entry["content"] for entry in entries[-2:]] == ["Two", "Sev"]
    assert entries[-1]["id"] == delta.json["id"]
    assert talk.raw.post(made, {"inputs": "Three"}).status == 200


@pytest.mark.parametrize("name", ["act", "look"])
def test_a_tool_that_runs_is_stopped(talk: Talk, model: Script, toolsets: dict[str, HeldToolset], name: str) -> None:
    """A call that may have taken effect is told as that; one that does no harm twice is let go."""
    toolset = toolsets["web_search" if name == "act" else "code_interpreter"]
    toolset.reached.clear()
    toolset.stopped.clear()
    model.reply(Text("Let me see."), CallPiece(0, "callAAAA1", name, '{"query": "stuck"}'))
    with talk.raw.stream(talk.path, {"inputs": "Two", "stream": True}) as stream:
        frames = [stream.frame() for _ in range(4)]
        assert toolset.reached.wait(PATIENCE)
        talk.cancel()
        frames += stream.frames()
    assert toolset.stopped.wait(PATIENCE)

    Reading(frames).check(talk.entries)
    assert talk.entries[0]["content"] == "Let me see."
    messages = talk.goes_on()[4:] if name == "look" else talk.goes_on()[3:]
    if name == "act":
        assert [entry["type"] for entry in talk.entries[1:2]] == ["tool.execution"]
        assert [message["role"] for message in messages] == ["assistant", "tool", "assistant", "user"]
        assert "unknown" in messages[1]["content"]
    else:
        assert frames[-2].json["discard"] == [frames[3].json["id"]]
        assert [message["role"] for message in messages] == ["user"]


def test_of_tools_that_run_together_what_was_done_is_kept(
    talk: Talk, model: Script, toolsets: dict[str, HeldToolset]
) -> None:
    reached = toolsets["code_interpreter"].reached
    reached.clear()
    model.calls(("act", {"query": "x"}), ("look", {"query": "stuck"}), ("get_rate", {}))
    with talk.raw.stream(talk.path, {"inputs": "Two", "stream": True}) as stream:
        frames = [stream.frame() for _ in range(6)]
        assert reached.wait(PATIENCE)
        talk.cancel()
        frames += stream.frames()

    Reading(frames).check(talk.entries)
    assert [(entry["type"], entry["arguments"]) for entry in talk.entries] == [("tool.execution", '{"query": "x"}')]
    messages = talk.goes_on()
    assert [message["role"] for message in messages[3:]] == ["assistant", "tool", "assistant", "user"]
    assert [call["id"] for call in messages[3]["tool_calls"]] == ["callAAAA1"]


HALF: dict[str, list[Step]] = {
    "a call half said": [Text("Well. "), CallPiece(0, "callAAAA1", "get_rate"), CallPiece(0, arguments='{"date":')],
    "a call just named": [Text("Well. "), CallPiece(0, "callAAAA1", "get_rate")],
    "a call all said": [Text("Well. "), CallPiece(0, "callAAAA1", "get_rate", "{}")],
    "two calls": [
        Text("Well. "), CallPiece(0, "callAAAA1", "get_rate", "{}"), CallPiece(1, "callAAAA2", "get_time", "{"),
    ],
    "a call of the server's half said": [Text("Well. "), CallPiece(0, "callAAAA1", "act", '{"query":')],
    "text after a call": [CallPiece(0, "callAAAA1", "get_rate", "{}"), Text("Well. ")],
}  # fmt: skip


@pytest.mark.parametrize("steps", HALF.values(), ids=HALF)
def test_calls_that_nobody_will_answer_are_let_go(talk: Talk, model: Script, meanwhile: Any, steps: list[Step]) -> None:
    with model.gate() as gate:
        model.reply(*steps, gate)
        asked: Future[Answer] = meanwhile(talk.append)
        gate.wait_reached()
        first = model.last
        talk.hear("Well. ")
        talk.cancel()
        assert first.abandoned.wait(PATIENCE)
    had = Reading(asked.result(PATIENCE).frames)

    had.check(talk.entries)
    assert [entry["content"] for entry in talk.entries] == ["Well. "]
    calls = {frame.json["id"] for frame in had.frames if frame.event == "function.call.delta"}
    assert had.events[-2]["type"] == CANCELLED
    assert set(had.events[-2]["discard"]) == calls
    assert [message["content"] for message in talk.goes_on()] == ["One", "Answer 1", "Two", "Well. ", "Three"]
    late = talk.raw.post(talk.path, {"inputs": [result("callAAAA1", "2.5%")]})
    assert late.status == 422


def test_turns_that_were_complete_are_kept(talk: Talk, model: Script, meanwhile: Any) -> None:
    with model.gate() as gate:
        model.reply(Text("Let me look."), CallPiece(0, "callAAAA1", "act", '{"query": "x"}'))
        model.say("Found it.", before=gate)
        asked: Future[Answer] = meanwhile(talk.append)
        gate.wait_reached()
        (run,) = talk.cancel()
    had = Reading(asked.result(PATIENCE).frames)

    had.check(talk.entries)
    assert [entry["type"] for entry in talk.entries] == ["message.output", "tool.execution"]
    assert (run["bounds"]["model_calls"], run["usage"]["prompt_tokens"]) == (2, 16)
    assert had.events[-2]["discard"] == []
    assert [message["role"] for message in talk.goes_on()[3:]] == ["assistant", "tool", "assistant", "user"]


def test_a_json_caller_gets_what_was_kept(talk: Talk, model: Script, meanwhile: Any) -> None:
    with model.gate() as gate:
        model.reply(Text("Let me look."), CallPiece(0, "callAAAA1", "act", '{"query": "x"}'))
        model.say("Found it.", before=gate)
        asked: Future[Answer] = meanwhile(talk.append, stream=False)
        gate.wait_reached()
        talk.cancel()
    answer = asked.result(PATIENCE)
    assert answer.status == 200
    assert answer.json["outputs"] == talk.entries
    assert [entry["type"] for entry in talk.entries] == ["message.output", "tool.execution"]


def test_thoughts_are_kept_too(talk: Talk, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Reasoning("Hm, "), Reasoning("well."), gate)
        with talk.raw.stream(talk.path, {"inputs": "Two", "stream": True}) as stream:
            frames = [stream.frame() for _ in range(3)]
            talk.cancel()
            frames += stream.frames()
    Reading(frames).check(talk.entries)
    assert [part["text"] for part in talk.entries[0]["content"][0]["thinking"]] == ["Hm, well."]
    assert [message["role"] for message in talk.goes_on()] == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.parametrize("said", ["", " it"])
def test_an_answer_that_was_to_begin_in_a_given_way_is_cut_like_any_other(
    talk: Talk, model: Script, meanwhile: Any, said: str
) -> None:
    asked_with = [{"role": "user", "content": "Two"}, {"role": "assistant", "content": "So be", "prefix": True}]
    with model.gate() as gate:
        model.reply(*([Text(said)] if said else []), gate)
        asked: Future[Answer] = meanwhile(talk.append, inputs=asked_with)
        gate.wait_reached()
        talk.hear("So be" + said if said else "")
        talk.cancel()
    had = Reading(asked.result(PATIENCE).frames)
    had.check(talk.entries[1:])
    told = [message["content"] for message in talk.goes_on()]
    assert told == ["One", "Answer 1", "Two", "So be" + said, "Three"]


def test_cancelling_what_has_ended_changes_nothing(talk: Talk) -> None:
    talk.append()
    (run, *_) = talk.raw.get(f"{talk.path}/runs").json["data"]
    before = talk.entries
    for _ in range(2):
        answer = talk.raw.post(f"{talk.path}/runs/{run['id']}/cancel", None)
        assert (answer.status, answer.json) == (200, run)
        assert talk.cancel() == []
    assert run["state"] == "done"
    assert talk.entries == before


def test_a_run_that_failed_stays_failed(talk: Talk, model: Script) -> None:
    model.fail(500, "it broke")
    talk.append()
    (run, *_) = talk.raw.get(f"{talk.path}/runs").json["data"]
    answer = talk.raw.post(f"{talk.path}/runs/{run['id']}/cancel", None)
    assert (answer.status, answer.json["state"], answer.json["error"]["code"]) == (200, "failed", 502)


def test_what_is_not_there_cannot_be_cancelled(talk: Talk, url: str, model: Script) -> None:
    other = Talk(Raw(url), model)
    (run, *_) = other.raw.get(f"{other.path}/runs").json["data"]
    for path in (
        "/v1/conversations/conv_0/cancel",
        f"/v1/conversations/conv_0/runs/{run['id']}/cancel",
        f"{talk.path}/runs/run_0/cancel",
        f"{talk.path}/runs/{run['id']}/cancel",
    ):
        answer = talk.raw.post(path, None)
        assert (answer.status, answer.json["object"]) == (404, "Error"), path
    talk.raw.delete(talk.path)
    assert talk.raw.post(f"{talk.path}/cancel", None).status == 404


def test_many_may_cancel_at_once(talk: Talk, model: Script, meanwhile: Any) -> None:
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with talk.raw.stream(talk.path, {"inputs": "Two", "stream": True}) as stream:
            started = stream.frame()
            stream.frame()
            assert started is not None
            one = f"{talk.path}/runs/{started.json['run_id']}/cancel"
            paths = [one, f"{talk.path}/cancel"] * 4
            answers = [asked.result(PATIENCE) for asked in [meanwhile(talk.raw.post, path, None) for path in paths]]
            rest = [frame.event for frame in stream.frames()]
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["state"] for answer in answers[::2]} == {"cancelled"}
    assert rest == [CANCELLED, DONE]
    assert [entry["content"] for entry in talk.entries] == ["Sev"]


def test_a_cancel_that_races_with_the_end_leaves_the_one_or_the_other(talk: Talk, meanwhile: Any) -> None:
    for _ in range(40):
        before = talk.raw.get(f"{talk.path}/history").json["entries"]
        asked: Future[Answer] = meanwhile(talk.append)
        ended = talk.cancel()
        had = Reading(asked.result(PATIENCE).frames)
        entries = talk.raw.get(f"{talk.path}/history").json["entries"]
        assert entries[: len(before)] == before
        assert entries[len(before)]["content"] == "Two"
        had.check(entries[len(before) + 1 :])
        (run, *_) = talk.raw.get(f"{talk.path}/runs").json["data"]
        assert run["state"] == ("cancelled" if CANCELLED in had.types else "done")
        assert [one["id"] for one in ended] in ([], [run["id"]])
    assert talk.raw.post(talk.path, {"inputs": "Three"}).status == 200


def test_whoever_follows_a_run_sees_it_cancelled(talk: Talk, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with talk.raw.stream(talk.path, {"inputs": "Two", "stream": True}) as stream:
            first = [stream.frame(), stream.frame()]
            path = f"{talk.path}/runs/{first[0].json['run_id']}/events"
            with talk.raw.follow(path, {"Last-Event-ID": str(first[0].id)}) as following:
                second = [first[0], following.frame()]
                talk.cancel()
                for frames, one in ((first, stream), (second, following)):
                    Reading([*frames, *one.frames()]).check(talk.entries)


def test_a_run_that_is_not_stored_is_cancelled_like_any_other(talk: Talk, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with talk.raw.stream(talk.path, {"inputs": "Two", "stream": True, "store": False}) as stream:
            started, _ = stream.frame(), stream.frame()
            assert started is not None
            assert talk.cancel() == [], "it is in nobody's way, so it is not what runs in the conversation"
            answer = talk.raw.post(f"{talk.path}/runs/{started.json['run_id']}/cancel", None)
            rest = [frame.event for frame in stream.frames()]
        assert gone(model)
    assert (answer.status, answer.json["state"]) == (200, "cancelled")
    assert rest == [CANCELLED, DONE]
    assert len(talk.raw.get(f"{talk.path}/history").json["entries"]) == 2
    assert len(talk.raw.get(f"{talk.path}/runs").json["data"]) == 1


def test_the_sdk_reads_a_stream_that_was_cancelled_to_its_end(sdk: SDK, raw: Raw, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with sdk.opened("start_stream", inputs="What is 3+4?") as stream:
            started, delta = stream.next(), stream.next()
            raw.post(f"/v1/conversations/{started.conversation_id}/cancel", None)
            cancelled, done = stream.rest()
    if OFFICIAL:  # which does not know this event of ours, and carries it as it came
        assert (cancelled.is_unknown, cancelled.raw["type"]) == (True, CANCELLED)
    else:
        assert (cancelled.type, cancelled.discard) == (CANCELLED, [])
    assert (done.type, delta.content) == (DONE, "Sev")
    assert sdk.append(conversation_id=started.conversation_id, inputs="And 4+5?").outputs[0].content == "Answer 2"
    entries = as_json(sdk.get_history(started.conversation_id))["entries"]
    assert [entry["content"] for entry in entries] == ["What is 3+4?", "Sev", "And 4+5?", "Answer 2"]


def test_the_sdk_gets_what_was_kept_as_an_answer(sdk: SDK, raw: Raw, model: Script, meanwhile: Any) -> None:
    made = sdk.start(inputs="One").conversation_id
    with model.gate() as gate:
        model.say("Two.", before=gate)
        asked = meanwhile(sdk.append, conversation_id=made, inputs="Two")
        gate.wait_reached()
        raw.post(f"/v1/conversations/{made}/cancel", None)
        response = asked.result(PATIENCE)
    assert (response.conversation_id, response.outputs) == (made, [])
    assert sdk.append(conversation_id=made, inputs="Three").outputs[0].content == "Answer 3"
