"""What goes wrong with a model server, and the error that the caller gets for it."""

from __future__ import annotations

import asyncio
import re
import socket
from contextlib import aclosing
from typing import Any

import pytest

from causerie.errors import (
    APIError,
    BadRequest,
    RateLimited,
    SettingsError,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from causerie.upstreams.base import TextDelta
from causerie.upstreams.openai_chat import OpenAIChat
from causerie.upstreams.trouble import Trouble

CONTEXT = {
    "error": {"message": "This model's maximum context length is 4096 tokens.", "code": "context_length_exceeded"}
}
NO_MODEL = {"object": "error", "message": "The model `m` does not exist.", "type": "NotFoundError", "code": 404}


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "code", "said"),
    [
        (400, {}, CONTEXT, BadRequest, 3230, "maximum context length"),
        (422, {}, {"detail": [{"loc": ["body", "x"], "msg": "bad"}]}, BadRequest, 3230, '"msg": "bad"'),
        (413, {}, b"too large", BadRequest, 3230, "too large"),
        (404, {}, NO_MODEL, BadRequest, 3003, "does not exist"),
        (404, {}, {"error": {"message": 'model "m" not found, try pulling it first'}}, BadRequest, 3003, "pulling"),
        (
            400,
            {},
            {"object": "error", "message": "Invalid model: m", "code": "1500"},
            BadRequest,
            3003,
            "Invalid model: m",
        ),
        (400, {}, {"error": {"message": "m", "code": "model_not_found"}}, BadRequest, 3003, "m"),
        (404, {}, {"detail": "Not Found"}, UpstreamError, 3000, "base URL"),
        (404, {}, b"404 page not found", UpstreamError, 3000, "base URL"),
        (405, {}, b"", UpstreamError, 3000, "base URL"),
        (401, {}, {"message": "Unauthorized"}, UpstreamError, 3000, "this server's own upstream credentials"),
        (403, {}, {"error": "nope"}, UpstreamError, 3000, "this server's own upstream credentials"),
        (429, {"Retry-After": "17"}, {"error": {"message": "slow down"}}, RateLimited, 1300, "slow down"),
        (500, {}, b"<html>\n  <h1>Oops</h1>\n</html>", UpstreamError, 3000, "<html> <h1>Oops</h1> </html>"),
        (502, {}, b"", UpstreamError, 3000, "without saying why"),
        (503, {}, {"error": {"message": "Loading model", "code": 503}}, UpstreamUnavailable, 3000, "Loading model"),
        (504, {}, b"gateway", UpstreamTimeout, 3000, "gateway"),
        (408, {}, b"late", UpstreamTimeout, 3000, "late"),
        (402, {}, {"message": "pay"}, UpstreamError, 3000, "pay"),
        (307, {"Location": "https://elsewhere/v1"}, b"", UpstreamError, 3000, "https://elsewhere/v1"),
    ],
)
def test_a_status_becomes_our_error(
    status: int,
    headers: dict[str, str],
    body: Any,
    kind: type[APIError],
    code: int,
    said: str,
    run: Any,
    serving: Any,
    wire: Any,
    ask: Any,
    collect: Any,
) -> None:
    async def scenario() -> None:
        async with serving(wire.plain(body, status, **{k.replace("-", "_"): v for k, v in headers.items()})) as server:
            upstream = OpenAIChat(server.url, name="gpu-1")
            with pytest.raises(kind) as caught:
                await collect(upstream, ask())
            await upstream.close()
        assert type(caught.value) is kind
        assert caught.value.code == code
        assert said in caught.value.message
        assert f"({status})" in caught.value.message
        assert "The upstream gpu-1 " in caught.value.message

    run(scenario())


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (429, {"Retry-After": "17"}, {"Retry-After": "17"}),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        (429, {"retry-after-ms": "1200"}, {"Retry-After": "2"}),
        (429, {"Retry-After": "\udcff"}, {}),
        (429, {"retry-after-ms": "inf"}, {}),
        (429, {}, {}),
        (503, {"Retry-After": "9"}, {"Retry-After": "9"}),
        (503, {}, {"Retry-After": "1"}),
        (500, {"Retry-After": "9"}, {}),
    ],
)
def test_patience_is_handed_on(status: int, headers: dict[str, str], expected: dict[str, str]) -> None:
    assert Trouble("u").status(status, headers, b"{}").headers == expected


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"message": "x", "code": 429}, 429),
        ({"message": "x", "type": "rate_limit_error"}, 429),
        ({"message": "x", "type": "invalid_request_error", "code": "context_length_exceeded"}, 400),
        ({"message": "x", "type": "invalid_request_error", "code": "invalid_api_key"}, 502),
        ({"message": "x", "type": "exceed_context_size_error"}, 400),
        ({"message": "x", "type": "overloaded_error"}, 503),
        ({"message": "The model m does not exist", "code": 404}, 400),
        ({"message": "x", "code": "99999999999999999999"}, 502),
        ("x", 502),
        (["x"], 502),
    ],
)
def test_an_error_object_without_a_status_is_sorted_by_what_it_says(error: Any, status: int) -> None:
    found = Trouble("u").reported({"error": error})
    assert (found.status_code, "x" in found.message or "m does" in found.message) == (status, True)


