"""Trouble on the way to an answer: a model server that fails or is away, a run that takes too long, our own defects.

Every failure has the same status as JSON and as the last event of a stream, leaves history as it was, and leaves the
conversation free.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from causerie.tools.base import ToolContext, ToolResult
from tests.support.library import utils
from tests.support.raw import Answer, Raw
from tests.support.replies import PATIENCE, Bytes, Hangup, Text
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

SEARCH = {"type": "web_search"}
Fault = Callable[[Script], None]
BROKEN: dict[str, tuple[int, Fault, str]] = {
    "500": (502, lambda model: model.fail(500, "it broke"), "it broke"),
    "500 in plain text": (502, lambda model: model.fail(500, body=b"it broke"), "it broke"),
    "500 without a word": (502, lambda model: model.fail(500, body=b""), "(500)"),
    "502 with a page": (502, lambda model: model.fail(502, body=b"<html>Bad gateway</html>"), "Bad gateway"),
    "a status of its own": (502, lambda model: model.fail(599, "it broke"), "it broke"),
    "a redirect": (502, lambda model: model.fail(307, headers={"Location": "http://127.0.0.1:9/"}), "redirect"),
    "another path": (502, lambda model: model.fail(404, body=b"Not Found"), "base URL"),
    "an answer that is none": (502, lambda model: model.reply(Bytes(b"data: junk\n\n")), "broken answer"),
    "an empty object": (502, lambda model: model.reply(Bytes(b"{}"), Hangup()), "broken answer"),
    "deep junk": (502, lambda model: model.reply(Bytes(b"data: " + b"[" * 5000 + b"\n\n")), "broken answer"),
    "hung up": (502, lambda model: model.reply(Hangup()), "broke"),
    "hung up on the way": (502, lambda model: model.reply(Text("Se"), Text("ven"), Hangup()), "broke"),
    "its key refused": (502, lambda model: model.fail(401, "bad key"), "credentials"),
    "forbidden": (502, lambda model: model.fail(403, "not yours"), "credentials"),
    "a bad schema": (400, lambda model: model.fail(400, "Invalid schema: x"), "Invalid schema: x"),
    "unprocessable": (400, lambda model: model.fail(422, "No such thing"), "No such thing"),
    "overloaded": (503, lambda model: model.fail(503, "overloaded"), "overloaded"),
    "timed out": (504, lambda model: model.fail(504, "too slow"), "too slow"),
    "too many requests": (429, lambda model: model.fail(429, "slow down"), "slow down"),
}


class BrokenToolset(ScriptedToolset):
    """Breaks in a way that no toolset should."""

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        raise RuntimeError("a secret of the toolset")


class StuckToolset(ScriptedToolset):
    """Never comes to an end by itself."""

    stopped = threading.Event()

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.stopped.set()


@pytest.fixture(scope="module")
def servers(model_server: ScriptedServer) -> Iterator[Callable[..., str]]:
    """Start servers by their settings, each once: stopping one costs more than a test."""
    started: dict[str, str] = {}
    with ExitStack() as stack:

        def server(**how: Any) -> str:
            key = repr(sorted(how.items()))
            if key not in started:
                started[key] = stack.enter_context(serving(**({"upstream": model_server.url} | how)))
            return started[key]

        yield server


@pytest.fixture
def nowhere() -> Iterator[str]:
    """The address of a model server that nobody runs: the port is taken, and nobody listens at it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


def fails(raw: Raw, model: Script, status: int, fault: Fault, **settings: Any) -> Answer:
    """See `fault` fail a conversation with `status`, as JSON and streamed, and the conversation go on after it.

    Returns:
        The JSON answer.
    """
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name, **settings}).json
    path = f"/v1/conversations/{made['conversation_id']}"
    before = raw.get(path).body, raw.get(f"{path}/history").body
    fault(model)
    plain = raw.post(path, {"inputs": "Two"})
    assert plain.status == status, plain.body
    assert plain.headers["content-type"] == "application/json"
    assert plain.json.keys() == {"object", "message", "type", "code"}
    assert (plain.json["object"], type(plain.json["code"])) == ("Error", int)
    assert (raw.get(path).body, raw.get(f"{path}/history").body) == before
    fault(model)
    started, *_, failed = raw.post(path, {"inputs": "Two", "stream": True}).events
    assert (started["type"], failed["type"]) == ("conversation.response.started", "conversation.response.error")
    assert (type(failed["code"]), failed["code"]) == (int, status)
    assert failed["message"]
    assert (raw.get(path).body, raw.get(f"{path}/history").body) == before
    again = raw.post(path, {"inputs": "Three"})
    assert again.status == 200, again.body
    assert [message["content"] for message in model.last.messages] == ["One", "Answer 1", "Three"]
    return plain


