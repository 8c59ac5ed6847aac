"""Streams while they are open: when they begin, how silence is broken, and what a reader can do to a run."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.raw import Answer, Frame, OpenStream, Raw
from tests.support.replies import PATIENCE, CallPiece, Text
from tests.support.samples import GET_RATE, user
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK
from tests.support.stage import serving

OPERATIONS = ("start_stream", "append_stream", "restart_stream")


@pytest.fixture(scope="module")
def talkative(model_server: ScriptedServer) -> Iterator[str]:
    """Run a server that bears little silence, once: stopping one costs more than a test."""
    with serving(upstream=model_server.url, keep_alive_seconds=0.02) as url:
        yield url


@pytest.fixture
def conversation(sdk: SDK) -> dict[str, Any]:
    """What appends to, or restarts, a conversation with one question and one answer."""
    made = sdk.start(inputs="One")
    return {"conversation_id": made.conversation_id, "from_entry_id": made.outputs[0].id}


def arguments(operation: str, conversation: dict[str, Any]) -> dict[str, Any]:
    """Return what `operation` needs of it."""
    wanted = {"start": [], "append": ["conversation_id"], "restart": list(conversation)}
    return {name: conversation[name] for name in wanted[operation.partition("_")[0]]} | {"inputs": "Two"}


def as_soon_as_free(raw: Raw, conversation_id: str, body: dict[str, Any]) -> Answer:
    """Append; while the conversation is busy, try again, again and again."""
    for _ in range(5000):
        answer = raw.post(f"/v1/conversations/{conversation_id}", body)
        if answer.status != 409:
            return answer
    raise AssertionError("the conversation never became free")


def up_to_data(stream: OpenStream) -> tuple[list[Frame], Frame]:
    """Return the comments that come first, and the frame that ends them."""
    comments = []
    while (frame := stream.frame()) is not None:
        if frame.data is not None:
            return comments, frame
        comments.append(frame)
    raise AssertionError("the stream ended")


@pytest.mark.requirement("C-206")
def test_silence_is_broken_by_comments(talkative: str, model: Script) -> None:
    body = {"inputs": "What is 3+4?", "model": model.name, "stream": True}
    with model.gate() as before, model.gate() as within:
        model.reply(Text("Sev"), within, Text("en."), before=before)
        with Raw(talkative).stream("/v1/conversations", body) as stream:
            seen = [up_to_data(stream)[1]]
            for gate in (before, within):
                comments = [stream.frame(), stream.frame()]
                gate.open()
                more, data = up_to_data(stream)
                seen.append(data)
                for comment in (*comments, *more):
                    assert comment is not None
                    assert comment.text.startswith(":")
                    assert comment.text.endswith("\n\n")
                    assert (comment.event, comment.data, len(comment.comments)) == (None, None, 1)
            seen += [frame for frame in stream.frames() if frame.data is not None]

    assert [frame.event for frame in seen] == [
        "conversation.response.started",
        "message.output.delta",
        "message.output.delta",
        "conversation.response.done",
    ]
    assert [frame.json["content"] for frame in seen[1:-1]] == ["Sev", "en."]


@pytest.mark.requirement("C-206")
def test_the_sdk_reads_on_over_comments(talkative: str, connect: Callable[[str], SDK], model: Script) -> None:
    sdk = connect(talkative)
    body = {"inputs": "What is 4+5?", "model": model.name, "stream": True}
    with model.gate() as gate, model.gate() as other:
        model.say("Seven.", before=gate)
        with sdk.opened("start_stream", inputs="What is 3+4?") as stream:
            started = stream.next()
            gate.wait_reached()
            model.say("Nine.", before=other)
            with Raw(talkative).stream("/v1/conversations", body) as beside:
                # Three comments here mean that there was at least one over there.
                first, *silent = [beside.frame() for _ in range(4)]
                assert [frame is not None and len(frame.comments) for frame in (first, *silent)] == [0, 1, 1, 1]
            gate.open()
            delta, done = stream.rest()

    assert (started.type, delta.content, done.type) == (
        "conversation.response.started",
        "Seven.",
        "conversation.response.done",
    )


@pytest.mark.requirement("C-206")
def test_there_are_no_comments_without_silence(raw: Raw, model: Script) -> None:
    body = {"inputs": "Which rate?", "model": model.name, "tools": [GET_RATE], "stream": True}
    with model.gate() as named, model.gate() as answered:
        # What the model sends before each gate is not for the caller's ears.
        model.reply(Text("Well."), CallPiece(0, "callAAAA1", "get_rate"), named, CallPiece(0, arguments="{}"), answered)
        with raw.stream("/v1/conversations", body) as stream:
            frames = [stream.frame(), stream.frame()]
            for gate in (named, answered):
                gate.wait_reached()
                gate.open()
                frames.append(stream.frame())
            frames += list(stream.frames())

    assert [frame.comments for frame in frames if frame] == [()] * 4
    assert [frame.json["type"].rpartition(".")[2] for frame in frames if frame] == ["started", "delta", "delta", "done"]


@pytest.mark.requirement("C-226")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stream_begins_before_the_model_answers(
    sdk: SDK, model: Script, conversation: dict[str, Any], operation: str
) -> None:
    with model.gate() as gate:
        model.say("Two", before=gate)
        with sdk.opened(operation, **arguments(operation, conversation)) as stream:
            started = stream.next()
            assert started.type == "conversation.response.started"
            assert sdk.get(started.conversation_id).id == started.conversation_id
            gate.wait_reached()
            gate.open()
            delta, done = stream.rest()

    assert (delta.content, done.type) == ("Two", "conversation.response.done")


@pytest.mark.requirement("C-225")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_the_request_shows_to_be_wrong_is_a_plain_error(
    sdk: SDK, raw: Raw, model: Script, conversation: dict[str, Any], operation: str
) -> None:
    listed = raw.get("/v1/conversations?page_size=1").body
    given = arguments(operation, conversation)
    with sdk.refuses(422) as refusal:
        getattr(sdk, operation)(**given | {"completion_args": {"temperature": 5}})

    assert not sdk.over_http or refusal.headers["content-type"].partition(";")[0] == "application/json"
    assert refusal.loc == ["body", "completion_args", "temperature"]
    assert raw.get("/v1/conversations?page_size=1").body == listed
    assert len(model.requests) == 1


@pytest.mark.requirement("C-225")
@pytest.mark.parametrize("operation", OPERATIONS[1:])
def test_what_does_not_fit_the_conversation_is_a_plain_error(
    sdk: SDK, model: Script, conversation: dict[str, Any], operation: str
) -> None:
    run, given = getattr(sdk, operation), arguments(operation, conversation)
    open_call = {"type": "function.call", "tool_call_id": "a1B2c3D4e", "name": "get_rate", "arguments": "{}"}
    for status, wrong in (
        (404, {"conversation_id": "conv_that_never_was"}),
        (404, {"from_entry_id": "msg_that_never_was"} if "from_entry_id" in given else {"conversation_id": "x"}),
        (400, {"inputs": [open_call]}),
        (400, {"inputs": [open_call, user("Never mind.")]}),
        (422, {"inputs": [{"type": "function.result", "tool_call_id": "zzzzzzzzz", "result": "x"}]}),
    ):
        with sdk.refuses(status) as refusal:
            run(**given | wrong)
        assert not sdk.over_http or refusal.headers["content-type"].partition(";")[0] == "application/json"
        assert refusal.body["object"] == "Error"

    assert len(model.requests) == 1
    assert len(sdk.get_history(conversation["conversation_id"]).entries) == 2


@pytest.mark.requirement("C-225", "C-233")
def test_a_busy_conversation_is_a_plain_error(sdk: SDK, model: Script, conversation: dict[str, Any]) -> None:
    given = arguments("append", conversation)
    with model.gate() as gate:
        model.say("Two", before=gate)
        with sdk.opened("append_stream", **given) as stream:
            assert stream.next().type == "conversation.response.started"
            with sdk.refuses(409) as refusal:
                sdk.append_stream(**given)
            gate.open()
            assert stream.rest()[-1].type == "conversation.response.done"
    assert refusal.code == 3409


@pytest.mark.requirement("C-224")
@pytest.mark.parametrize("moment", ["before the answer", "within the answer", "within a call"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_run_goes_on_without_the_reader_who_left(
    sdk: SDK, raw: Raw, model: Script, conversation: dict[str, Any], operation: str, moment: str
) -> None:
    with model.gate() as gate:
        if moment == "within a call":
            model.reply(CallPiece(0, "callAAAA1", "get_rate", '{"da'), gate, CallPiece(0, arguments='te":"x"}'))
        elif moment == "within the answer":
            model.reply(Text("Sev"), gate, Text("en."))
        else:
            model.say("Sev", "en.", before=gate)
        with sdk.opened(operation, **arguments(operation, conversation)) as stream:
            made = stream.next().conversation_id
            gate.wait_reached()
            if moment != "before the answer":
                assert stream.next().type in ("message.output.delta", "function.call.delta")
        path = f"/v1/conversations/{made}"
        busy = raw.post(path, {"inputs": "Three"})
        assert (busy.status, busy.json["code"]) == (409, 3409)
        assert not model.last.abandoned.is_set()
        gate.open()
        if moment == "within a call":
            body = {"inputs": [{"type": "function.result", "tool_call_id": "callAAAA1", "result": "2.5%"}]}
        else:
            body = {"inputs": "Three"}
        answer = as_soon_as_free(raw, made, body)

    assert answer.status == 200, answer.body
    *_, asked, made_by_run, told, answered = raw.get(f"{path}/history").json["entries"]
    assert asked["content"] == "Two"
    assert made_by_run.get("content", made_by_run.get("arguments")) in ("Seven.", '{"date":"x"}')
    assert told.get("content", told.get("result")) in ("Three", "2.5%")
    assert answered["content"] == "Answer 3"


@pytest.mark.requirement("C-224")
@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_may_hang_up_without_having_read_anything(raw: Raw, model: Script, stream: bool) -> None:
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json["conversation_id"]
    path = f"/v1/conversations/{made}"
    with model.gate() as gate:
        model.say("Seven.", before=gate)
        connection = http.client.HTTPConnection(raw.host, timeout=PATIENCE)
        body = json.dumps({"inputs": "Two", "stream": stream}).encode()
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        gate.wait_reached()
        connection.close()
        assert raw.post(path, {"inputs": "Three"}).status == 409
        gate.open()
        assert as_soon_as_free(raw, made, {"inputs": "Three"}).status == 200

    contents = [entry["content"] for entry in raw.get(f"{path}/history").json["entries"]]
    assert contents == ["One", "Answer 1", "Two", "Seven.", "Three", "Answer 3"]


@pytest.mark.requirement("C-224")
def test_a_reader_that_does_not_read_holds_nothing_up(raw: Raw, model: Script) -> None:
    piece, pieces = "x" * 64_000, 128
    model.say(*[piece] * pieces)
    with raw.stream("/v1/conversations", {"inputs": "A lot.", "model": model.name, "stream": True}) as stream:
        started = stream.frame()
        assert started is not None
        answer = as_soon_as_free(raw, started.json["conversation_id"], {"inputs": "And now?"})
        assert answer.status == 200
        *deltas, done = stream.frames()

    assert sum(len(delta.json["content"]) for delta in deltas if delta.data) == len(piece) * pieces
    assert done.event == "conversation.response.done"


def test_two_runs_do_not_wait_for_each_other(
    sdk: SDK, model: Script, meanwhile: Callable[..., Future[Any]], conversation: dict[str, Any]
) -> None:
    with model.gate() as gate:
        model.say("Two", before=gate)
        slow = meanwhile(sdk.append, **arguments("append", conversation))
        gate.wait_reached()
        assert sdk.start(inputs="Elsewhere").outputs[0].content == "Answer 3"
        assert not slow.done()
    assert slow.result(PATIENCE).outputs[0].content == "Two"
