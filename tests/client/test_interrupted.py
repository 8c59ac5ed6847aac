"""Whoever waits for an event may be interrupted; who then reads on misses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from causerie.client import Mistral
from causerie.client.wire import Next


def test_a_key_was_pressed(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real, reads = Next.now, 0

    def interrupted(self: Next, http: Any) -> bytes | None:
        nonlocal reads
        reads += 1
        if reads == 1:
            raise KeyboardInterrupt
        return real(self, http)

    monkeypatch.setattr(Next, "now", interrupted)
    with Mistral(server_url=server_url) as mistral:
        conversations = mistral.beta.conversations
        reads = 1  # the server is known to honour keys after this one
        list(conversations.start_stream(inputs="Known now.", model="rehearsal"))
        reads = 0
        stream = conversations.start_stream(inputs="one two", model="rehearsal")
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        items = list(stream)
        where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
        assert items == list(conversations.follow_run(**where))


def test_a_wait_was_cancelled(server_url: str) -> None:
    async def scene() -> None:
        async with Mistral(server_url=server_url) as mistral:
            conversations = mistral.beta.conversations
            stream = await conversations.start_stream_async(inputs="one two three", model="rehearsal")
            items = [await anext(stream)]
            for turns in range(6):
                waiting = asyncio.ensure_future(anext(stream))
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiting.cancel()
                try:
                    items.append(await waiting)
                except asyncio.CancelledError:
                    continue
            items += [item async for item in stream]
            where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
            assert items == [item async for item in await conversations.follow_run_async(**where)]

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_another_thread_hung_up_while_this_one_was_reading(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Mistral(server_url=server_url) as mistral:
        stream = mistral.beta.conversations.start_stream(inputs="one two", model="rehearsal")

        def hung_up(_: Next, __: Any) -> bytes | None:
            stream.close()
            raise httpx2.ReadError("Bad file descriptor")

        monkeypatch.setattr(Next, "now", hung_up)
        assert list(stream) == []