def searches_anew(model: Script) -> None:
    """Call the server's tool with arguments that it was not called with before: a call is made only once."""
    model.call("web_search", {"query": f"number {len(model.requests)}"})


@pytest.mark.requirement("C-221", "C-237")
@pytest.mark.parametrize(("status", "fault", "said"), BROKEN.values(), ids=BROKEN)
def test_a_model_server_that_breaks_is_a_clear_error(
    raw: Raw, model: Script, status: int, fault: Fault, said: str
) -> None:
    message = fails(raw, model, status, fault).json["message"]
    assert said in message
    assert "upstream default" in message, "it should say which"


@pytest.mark.requirement("C-237")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
def test_the_key_of_the_upstream_is_never_told(servers: Callable[..., str], model: Script, status: int) -> None:
    raw = Raw(servers(upstream_api_key="sk-very-secret"))
    told = fails(
        raw, model, status if status in (400, 429, 503) else 502, lambda one: one.fail(status, "No: sk-very-secret")
    )
    assert model.last.headers["authorization"] == "Bearer sk-very-secret"
    assert b"secret" not in told.body


@pytest.mark.requirement("C-237")
def test_a_model_that_is_gone_is_a_400(raw: Raw, model: Script) -> None:
    gone = fails(raw, model, 400, lambda one: one.fail(404, "The model `x` does not exist.", code="model_not_found"))
    assert gone.json["code"] == 3003


@pytest.mark.requirement("C-237")
def test_a_defect_of_the_servers_is_a_500_without_its_insides(servers: Callable[..., str], model: Script) -> None:
    raw = Raw(servers(toolsets={"web_search": BrokenToolset()}))
    broken = fails(raw, model, 500, searches_anew, tools=[SEARCH])

    assert (broken.json["object"], broken.json["code"], broken.json["type"]) == ("Error", 3000, "server_error")
    assert broken.headers["mistral-correlation-id"]
    text = broken.body.decode()
    assert not [word for word in ("secret", "Traceback", "RuntimeError", ".py", "toolset") if word in text]


@pytest.mark.requirement("C-237")
def test_the_sdk_is_told_of_a_defect(servers: Callable[..., str], connect: Callable[[str], SDK], model: Script) -> None:
    sdk = connect(servers(toolsets={"web_search": BrokenToolset()}))
    model.call("web_search", "{}")
    with sdk.refuses(500) as refusal:
        sdk.start(inputs="Search.", tools=[SEARCH])
    model.call("web_search", "{}")
    failed = sdk.start_stream(inputs="Search.", tools=[SEARCH])[-1]

    assert (refusal.body["object"], refusal.code) == ("Error", 3000)
    assert not sdk.over_http or refusal.headers["mistral-correlation-id"]
    assert (failed.type, failed.code) == ("conversation.response.error", 500)


@pytest.mark.requirement("C-238")
def test_a_model_server_that_is_away_is_a_503(
    serve: Callable[..., str], connect: Callable[[str], SDK], nowhere: str
) -> None:
    sdk = connect(serve(upstream=nowhere))
    with sdk.refuses(503) as refusal:
        sdk.start(inputs="Hello")
    assert sdk.list() == []
    assert int(refusal.headers["retry-after"]) > 0
    assert (refusal.body["object"], type(refusal.code)) == ("Error", int)
    assert "cannot be reached" in refusal.message
    assert "See that it runs, and that its base URL is right." in refusal.message

    started, failed = sdk.start_stream(inputs="Hello")
    assert (failed.type, failed.code) == ("conversation.response.error", 503)
    with sdk.refuses(503) as refusal:
        sdk.append(conversation_id=started.conversation_id, inputs="Hello?")
    assert int(refusal.headers["retry-after"]) > 0
    assert sdk.get_history(started.conversation_id).entries == []