def test_the_key_and_long_messages_do_not_leave() -> None:
    trouble = Trouble("u", "sk-s3cret")
    message = trouble.status(401, {}, b'{"error":"Incorrect API key sk-s3cret"}').message
    assert "sk-s3cret" not in message
    assert "Incorrect API key ***" in message
    assert "Incorrect" in Trouble("u", "rec").status(401, {}, b'{"error":"Incorrect"}').message
    assert len(trouble.status(500, {}, b"x" * 10_000).message) < 600
    assert "sk-s3cret" not in trouble.status(500, {}, b"x" * 497 + b"sk-s3cret").message


def test_nobody_there_is_unavailable(run: Any, ask: Any, collect: Any) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"

        async def scenario() -> None:
            upstream = OpenAIChat(url)
            with pytest.raises(UpstreamUnavailable, match=re.escape(f"upstream {url} cannot be reached")) as caught:
                await collect(upstream, ask())
            assert caught.value.headers == {"Retry-After": "1"}
            assert await upstream.models() == []
            await upstream.close()

        run(scenario())


def test_a_connection_lost_before_the_answer_is_unavailable(
    run: Any, serving: Any, wire: Any, ask: Any, collect: Any
) -> None:
    async def scenario() -> None:
        async with serving([wire.ABORT]) as server:
            upstream = OpenAIChat(server.url)
            with pytest.raises(UpstreamUnavailable):
                await collect(upstream, ask())
            await upstream.close()

    run(scenario())


@pytest.mark.parametrize("streamed", [True, False])
def test_a_connection_lost_in_the_answer_is_a_broken_answer(
    streamed: bool, run: Any, serving: Any, wire: Any, ask: Any, collect: Any
) -> None:
    async def scenario() -> None:
        part = wire.stream(wire.data(wire.delta(content="Hi"), done=False), wire.ABORT)
        cut = [wire.plain(wire.message(content="Hi"))[0][:-9], wire.ABORT]
        async with serving(part if streamed else cut) as server:
            upstream = OpenAIChat(server.url)
            with pytest.raises(UpstreamError, match="broke off") as caught:
                await collect(upstream, ask(stream=streamed))
            assert type(caught.value) is UpstreamError
            await upstream.close()

    run(scenario())


def test_a_connection_lost_after_the_finish_reason_has_lost_nothing(
    run: Any, serving: Any, wire: Any, ask: Any, collect: Any
) -> None:
    async def scenario() -> None:
        body = wire.data(wire.delta(content="Hi"), wire.delta("stop"), done=False)
        async with serving(wire.stream(body, wire.ABORT)) as server:
            upstream = OpenAIChat(server.url)
            batches = await collect(upstream, ask())
            assert batches[0] == [TextDelta("Hi")]
            await upstream.close()

    run(scenario())


