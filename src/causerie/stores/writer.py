"""One thread that writes, with group commit: whatever waits when it is free goes into one transaction.

A job is a function of the connection. Each runs in a savepoint of its own, so that one that fails takes nothing
else with it, and its caller learns of it; nobody is told anything before the transaction is on disk (D14).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

from causerie.errors import StoreUnavailable

from .sqlite_file import TROUBLE, unavailable

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]

_MOST = 256  # jobs in one transaction: past this a longer wait buys nothing


class _Waiting(NamedTuple):
    job: Job[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


class Writer:
    """Runs jobs on a connection that only its own thread ever touches."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        """Take the function that opens the connection; it is called in the thread."""
        self._connect = connect
        self._queue: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="causerie-writer", daemon=True)
        self._ended = False

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, job: Job[T]) -> asyncio.Future[T]:
        """Queue `job`; the future is done when what it wrote is durable.

        Raises (in the future):
            StoreUnavailable: the database refused; nothing of the job is stored.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if self._ended:
            future.set_exception(StoreUnavailable("The store is closed."))
        else:
            self._queue.put(_Waiting(job, loop, future))
        return future

    async def close(self) -> None:
        """Finish what was submitted, then end the thread."""
        self._ended = True
        self._queue.put(None)
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    def _work(self) -> None:
        connection: sqlite3.Connection | None = None
        while (first := self._queue.get()) is not None:
            batch, last = [first], False
            while len(batch) < _MOST and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    last = True
                    break
                batch.append(item)
            try:
                connection = connection or self._connect()
                answers = _transaction(connection, [item.job for item in batch])
            except Exception as error:
                answers = [unavailable(error) if isinstance(error, TROUBLE) else error] * len(batch)
            _tell(batch, answers)
            if last:
                break
        if connection is not None:
            connection.close()


def _transaction(connection: sqlite3.Connection, jobs: list[Job[Any]]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # A savepoint costs two statements; alone in its transaction a job does not need one.
        answers = [_run(connection, job) for job in jobs] if len(jobs) > 1 else [jobs[0](connection)]
    except BaseException as error:
        connection.rollback()
        return [unavailable(error) if isinstance(error, TROUBLE) else error] * len(jobs)
    try:
        connection.execute("COMMIT")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.rollback()
        raise
    return answers


def _run(connection: sqlite3.Connection, job: Job[Any]) -> Any:
    connection.execute("SAVEPOINT job")
    try:
        answer = job(connection)
    except Exception as error:
        # A full disk ends the whole transaction by itself: then there is no savepoint left to go back to.
        if not connection.in_transaction:
            raise
        connection.execute("ROLLBACK TO job")
        answer = unavailable(error) if isinstance(error, TROUBLE) else error
    connection.execute("RELEASE job")
    return answer


def _tell(batch: list[_Waiting], answers: list[Any]) -> None:
    # One wake-up of the loop for the whole batch; there is more than one loop only in tests.
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for item, answer in zip(batch, answers, strict=True):
        loops.setdefault(item.loop, []).append((item.future, answer))
    for loop, pairs in loops.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, pairs)


def _resolve(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue  # its caller was cancelled; the work is done all the same
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