@pytest.mark.requirement("C-238")
@pytest.mark.parametrize(
    ("given", "told"), [({"Retry-After": "7"}, "7"), ({}, None), ({"retry-after-ms": "1500"}, "2")]
)
def test_when_to_come_again_is_handed_on(raw: Raw, model: Script, given: dict[str, str], told: str | None) -> None:
    busy = fails(raw, model, 503, lambda one: one.fail(503, "loading", headers=given))
    assert busy.headers["retry-after"] == told if told else int(busy.headers["retry-after"]) > 0


@pytest.mark.requirement("C-236")
def test_a_rate_limit_is_handed_on(raw: Raw, model: Script) -> None:
    limited = fails(raw, model, 429, lambda one: one.fail(429, "slow down", headers={"Retry-After": "7"}))
    assert limited.headers["retry-after"] == "7"
    assert (limited.json["type"], limited.json["code"]) == ("rate_limited", 1300)


@pytest.mark.requirement("C-236", "C-238")
@pytest.mark.parametrize("status", [429, 500, 503, 504])
@pytest.mark.parametrize("operation", ["start", "append"])
def test_the_sdks_backoff_recovers(sdk: SDK, model: Script, status: int, operation: str) -> None:
    retries = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 2, 1.0, 10_000), retry_connection_errors=False)
    arguments = {"inputs": "Two"}
    if operation == "append":
        arguments["conversation_id"] = sdk.start(inputs="One").conversation_id
    before = len(model.requests)
    for _ in range(2):
        model.fail(status, "slow down", headers={"Retry-After": "0"})
    model.say("At last.")
    response = getattr(sdk, operation)(**arguments, retries=retries)

    assert [output.content for output in response.outputs] == ["At last."]
    assert len(model.requests) == before + 3
    said = [entry.content for entry in sdk.get_history(response.conversation_id).entries]
    assert said[-2:] == ["Two", "At last."]
    assert said.count("Two") == 1


@pytest.mark.requirement("C-239")
@pytest.mark.parametrize("setting", ["run_seconds", "upstream_read_seconds"])
def test_a_run_that_takes_too_long_is_a_504(servers: Callable[..., str], model: Script, setting: str) -> None:
    def held(one: Script) -> None:
        one.say("Too late.", before=one.gate())

    late = fails(Raw(servers(**{setting: 0.4})), model, 504, held)
    if setting == "run_seconds":
        assert "0.4 seconds" in late.json["message"]
        assert setting in late.json["message"]
    for number in (2, 3):
        assert model.request(number).abandoned.wait(PATIENCE), "the model should be told to stop"


@pytest.mark.requirement("C-239")
def test_a_run_that_is_cut_short_while_it_streams_is_a_504(
    servers: Callable[..., str], connect: Callable[[str], SDK], model: Script
) -> None:
    sdk = connect(servers(run_seconds=0.4))
    made = sdk.start(inputs="One").conversation_id
    model.reply(Text("Sev"), model.gate(), Text("en."))
    started, delta, failed = sdk.append_stream(conversation_id=made, inputs="Two")

    assert (started.type, delta.content) == ("conversation.response.started", "Sev")
    assert (failed.type, failed.code) == ("conversation.response.error", 504)
    assert "run_seconds" in failed.message
    assert [entry.content for entry in sdk.get_history(made).entries] == ["One", "Answer 1"]
    assert sdk.append(conversation_id=made, inputs="Three").outputs[0].content == "Answer 3"


@pytest.mark.requirement("C-239")
def test_a_tool_that_takes_too_long_is_stopped(servers: Callable[..., str], model: Script) -> None:
    toolset = StuckToolset()
    raw = Raw(servers(run_seconds=0.4, toolsets={"web_search": toolset}))
    late = fails(raw, model, 504, searches_anew, tools=[SEARCH])
    assert "run_seconds" in late.json["message"]
    assert toolset.stopped.wait(PATIENCE)


@pytest.mark.requirement("C-239")
@pytest.mark.parametrize(
    ("setting", "calls"), [({"max_model_calls": 3}, 3), ({"max_tool_output_bytes": 5}, 1)], ids=["calls", "output"]
)
def test_the_other_bounds_are_400s_that_name_their_setting(
    servers: Callable[..., str], model: Script, setting: dict[str, int], calls: int
) -> None:
    def searches(one: Script) -> None:
        for _ in range(calls):
            one.call("web_search", "{}")

    raw = Raw(servers(**setting, toolsets={"web_search": ScriptedToolset()}))
    bounded = fails(raw, model, 400, searches, tools=[SEARCH])
    assert next(iter(setting)) in bounded.json["message"]
