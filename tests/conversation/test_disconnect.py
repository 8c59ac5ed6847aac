"""A client that hangs up: its run goes on, unless the body, a header or the server says that it is cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.reading import CANCELLED, DONE, Reading
from tests.support.replies import PATIENCE, Text
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK
from tests.support.stage import serving

SAID: dict[str, tuple[str | None, str | None, str, bool]] = {
    # what the body says, the header, the server: whether the run is cancelled
    "nothing": (None, None, "continue", False),
    "the server": (None, None, "cancel", True),
    "the header": (None, "cancel", "continue", True),
    "the header over the server": (None, "continue", "cancel", False),
    "the body": ("cancel", None, "continue", True),
    "the body over the server": ("continue", None, "cancel", False),
    "the body over the header": ("continue", "cancel", "cancel", False),
    "the body over both": ("cancel", "continue", "continue", True),
}
ON_DISCONNECT = "Causerie-On-Disconnect"


@pytest.fixture(scope="module")
def urls(model_server: ScriptedServer) -> Iterator[dict[str, str]]:
    """Run a server of either default, once: stopping one costs more than a test."""
    with (
        serving(upstream=model_server.url) as continuing,
        serving(upstream=model_server.url, on_disconnect="cancel") as cancelling,
    ):
        yield {"continue": continuing, "cancel": cancelling}


def ended(raw: Raw, conversation: str) -> dict[str, Any]:
    """Wait for the newest run of a conversation to end; return it."""
    (run, *_) = raw.get(f"{conversation}/runs").json["data"]
    Reading(raw.get(f"{conversation}/runs/{run['id']}/events").frames)
    found: dict[str, Any] = raw.get(f"{conversation}/runs/{run['id']}").json
    return found


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("body", "header", "setting", "cancels"), SAID.values(), ids=SAID)
def test_what_becomes_of_a_run_whose_client_hangs_up(
    urls: dict[str, str], model: Script, body: str | None, header: str | None, setting: str, cancels: bool, stream: bool
) -> None:
    raw = Raw(urls[setting])
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json
    path = f"/v1/conversations/{made['conversation_id']}"
    asked = {"inputs": "Two", "stream": stream} | ({"on_disconnect": body} if body else {})
    headers = {ON_DISCONNECT: header} if header else {}
    with model.gate() as gate:
        model.reply(Text("Sev"), gate, Text("en."))
        if stream:
            with raw.stream(path, asked, headers) as reading:
                reading.frame()
                reading.frame()
        else:
            with raw.hang_up("POST", path, asked, headers):
                gate.wait_reached()
        if cancels:
            assert model.last.abandoned.wait(PATIENCE), "the model should be told to stop"
        else:
            gate.open()
        run = ended(raw, path)

    assert run["state"] == ("cancelled" if cancels else "done")
    kept = ("Sev" if stream else None) if cancels else "Seven."
    said = [entry["content"] for entry in raw.get(f"{path}/history").json["entries"]]
    assert said == ["One", "Answer 1", "Two", *([kept] if kept else [])]
    assert raw.post(path, {"inputs": "Three"}).status == 200


@pytest.mark.parametrize("operation", ["start", "restart"])
def test_every_operation_takes_it(urls: dict[str, str], model: Script, operation: str) -> None:
    raw, path, body = Raw(urls["continue"]), "/v1/conversations", {"inputs": "One", "model": model.name}
    if operation == "restart":
        made = raw.post(path, body).json
        path = f"{path}/{made['conversation_id']}/restart"
        body = {"inputs": "One", "from_entry_id": made["outputs"][0]["id"]}
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with raw.stream(path, body | {"stream": True, "on_disconnect": "cancel"}) as stream:
            started = stream.frame()
            stream.frame()
        assert model.last.abandoned.wait(PATIENCE)
    assert started is not None
    conversation = f"/v1/conversations/{started.json['conversation_id']}"
    assert ended(raw, conversation)["state"] == "cancelled"
    assert raw.get(f"{conversation}/history").json["entries"][-1]["content"] == "Sev"


def test_a_run_that_was_not_to_be_stored_is_cancelled_too(urls: dict[str, str], model: Script) -> None:
    raw = Raw(urls["continue"])
    asked = {"inputs": "One", "model": model.name, "stream": True, "store": False, "on_disconnect": "cancel"}
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with raw.stream("/v1/conversations", asked) as stream:
            stream.frame()
            stream.frame()
        assert model.last.abandoned.wait(PATIENCE)


@pytest.mark.parametrize("value", ["stop", "", "Cancel", "cancel,continue"])
@pytest.mark.parametrize("where", ["body", "header"])
@pytest.mark.parametrize("operation", ["start", "append", "restart"])
def test_what_it_cannot_be_is_refused_before_anything_runs(
    urls: dict[str, str], model: Script, operation: str, where: str, value: str
) -> None:
    raw = Raw(urls["continue"])
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json
    path = f"/v1/conversations/{made['conversation_id']}"
    before = raw.get(f"{path}/history").body, len(raw.get("/v1/conversations?page_size=1000").json)
    target, body = {
        "start": ("/v1/conversations", {"inputs": "Two", "model": model.name}),
        "append": (path, {"inputs": "Two"}),
        "restart": (f"{path}/restart", {"inputs": "Two", "from_entry_id": made["outputs"][0]["id"]}),
    }[operation]
    if where == "body":
        answer = raw.post(target, body | {"on_disconnect": value})
    else:
        answer = raw.post(target, body, {ON_DISCONNECT: value})

    assert answer.status == 422, answer.body
    expected = ["body", "on_disconnect"] if where == "body" else ["header", ON_DISCONNECT.lower()]
    assert answer.json["detail"][0]["loc"] == expected
    assert (raw.get(f"{path}/history").body, len(raw.get("/v1/conversations?page_size=1000").json)) == before
    assert len(model.requests) == 1


def test_null_says_nothing(urls: dict[str, str], model: Script) -> None:
    raw = Raw(urls["cancel"])
    answer = raw.post("/v1/conversations", {"inputs": "One", "model": model.name, "on_disconnect": None})
    assert answer.status == 200


def test_whoever_only_follows_a_run_may_leave(urls: dict[str, str], model: Script) -> None:
    raw = Raw(urls["cancel"])
    with model.gate() as gate:
        model.reply(Text("Sev"), gate, Text("en."))
        asked = {"inputs": "One", "model": model.name, "stream": True}
        with raw.stream("/v1/conversations", asked) as stream:
            frames = [stream.frame(), stream.frame()]
            started = frames[0].json
            path = f"/v1/conversations/{started['conversation_id']}"
            with raw.follow(f"{path}/runs/{started['run_id']}/events") as following:
                following.frame()
            assert raw.get(f"{path}/runs").json["data"][0]["state"] == "running"
            gate.open()
            frames += stream.frames()
    Reading(frames).check(raw.get(f"{path}/history").json["entries"][1:])


def test_who_follows_is_told_that_the_first_reader_left(urls: dict[str, str], model: Script) -> None:
    raw = Raw(urls["cancel"])
    with model.gate() as gate, ExitStack() as first, ExitStack() as second:
        model.reply(Text("Sev"), gate)
        asked = {"inputs": "One", "model": model.name, "stream": True}
        stream = first.enter_context(raw.stream("/v1/conversations", asked))
        started = stream.frame()
        assert started is not None
        path = f"/v1/conversations/{started.json['conversation_id']}"
        following = second.enter_context(raw.follow(f"{path}/runs/{started.json['run_id']}/events"))
        had = Reading([following.frame(), following.frame()])
        first.close()
        had.take(following.frames())
    assert had.types[-2:] == [CANCELLED, DONE]
    had.check(raw.get(f"{path}/history").json["entries"][1:])


@pytest.mark.parametrize("how", ["header", "setting"])
def test_the_sdk_hangs_up_and_the_run_is_cancelled(
    urls: dict[str, str], connect: Callable[[str], SDK], model: Script, how: str
) -> None:
    sdk = connect(urls["continue" if how == "header" else "cancel"])
    more = {"http_headers": {ON_DISCONNECT: "cancel"}} if how == "header" else {}
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with sdk.opened("start_stream", inputs="What is 3+4?", **more) as stream:
            started, delta = stream.next(), stream.next()
        assert model.last.abandoned.wait(PATIENCE)
    raw = Raw(urls["continue" if how == "header" else "cancel"])
    assert ended(raw, f"/v1/conversations/{started.conversation_id}")["state"] == "cancelled"
    entries = sdk.get_history(started.conversation_id).entries
    assert [(entry.id, entry.content) for entry in entries[1:]] == [(delta.id, "Sev")]
    assert sdk.append(conversation_id=started.conversation_id, inputs="And 4+5?").outputs[0].content == "Answer 2"


def test_the_sdk_hangs_up_and_the_run_goes_on(
    urls: dict[str, str], connect: Callable[[str], SDK], model: Script
) -> None:
    sdk = connect(urls["cancel"])
    with model.gate() as gate:
        model.reply(Text("Sev"), gate, Text("en."))
        with sdk.opened("start_stream", inputs="What?", http_headers={ON_DISCONNECT: "continue"}) as stream:
            started, _ = stream.next(), stream.next()
        gate.open()
        raw = Raw(urls["cancel"])
        assert ended(raw, f"/v1/conversations/{started.conversation_id}")["state"] == "done"
    assert sdk.get_history(started.conversation_id).entries[1].content == "Seven."
