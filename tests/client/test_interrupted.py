"""Whoever waits for an event may be interrupted; who then reads on misses nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest

from causerie.client import Mistral
from causerie.client.wire import Close, Next, Pause, Send


def names(kinds: list[Any]) -> str:
    """Name kinds of steps."""
    return "-".join(["Next", *(kind.__name__ for kind in kinds)])


def interrupting(monkeypatch: pytest.MonkeyPatch, kind: Any) -> list[Any]:
    """Have the next step of this kind interrupted, once, before it is taken; return what to put something into then."""
    real, due = kind.now, list[Any]()

    def now(self: Any, http: Any) -> Any:
        if due:
            due.clear()
            raise KeyboardInterrupt
        return real(self, http)

    monkeypatch.setattr(kind, "now", now)
    return due


@pytest.mark.parametrize("also", [[], [Close], [Pause], [Send], [Close, Pause, Send]], ids=names)
def test_a_key_was_pressed(server_url: str, monkeypatch: pytest.MonkeyPatch, also: list[Any]) -> None:
    with Mistral(server_url=server_url) as mistral:
        conversations = mistral.beta.conversations
        list(conversations.start_stream(inputs="The server is known to honour keys now.", model="rehearsal"))
        stream = conversations.start_stream(inputs="one two", model="rehearsal")
        for due in [interrupting(monkeypatch, kind) for kind in [Next, *also]]:
            due.append("interrupted")
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