@pytest.mark.parametrize("begun", [False, True])
def test_silence_is_a_timeout(begun: bool, run: Any, serving: Any, wire: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        steps = wire.stream(wire.data(wire.delta(content="Hi"), done=False), wire.HANG) if begun else [wire.HANG]
        async with serving(steps) as server:
            upstream = OpenAIChat(server.url, read_timeout=0.1)
            with pytest.raises(UpstreamTimeout, match="was silent for 0\\.1 seconds"):
                await collect(upstream, ask())
            await server.gone.wait()
            await upstream.close()

    run(scenario())


@pytest.mark.parametrize("answer", [b"NOT HTTP AT ALL\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"])
def test_what_is_not_http_is_a_broken_answer(answer: bytes, run: Any, serving: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with serving([answer]) as server:
            upstream = OpenAIChat(server.url)
            with pytest.raises(UpstreamError) as caught:
                await collect(upstream, ask())
            assert type(caught.value) is UpstreamError
            await upstream.close()

    run(scenario())


@pytest.mark.parametrize("way", ["close", "cancel", "cancel before the answer"])
def test_giving_up_closes_the_connection_at_once(way: str, run: Any, serving: Any, wire: Any, ask: Any) -> None:
    async def scenario() -> None:
        silent = way == "cancel before the answer"
        steps = [wire.HANG] if silent else wire.stream(wire.data(wire.delta(content="Hi"), done=False), wire.HANG)
        async with serving(steps) as server:
            upstream = OpenAIChat(server.url)
            begun = asyncio.Event()

            async def follow() -> None:
                async with aclosing(upstream.stream(ask())) as batches:
                    async for _ in batches:
                        begun.set()
                        if way == "close":
                            return

            task = asyncio.create_task(follow())
            await (server.asked if silent else begun).wait()
            if way != "close":
                task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() == (way != "close")
            # The upstream is still open here: the server can only have learnt of it from the connection.
            await asyncio.wait_for(server.gone.wait(), 5)
            await upstream.close()

    run(scenario())


def test_a_connection_is_used_again_after_a_whole_answer(
    run: Any, serving: Any, wire: Any, ask: Any, collect: Any
) -> None:
    async def scenario() -> None:
        stream = wire.stream(wire.data(wire.delta(content="Hi"), wire.delta("stop")))
        late = [b"".join(stream[:-1]), stream[-1]]  # the end of the body comes after the sentinel was read
        async with serving(stream, late, wire.plain(wire.message(content="Hi")), wire.plain({}, 500), stream) as server:
            upstream = OpenAIChat(server.url)
            for streamed in (True, True, False):
                await collect(upstream, ask(stream=streamed))
            with pytest.raises(UpstreamError):
                await collect(upstream, ask())
            await collect(upstream, ask())
            await upstream.close()
        assert [heard.connection for heard in server.requests] == [1, 1, 1, 1, 1]

    run(scenario())


def test_a_server_that_keeps_the_body_open_after_the_sentinel_is_left(
    run: Any, serving: Any, wire: Any, ask: Any, collect: Any
) -> None:
    async def scenario() -> None:
        body = wire.data(wire.delta(content="Hi"), wire.delta("stop"))
        async with serving(wire.stream(body, wire.HANG)) as server:
            upstream = OpenAIChat(server.url)
            batches = await collect(upstream, ask())
            assert batches[0][0] == TextDelta("Hi")
            await server.gone.wait()
            await upstream.close()

    run(scenario())


@pytest.mark.parametrize(
    "answer",
    [
        ({"error": "offline"}, 500),
        ({"data": "none"}, 200),
        (b"<html>", 200),
        (b"[" * 100_000, 200),
    ],
)
def test_an_odd_list_of_models_is_an_empty_one(answer: Any, run: Any, serving: Any, wire: Any) -> None:
    async def scenario() -> None:
        async with serving(wire.plain(*answer)) as server:
            plain, named = OpenAIChat(server.url), OpenAIChat(server.url, model_names={"mine": "theirs"})
            assert await plain.models() == []
            assert await named.models() == ["mine"]
            await plain.close()
            await named.close()

    run(scenario())


def test_the_models_of_the_server_follow_the_configured_names(run: Any, serving: Any, wire: Any) -> None:
    async def scenario() -> None:
        listed = {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}, {"id": "mine"}]}
        async with serving(wire.plain(listed)) as server:
            upstream = OpenAIChat(server.url, "sk-s3cret", model_names={"mine": "a"})
            assert await upstream.models() == ["mine", "a", "b"]
            await upstream.close()
            await upstream.close()
        assert (server.requests[0].method, server.requests[0].path) == ("GET", "/v1/models")
        assert server.requests[0].headers["authorization"] == "Bearer sk-s3cret"

    run(scenario())


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("127.0.0.1:8000/v1", None, "must begin with http"),
        ("ftp://host/v1", None, "must begin with http"),
        ("http:///v1", None, "name a host"),
        ("http://[::1/v1", None, "cannot be used"),
        ("http://me:pass@host/v1", None, "give it a key instead"),
        ("http://host/v1", "a\nb", "cannot be sent"),
    ],
)
def test_what_cannot_be_an_upstream_is_refused_at_once(url: str, key: str | None, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        OpenAIChat(url, key)
    assert "pass@" not in caught.value.message
    assert "a\nb" not in caught.value.message
