"""Calls of the caller's functions are made here, on a loop and in threads; it is loaded when the first one is made."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Coroutine, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from causerie.types.entries import FunctionCallEntry

from .functions import Function, Job, written
from .shapes import Misfit

T = TypeVar("T")


async def perform(jobs: Sequence[Job], most: int) -> list[str | Exception]:
    """Make calls, at most so many at a time; return what each came to, or what it raised.

    One that was given up may go on in its thread; nobody waits for it.
    """
    free = asyncio.Semaphore(most)
    threads = ThreadPoolExecutor(len(jobs), thread_name_prefix="function")

    async def bounded(job: Job) -> str | Exception:
        async with free:
            return await _attempt(job, threads)

    try:
        return await asyncio.gather(*map(bounded, jobs))
    finally:
        threads.shutdown(wait=False, cancel_futures=True)


async def make(function: Function, call: FunctionCallEntry, threads: Executor) -> str:
    """Make a call; return its result as the model reads it. A function that is not async runs in a thread.

    Raises:
        Exception: whatever the function raises.
    """
    arguments = function.arguments(call)
    if inspect.iscoroutinefunction(function.call):
        found = await function.call(**arguments)
    else:
        context = contextvars.copy_context()
        found = await asyncio.wrap_future(threads.submit(context.run, lambda: function.call(**arguments)))
        if inspect.isawaitable(found):  # a partial of an async function, say
            found = await found
    return written(found)


def in_a_loop(work: Coroutine[object, object, T]) -> T:
    """Do async work from sync code, which may itself stand in somebody's running loop; interrupted, it is cancelled."""
    stop: Future[None] = Future()
    with ThreadPoolExecutor(1, thread_name_prefix="functions") as thread:
        try:
            return thread.submit(contextvars.copy_context().run, asyncio.run, _stoppable(work, stop)).result()
        except BaseException:
            stop.set_result(None)
            raise


async def _stoppable(work: Coroutine[object, object, T], stop: Future[None]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)

    def cancel(_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed: the work has ended
            loop.call_soon_threadsafe(task.cancel)

    stop.add_done_callback(cancel)
    return await task


async def awaited(said: Awaitable[T]) -> T:
    """Wait for something, whatever kind it is."""
    return await said


async def _attempt(job: Job, threads: Executor) -> str | Exception:
    limit = asyncio.timeout(job.seconds)
    try:
        async with limit:
            return await make(job.function, job.call, threads)
    except Misfit as error:
        return Misfit(f"The arguments do not fit: {error}")
    except TimeoutError as error:
        return TimeoutError(f"It was given up after {job.seconds:g} seconds.") if limit.expired() else error
    except Exception as error:
        return error
