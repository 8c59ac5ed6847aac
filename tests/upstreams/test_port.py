"""What the port promises of every upstream, whoever answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from typing import Any

import pytest

from causerie.upstreams.base import Delta, FinishDelta, TextDelta, Upstream, UsageDelta
from causerie.upstreams.openai_chat import OpenAIChat
from causerie.upstreams.rehearsal import Rehearsal
from causerie.upstreams.router import Router

Opened = Callable[[], AbstractAsyncContextManager[Upstream]]
WORDS = ["Well", " then", ", ", "hello", "."]


@pytest.fixture(params=["openai_chat", "rehearsal", "router"])
def opened(request: pytest.FixtureRequest, serving: Any, wire: Any) -> Opened:
    """A way to open each upstream; the server behind `openai_chat` answers everything with the same words."""
    usage = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 5}}

    class Server(serving):  # type: ignore[misc]
        """A server that looks whether a stream is asked for."""

        async def _hear(self, *args: Any) -> Any:
            heard = await super()._hear(*args)
            if heard.method == "GET":
                self.answers = [wire.plain({"data": [{"id": "m"}]})]
            elif json.loads(heard.body)["stream"]:
                chunks = [wire.delta(content=word) for word in WORDS]
                frames = [wire.data(chunk, done=False) for chunk in chunks]
                self.answers = [wire.stream(*frames, wire.data(wire.delta("stop"), usage))]
            else:
                self.answers = [wire.plain({**usage, **wire.message(content="".join(WORDS))})]
            return heard

    @asynccontextmanager
    async def opening() -> AsyncIterator[Upstream]:
        async with Server() as server:
            chat = OpenAIChat(server.url)
            upstream: Upstream = {
                "openai_chat": chat,
                "rehearsal": Rehearsal(),
                "router": Router({"m": chat}),
            }[request.param]
            try:
                yield upstream
            finally:
                await upstream.close()
                await chat.close()

    return opening


def flat(batches: list[list[Delta]]) -> list[Delta]:
    return [delta for batch in batches for delta in batch]


def text(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def test_an_answer_ends_with_its_usage_and_its_reason(opened: Opened, run: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with opened() as upstream:
            for streamed in (True, False):
                deltas = flat(await collect(upstream, ask(stream=streamed)))
                assert isinstance(deltas[-2], UsageDelta)
                assert deltas[-1] == FinishDelta("stop")
                assert sum(isinstance(delta, UsageDelta | FinishDelta) for delta in deltas) == 2

    run(scenario())


def test_a_plain_answer_says_what_a_stream_says(opened: Opened, run: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with opened() as upstream:
            streamed = await collect(upstream, ask(stream=True))
            plain = await collect(upstream, ask(stream=False))
            assert len(streamed) > len(plain) == 1
            assert all(streamed)
            assert text(flat(streamed)) == text(flat(plain)) != ""
            assert flat(streamed)[-2:] == flat(plain)[-2:]

    run(scenario())


@pytest.mark.parametrize("prefix", ["Well then", "So: ", "Well then, hello. And more"])
def test_the_text_begins_with_the_prefix_once(opened: Opened, prefix: str, run: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with opened() as upstream:
            for streamed in (True, False):
                messages = [
                    {"role": "user", "content": "Hello"},
                    {"role": "assistant", "content": prefix, "prefix": True},
                ]
                said = text(flat(await collect(upstream, ask(messages, prefix=prefix, stream=streamed))))
                assert said.startswith(prefix)
                assert not said.removeprefix(prefix).startswith(prefix)

    run(scenario())


def test_an_answer_can_be_given_up_and_another_asked_for(opened: Opened, run: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with opened() as upstream:
            async with aclosing(upstream.stream(ask())) as batches:
                assert await anext(batches)
            assert flat(await collect(upstream, ask()))[-1] == FinishDelta("stop")

    run(scenario())


def test_the_models_can_be_asked_for(opened: Opened, run: Any, ask: Any, collect: Any) -> None:
    async def scenario() -> None:
        async with opened() as upstream:
            names = await upstream.models()
            assert names
            assert flat(await collect(upstream, ask(model=names[0])))

    run(scenario())


def test_closing_twice_does_no_harm(opened: Opened, run: Any) -> None:
    async def scenario() -> None:
        async with opened() as upstream:
            await upstream.close()

    run(scenario())
