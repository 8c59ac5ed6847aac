"""What is sent to a moderation server, and what becomes of whatever comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from causerie.errors import APIError, BadRequest, RateLimited, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from causerie.moderation.base import ModerationRequest, Score, Scored
from causerie.moderation.server import SOURCES, ModerationServer
from causerie.types.completion import CATEGORIES

GOOD = b'{"id": "1", "model": "m", "results": [{"category_scores": {"law": 0.25}, "categories": {"law": true}}]}'
Heard = list[tuple[str, dict[str, str], bytes]]


@asynccontextmanager
async def answering(status: int, body: bytes, heard: Heard, **headers: str) -> AsyncIterator[str]:
    """Serve one answer to every request; yield the base URL. A status of 0 hangs up, one of 1 says nothing."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                first, *lines = head.strip().split("\r\n")
                got = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                heard.append((first, got, await reader.readexactly(int(got.get("content-length", "0")))))
                if status == 1:
                    await reader.readexactly(1)
                if status == 0:
                    break
                more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()


def ask(status: int, body: bytes = GOOD, *, heard: Heard | None = None, more: Any = None, **how: Any) -> Scored:
    """Ask a server that answers so; `how` is about the moderator, `more` about the request."""
    headers = how.pop("headers", {})

    async def asking() -> Scored:
        async with answering(status, body, [] if heard is None else heard, **headers) as url:
            moderator = ModerationServer(how.pop("url", url) + how.pop("query", ""), **how)
            request = {"model": "m", "texts": ["Hello"], "categories": frozenset(CATEGORIES)} | (more or {})
            try:
                return await asyncio.wait_for(moderator.score(ModerationRequest(**request)), 10)
            finally:
                await moderator.close()

    running: Callable[[Coroutine[Any, Any, Scored]], Scored] = asyncio.run
    return running(asking())


def test_texts_go_out_with_the_model_and_the_key() -> None:
    heard: Heard = []
    scored = ask(200, heard=heard, api_key="secret-key", query="/?tenant=a")
    (first, headers, body), *_ = heard

    assert scored.results == [{"law": Score(0.25, flagged=True)}]
    assert first == "POST /v1/moderations?tenant=a HTTP/1.1"
    assert headers["authorization"] == "Bearer secret-key"
    assert headers["content-type"] == "application/json"
    assert json.loads(body) == {"model": "m", "input": ["Hello"]}


def test_a_model_of_its_own_is_asked_for() -> None:
    heard: Heard = []
    ask(200, heard=heard, model="omni")
    assert json.loads(heard[0][2])["model"] == "omni"
    assert not ModerationServer("http://127.0.0.1:1/v1", model="omni").offered.by_model
    assert ModerationServer("http://127.0.0.1:1/v1").offered == (frozenset(CATEGORIES), True)


def test_a_long_text_goes_out_whole() -> None:
    heard: Heard = []
    ask(200, heard=heard, more={"texts": ["x" * 3_000_000]})
    assert len(json.loads(heard[0][2])["input"][0]) == 3_000_000


def test_every_category_has_its_sources() -> None:
    assert tuple(sorted(SOURCES)) == tuple(sorted(CATEGORIES))
    assert all(category == sources[0] for category, sources in SOURCES.items())


@pytest.mark.parametrize(
    ("result", "score"),
    [
        ({"category_scores": {"law": 0.5}}, Score(0.5, flagged=True)),
        ({"category_scores": {"law": 0.49}}, Score(0.49, flagged=False)),
        ({"categories": {"law": True}}, Score(1.0, flagged=True)),
        ({"categories": {"law": False}}, Score(0.0, flagged=False)),
        ({"category_scores": {"law": 0.5, "pii": None}, "categories": {"law": None}}, Score(0.5, flagged=True)),
        ({"category_scores": {"law": None}, "categories": {"law": True, "pii": None}}, Score(1.0, flagged=True)),
        ({"category_scores": {"law": 1}, "categories": {"law": False}, "flagged": False}, Score(1.0, flagged=False)),
    ],
)
def test_what_a_result_leaves_out_is_taken_from_the_rest(result: dict[str, Any], score: Score) -> None:
    assert ask(200, json.dumps({"results": [result]}).encode()).results == [{"law": score}]


