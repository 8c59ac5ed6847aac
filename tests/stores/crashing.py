"""Stories of a process that dies in the middle of its work: ``python -m tests.stores.crashing PATH STORY``.

What a story has awaited is durable; what it has not is anybody's guess, so a story awaits everything and then dies.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable

from causerie.stores.base import Store
from causerie.stores.sqlite import SQLiteStore

from .rows import END, HERE, PROGRESS, began, branch, conversation, entries, next_run

Story = Callable[[Store], Awaitable[None]]


async def in_a_start(store: Store) -> None:
    """A start that does not stream."""
    key = await store.begin(began(conversation(), entries(0, 1)))
    await store.journal(key, entries(1, 2), PROGRESS)


async def in_a_streamed_start(store: Store) -> None:
    """A start that streams: its id has left already."""
    key = await store.begin(began(conversation(), entries(0, 1), announced=True))
    await store.journal(key, entries(1, 2), PROGRESS)


async def after_a_start(store: Store) -> None:
    """A start that was done."""
    key = await store.begin(began(conversation(), entries(0, 1)))
    await store.commit(key, entries(1, 2), start=0, head=2, end=END)


async def in_an_append(store: Store) -> None:
    """An append after a start that was done."""
    await after_a_start(store)
    row = await store.load(HERE, "conv_a")
    key = await store.begin(next_run(row, entries(2, 3)))
    await store.journal(key, entries(3, 5), PROGRESS)


async def in_a_restart(store: Store) -> None:
    """A restart that does not stream."""
    await after_a_start(store)
    row = await store.load(HERE, "conv_a")
    await store.begin(branch(row, 1, written=entries(1, 2, "conv_b")))


async def in_a_restart_of_what_was_deleted(store: Store) -> None:
    """A restart whose ground was deleted while it ran."""
    await in_a_restart(store)
    await store.delete(HERE, "conv_a", END.ended_at)


async def in_an_append_to_what_was_deleted(store: Store) -> None:
    """An append to a conversation that was deleted while it ran, with a branch on it."""
    await after_a_start(store)
    row = await store.load(HERE, "conv_a")
    key = await store.begin(branch(row, 1))
    await store.commit(key, entries(1, 2, "conv_b"), start=1, head=2, end=END)
    await store.begin(next_run(row, entries(2, 3)))
    await store.delete(HERE, "conv_a", END.ended_at)


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        in_a_start,
        in_a_streamed_start,
        after_a_start,
        in_an_append,
        in_a_restart,
        in_a_restart_of_what_was_deleted,
        in_an_append_to_what_was_deleted,
    )
}


async def tell(path: str, story: str) -> None:
    """Tell a story, then die as by `kill -9`."""
    store = SQLiteStore(path)
    await store.open("own_crashed")
    await STORIES[story](store)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(tell(*sys.argv[1:]))
