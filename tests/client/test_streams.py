"""Streams against servers that say and do what ours would not: kept whole where that is possible, else said so."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from causerie.client import errors, models
from causerie.client.utils import BackoffStrategy, RetryConfig

from .canned import Canned, canned, stream
from .conftest import Side

AT = "2026-01-01T00:00:00.000001Z"
AT_ONCE = RetryConfig("backoff", BackoffStrategy(1, 1, 1.0, 60_000, jitter_ms=0), retry_connection_errors=False)
NEVER_AGAIN = RetryConfig("backoff", BackoffStrategy(1, 1, 1.0, -1, jitter_ms=0), retry_connection_errors=False)
STARTED: dict[str, Any] = {"type": "conversation.response.started", "created_at": AT, "conversation_id": "conv_1"}
RUN = STARTED | {"run_id": "run_1"}
DONE = {"type": "conversation.response.done", "created_at": AT, "usage": {"prompt_tokens": 1}}
EVENTS = "/v1/conversations/conv_1/runs/run_1/events"


def delta(text: str, entry: str = "msg_1") -> dict[str, Any]:
    return {"type": "message.output.delta", "created_at": AT, "id": entry, "content": text, "output_index": 0}


def kinds(items: list[Any]) -> list[str]:
    return [item.event.removeprefix("conversation.") for item in items]


def test_a_broken_stream_goes_on_after_the_last_event(connect: Callable[..., Side]) -> None:
    cut = stream(("1-1", RUN), ("1-2.msg_1", delta("a")), cut=True, rest=b"event: message.output.delta\nda")
    with canned(cut, stream(("1-3.msg_1", delta("b")), ("1-4", DONE))) as server:
        client = connect(server.url)
        opened = client.call("start_stream", inputs="Hi", model="m", http_headers={"X-Mine": "1"})
        items = client.rest(opened)

    assert kinds(items) == ["response.started", "message.output.delta", "message.output.delta", "response.done"]
    assert [item.id for item in items] == ["1-1", "1-2.msg_1", "1-3.msg_1", "1-4"]
    assert (opened.conversation_id, opened.run_id, opened.last_event_id) == ("conv_1", "run_1", "1-4")
    first, again = server.asked
    assert (first.method, first.path, first.json["stream"]) == ("POST", "/v1/conversations", True)
    assert (again.method, again.path, again.body) == ("GET", EVENTS, b"")
    assert again.headers["last-event-id"] == "1-2.msg_1"
    assert (again.headers["authorization"], again.headers["x-mine"]) == ("Bearer any-key", "1")
    assert "idempotency-key" in first.headers
    assert "idempotency-key" not in again.headers


def test_a_stream_that_ends_without_an_end_goes_on_too(connect: Callable[..., Side]) -> None:
    with canned(stream(("1-1", RUN)), stream(("1-2", DONE))) as server:
        client = connect(server.url)
        assert kinds(client.rest(client.call("start_stream", inputs="Hi"))) == ["response.started", "response.done"]


def test_what_the_server_took_back_is_passed_on(connect: Callable[..., Side]) -> None:
    adopted = {"type": "conversation.run.adopted", "created_at": AT, "run_id": "run_1", "discard": ["msg_1"]}
    cut = stream(("1-1", RUN), ("1-2.msg_1", delta("a")), cut=True)
    with canned(cut, stream(("0-0", adopted), ("2-1.msg_2", delta("b", "msg_2")), ("2-2", DONE))) as server:
        client = connect(server.url)
        items = client.rest(client.call("append_stream", conversation_id="conv_1", inputs="Hi"))

    assert kinds(items)[2:] == ["run.adopted", "message.output.delta", "response.done"]
    assert items[2].data.discard == ["msg_1"]
    assert isinstance(items[2].data, models.RunAdoptedEvent)


def test_a_cancellation_is_told_once(connect: Callable[..., Side]) -> None:
    cancelled = {"type": "conversation.run.cancelled", "created_at": AT, "run_id": "run_1", "discard": []}
    cut = stream(("1-1", RUN), ("1-9", cancelled), cut=True)
    with canned(cut, stream(("1-9", cancelled), ("1-9", DONE))) as server:
        client = connect(server.url)
        items = client.rest(client.call("start_stream", inputs="Hi"))

    assert kinds(items) == ["response.started", "run.cancelled", "response.done"]


def test_a_server_that_comes_back_later_is_waited_for(connect: Callable[..., Side]) -> None:
    cut = stream(("1-1", RUN), cut=True)
    later = (None, Canned(status=503), stream(cut=True), stream(("1-2", DONE)))
    with canned(cut, *later) as server:
        client = connect(server.url, retry_config=AT_ONCE)
        assert kinds(client.rest(client.call("start_stream", inputs="Hi"))) == ["response.started", "response.done"]
    assert [asked.headers.get("last-event-id") for asked in server.asked] == [None, *["1-1"] * 4]


def test_a_server_that_does_not_come_back_is_given_up(connect: Callable[..., Side]) -> None:
    with canned(stream(("1-1", RUN), cut=True)) as server:
        client = connect(server.url, retry_config=NEVER_AGAIN)
        opened = client.call("start_stream", inputs="Hi")
        assert client.next(opened).event == "conversation.response.started"
        with pytest.raises(errors.ConnectionFailed, match="could not be taken up again"):
            client.next(opened)
        assert client.next(opened) is None
    assert len(server.asked) == 1


def test_a_refusal_to_go_on_is_raised(connect: Callable[..., Side]) -> None:
    gone = Canned(b'{"object":"Error","message":"Run not found","type":"x","code":3404}', status=404)
    with canned(stream(("1-1", RUN), cut=True), gone) as server:
        client = connect(server.url)
        opened = client.call("start_stream", inputs="Hi")
        client.next(opened)
        with pytest.raises(errors.NotFound, match="Run not found"):
            client.next(opened)


@pytest.mark.parametrize("cut", [True, False])
def test_a_server_that_names_no_runs_cannot_be_asked_again(connect: Callable[..., Side], cut: bool) -> None:
    with canned(stream((None, STARTED), (None, delta("a")), cut=cut), stream((None, DONE))) as server:
        client = connect(server.url)
        opened = client.call("start_stream", inputs="Hi")
        items = [client.next(opened), client.next(opened)]
        with pytest.raises(errors.ConnectionFailed):
            client.next(opened)

    assert kinds(items) == ["response.started", "message.output.delta"]
    assert opened.run_id is None
    assert len(server.asked) == 1


def test_a_server_that_names_no_runs_is_streamed_from(connect: Callable[..., Side]) -> None:
    with canned(stream((None, STARTED), (None, delta("a")), (None, DONE))) as server:
        client = connect(server.url)
        items = client.rest(client.call("start_stream", inputs="Hi"))
    assert [bool(item.id) for item in items] == [False] * 3
    assert items[0].model_dump()["data"]["conversation_id"] == "conv_1"
    assert "id" not in items[0].model_dump()


def test_a_start_is_not_sent_again_to_a_server_that_may_not_know_keys(connect: Callable[..., Side]) -> None:
    with canned(None, stream((None, STARTED), (None, DONE))) as server:
        client = connect(server.url)
        with pytest.raises(errors.ConnectionFailed):
            client.call("start_stream", inputs="Hi")
    assert len(server.asked) == 1


def test_a_start_is_sent_again_to_a_server_that_knows_keys(connect: Callable[..., Side]) -> None:
    whole = stream(("1-1", RUN), ("1-2", DONE))
    with canned(whole, None, stream(cut=True), whole) as server:
        client = connect(server.url, retry_config=AT_ONCE)
        client.rest(client.call("start_stream", inputs="One"))
        assert len(client.rest(client.call("start_stream", inputs="Two"))) == 2
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert len(set(keys)) == 2
    assert keys[1:] == keys[1:2] * 3


def test_a_start_that_leaves_no_trace_is_not_sent_again(connect: Callable[..., Side]) -> None:
    whole = stream(("1-1", RUN), ("1-2", DONE))
    with canned(whole, None, whole) as server:
        client = connect(server.url)
        client.rest(client.call("start_stream", inputs="One"))
        with pytest.raises(errors.ConnectionFailed):
            client.call("start_stream", inputs="Two", store=False)
    assert ["idempotency-key" in asked.headers for asked in server.asked] == [True, False]


def test_what_is_unknown_is_kept(connect: Callable[..., Side]) -> None:
    news = {"type": "conversation.weather", "created_at": AT, "sky": ["blue"]}
    richer = delta("a") | {"mood": "good", "content": {"type": "text", "text": "a", "bold": True}}
    stranger = delta("a") | {"content": {"type": "hologram", "data": 5}}
    odd = {"type": "function.call.delta", "created_at": AT, "id": "fc_1", "name": "f", "tool_call_id": "c",
           "arguments": "", "confirmation_status": "perhaps", "output_index": None}  # fmt: skip
    frames = [RUN, news, richer, stranger, odd, DONE | {"extra": 1}]
    answer = stream(*((f"1-{number}", data) for number, data in enumerate(frames, 1)))
    odd_bytes = Canned(b"event: ping\ndata: no json\n\ndata: 5\n\n" + answer.body, headers=answer.headers)
    with canned(odd_bytes) as server:
        client = connect(server.url)
        ping, five, _, unknown, text, hologram, call, done = client.rest(client.call("start_stream", inputs="Hi"))

    assert (ping.event, ping.data.type, ping.data.raw) == ("ping", "ping", "no json")
    assert (five.event, five.data.raw) == ("message", 5)
    assert isinstance(unknown.data, models.UnknownEvent)
    assert (unknown.data.type, unknown.data.raw, unknown.data.is_unknown) == ("conversation.weather", news, True)
    assert text.data.content == models.TextChunk(text="a")
    assert (hologram.data.id, hologram.data.content.type) == ("msg_1", "hologram")
    assert hologram.data.content.raw == {"type": "hologram", "data": 5}
    assert (call.data.confirmation_status, call.data.output_index) == ("perhaps", None)
    assert (done.data.type, done.data.usage.prompt_tokens) == ("conversation.response.done", 1)
    assert json.loads(unknown.model_dump_json())["data"] == news
    assert json.loads(hologram.model_dump_json())["data"]["content"] == {"type": "hologram", "data": 5}


def test_a_page_is_not_a_stream(connect: Callable[..., Side]) -> None:
    with canned(Canned(b"<html>", headers={"content-type": "text/html"})) as server:
        client = connect(server.url)
        with pytest.raises(errors.ConnectionFailed, match="not with a stream"):
            client.call("start_stream", inputs="Hi")


def test_a_stream_is_a_context_and_ends_when_closed(connect: Callable[..., Side], server_url: str) -> None:
    client = connect(server_url)
    opened = client.call("start_stream", inputs="one two three", model="rehearsal")
    assert client.next(opened).data.type == "conversation.response.started"
    client.hang_up(opened)
    client.hang_up(opened)
    assert client.next(opened) is None
    assert opened.response.is_closed


def test_a_run_can_be_followed_from_the_middle(connect: Callable[..., Side], server_url: str) -> None:
    client = connect(server_url)
    opened = client.call("start_stream", inputs="one two three", model="rehearsal")
    items = client.rest(opened)
    where = {"conversation_id": opened.conversation_id, "run_id": opened.run_id}

    assert client.rest(client.call("follow_run", **where)) == items
    assert client.rest(client.call("follow_run", **where, last_event_id=items[3].id)) == items[4:]
    run = client.call("get_run", **where)
    assert (run.state, run.operation, run.id) == ("done", "start", opened.run_id)
    assert client.call("list_runs", conversation_id=opened.conversation_id).data == [run]
    assert client.call("cancel_run", **where).state == "done"
    assert client.call("cancel", conversation_id=opened.conversation_id).data == []