@pytest.mark.parametrize(
    ("status", "kind", "what"),
    [
        (400, BadRequest, "refused the text"), (413, BadRequest, "refused the text"),
        (422, BadRequest, "refused the text"), (401, UpstreamError, "refused this server's own credentials"),
        (403, UpstreamError, "refused this server's own credentials"), (408, UpstreamTimeout, "did not answer in time"),
        (504, UpstreamTimeout, "did not answer in time"), (429, RateLimited, "asks for patience"),
        (503, UpstreamUnavailable, "is not available"), (500, UpstreamError, "failed"), (302, UpstreamError, "failed"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "with the secret-key\\n no"}}', b'{"message": "with the secret-key no"}',
        b'{"detail": "with the secret-key no"}', b"with the secret-key  no",
    ],
)  # fmt: skip
def test_a_refusal_says_who_and_why_but_not_the_key(status: int, kind: type[APIError], what: str, body: bytes) -> None:
    with pytest.raises(kind) as error:
        ask(status, body, api_key="secret-key", name="guard", headers={"Location": "http://127.0.0.1:9"})

    assert type(error.value) is kind
    assert error.value.message == f"The moderation server guard {what} ({status}): with the *** no"


@pytest.mark.parametrize(("status", "given", "told"), [(429, "7", "7"), (429, None, None), (503, None, "1")])
def test_patience_is_handed_on(status: int, given: str | None, told: str | None) -> None:
    with pytest.raises(APIError) as error:
        ask(status, b"", headers={"Retry_After": given} if given else {})

    assert error.value.headers.get("Retry-After") == told
    assert error.value.message.endswith("without saying why")


def test_a_long_refusal_is_cut() -> None:
    with pytest.raises(UpstreamError) as error:
        ask(500, b"x" * 10_000)
    assert len(error.value.message) < 700


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_the_path_scores_nothing_and_says_so(status: int) -> None:
    scored = ask(status, b'{"detail": "Not Found"}', name="guard", more={"texts": ["a", "b"]})
    assert scored.results == [{}, {}]
    assert scored.why == f"the moderation server guard answers moderations with {status} (Not Found)"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"nonsense", "no moderation"), (b'{"results": []}', "0 results for 1 texts"),
        (b'{"results": [{}, {}]}', "2 results for 1 texts"), (b'{"results": {}}', "no moderation"),
        (b'{"results": [{"category_scores": {"law": 1.01}}]}', "between 0 and 1"),
        (b'{"results": [{"category_scores": {"law": -1}}]}', "between 0 and 1"), (b"\xff", "no moderation"),
        (b"[" * 100_000, "no moderation"),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_broken(body: bytes, why: str) -> None:
    with pytest.raises(UpstreamError, match=why) as error:
        ask(200, body)
    assert "gave a broken answer" in error.value.message


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(UpstreamUnavailable, match="cannot be reached") as error:
        ask(200, url="http://127.0.0.1:9/v1")
    assert error.value.headers == {"Retry-After": "1"}
    with pytest.raises(UpstreamUnavailable, match="cannot be reached"):
        ask(0)


def test_silence_is_borne_so_long() -> None:
    with pytest.raises(UpstreamTimeout, match=r"took more than 0\.05 s"):
        ask(1, seconds=0.05)


def test_chats_are_sent_as_chats_and_as_texts_where_nobody_reads_them() -> None:
    heard: Heard = []
    chats = b'[[{"role":"user","content":"Hello"}]]'
    ask(200, heard=heard, more={"chats": chats})
    assert [first for first, _, _ in heard] == ["POST /v1/chat/moderations HTTP/1.1"]
    assert json.loads(heard[0][2])["input"] == json.loads(chats)

    heard.clear()
    scored = ask(404, b"", heard=heard, more={"chats": chats})
    assert [first.split()[1] for first, _, _ in heard] == ["/v1/chat/moderations", "/v1/moderations"]
    assert scored.results == [{}]
