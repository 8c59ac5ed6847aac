"""The run log: one writer, any number of readers, and nobody waits for anybody (D2)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest

from causerie.engine.runlog import Cursor, Reader, RunLog
from causerie.stores.base import BEYOND
from causerie.types.events import Event, MessageOutputEvent, ResponseDoneEvent, ResponseErrorEvent, ResponseStartedEvent
from causerie.types.responses import ConversationUsageInfo

AT = datetime(2025, 3, 1, 12, 0, 0, 1, UTC)
STARTED: Event = ResponseStartedEvent(created_at=AT, conversation_id="conv_1")
DONE: Event = ResponseDoneEvent(created_at=AT, usage=ConversationUsageInfo())
FAILED: Event = ResponseErrorEvent(created_at=AT, message="Broken.", code=502)
PATIENCE = 10.0
FOR_EVER = 3600.0


def piece(text: str, of: str = "msg_1") -> Event:
    """A piece of a message."""
    return MessageOutputEvent(created_at=AT, id=of, content=text)


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a test on a loop, for a bounded time."""
    asyncio.run(asyncio.wait_for(test(), PATIENCE))


async def batch(reader: Reader, silence: float | None = None) -> list[Event]:
    """Read a batch; look at the events alone."""
    return [event for _, event in await reader.batch(silence)]


async def all_of(reader: Reader) -> list[list[Event]]:
    """Read to the end, batch by batch."""
    found = []
    while not reader.ended:
        found.append(await batch(reader))
    return found


async def waiting(read: Coroutine[Any, Any, list[Event]]) -> asyncio.Task[list[Event]]:
    """Return a reading that has come to where it waits."""
    task = asyncio.create_task(read)
    await asyncio.sleep(0)
    assert not task.done()
    return task


def test_what_is_there_is_one_batch() -> None:
    async def test() -> None:
        log = RunLog()
        log.append([STARTED])
        log.append([piece("a"), piece("b")])
        reader = log.reader()
        assert await batch(reader) == [STARTED, piece("a"), piece("b")]
        log.append([DONE])
        assert not reader.ended
        assert await batch(reader) == [DONE]
        assert reader.ended

    run(test)


@pytest.mark.parametrize("last", [DONE, FAILED])
def test_the_last_event_ends_the_log(last: Event) -> None:
    async def test() -> None:
        log = RunLog()
        reader = log.reader()
        log.append([STARTED, last])
        assert log.ended
        assert await all_of(reader) == [[STARTED, last]]
        assert await batch(reader) == []

    run(test)


def test_a_reader_waits_for_more_and_gets_it_at_once() -> None:
    async def test() -> None:
        log = RunLog()
        reader = log.reader()
        read = await waiting(batch(reader))
        log.append([STARTED])
        assert await read == [STARTED]
        read = await waiting(batch(reader, FOR_EVER))
        log.append([piece("a"), piece("b")])
        assert await read == [piece("a"), piece("b")]

    run(test)


def test_nothing_appended_wakes_nobody() -> None:
    async def test() -> None:
        log = RunLog()
        read = await waiting(batch(log.reader()))
        log.append([])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not read.done()
        log.append([STARTED])
        assert await read == [STARTED]

    run(test)


def test_silence_is_an_empty_batch() -> None:
    async def test() -> None:
        log = RunLog()
        reader = log.reader()
        assert await batch(reader, 0.0) == []
        assert not reader.ended
        log.append([STARTED])
        assert await batch(reader, FOR_EVER) == [STARTED]
        assert await batch(reader, 0.0) == []
        log.append([DONE])
        assert await batch(reader, 0.0) == [DONE]

    run(test)


def test_a_late_reader_reads_from_the_start_and_one_that_comes_back_from_where_it_was() -> None:
    async def test() -> None:
        log = RunLog()
        events = [STARTED, piece("a"), piece("b"), DONE]
        log.append(events)
        for after in range(5):
            reader = log.reader(after)
            assert reader.ended is (after == 4)
            assert await batch(reader) == events[after:]

    run(test)


def test_readers_do_not_disturb_each_other() -> None:
    async def test() -> None:
        log = RunLog()
        quick, slow = log.reader(), log.reader()
        read = asyncio.create_task(all_of(quick))
        for event in (STARTED, piece("a"), DONE):
            log.append([event])
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert await read == [[STARTED], [piece("a")], [DONE]]
        assert await all_of(slow) == [[STARTED, piece("a"), DONE]]

    run(test)


def test_a_reader_that_leaves_waits_no_longer() -> None:
    async def test() -> None:
        log = RunLog()
        leaving, staying = log.reader(), log.reader()
        left, stayed = await waiting(batch(leaving)), await waiting(batch(staying))
        leaving.leave()
        assert await left == []
        assert leaving.ended
        assert not stayed.done()
        log.append([STARTED])
        assert await stayed == [STARTED]

    run(test)


def test_a_reader_may_leave_before_it_waits() -> None:
    async def test() -> None:
        reader = RunLog().reader()
        reader.leave()
        assert reader.ended
        assert await batch(reader) == []

    run(test)


def test_a_reader_that_is_cancelled_is_forgotten() -> None:
    async def test() -> None:
        log = RunLog()
        reader = log.reader()
        read = await waiting(batch(reader, FOR_EVER))
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
        log.append([STARTED, DONE])
        assert await all_of(reader) == [[STARTED, DONE]]

    run(test)


def test_a_log_can_end_without_a_last_event() -> None:
    async def test() -> None:
        log = RunLog()
        read = await waiting(batch(log.reader()))
        log.end()
        assert await read == []
        assert log.ended
        assert log.reader().ended

    run(test)


@pytest.mark.parametrize(
    "cursor", [Cursor(1, 0), Cursor(3, 17), Cursor(3, 17, ("msg_1",)), Cursor(12, 2**62, ("msg_1", "tool_exec_2"))]
)
def test_a_cursor_reads_back_as_it_was_written(cursor: Cursor) -> None:
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text", ["", "7", "-", "1-", "-1", "a-1", "1-b", "1--1", "1-1-1", "+1-1", "\u0661-1", " 1-1", "1_0-1"]
)
def test_what_is_no_cursor_is_not_taken_for_one(text: str) -> None:
    assert Cursor.parse(text) is None


def test_a_cursor_names_what_has_begun_and_is_not_durable() -> None:
    async def test() -> None:
        log = RunLog(epoch=3)
        reader = log.reader()
        log.append([STARTED, piece("a"), piece("b"), piece("c", "msg_2")])
        assert [cursor for cursor, _ in await reader.batch()] == ["3-1", "3-2.msg_1", "3-3.msg_1", "3-4.msg_1.msg_2"]
        log.settle()
        log.append([piece("d", "msg_3"), piece("e", "msg_3")])
        assert [cursor for cursor, _ in await reader.batch()] == ["3-5.msg_3", "3-6.msg_3"]
        log.settle()
        log.append([DONE])
        assert [cursor for cursor, _ in await reader.batch()] == [f"3-{BEYOND}"], "behind all, whoever comes back"

    run(test)


def test_a_cursor_is_the_same_for_one_that_comes_back_there() -> None:
    async def test() -> None:
        log = RunLog(epoch=3)
        log.append([STARTED, piece("a"), piece("b"), piece("c", "msg_2"), piece("d", "msg_3")])
        whole = await log.reader().batch()
        for after in range(1, 5):
            assert await log.reader(after).batch() == whole[after:]

    run(test)
