"""The thread that an engine in process lives on, and how callers of other threads and loops cross to it (D15).

Whoever waits here is a caller: the engine's own loop never does. Nothing of the API is known.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401  # its hook at exit has to be older than ours, see the end
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from typing import Any, Protocol

from causerie.errors import ConnectionFailed

GRACE = 10.0
_LAST_WORDS = 1.0
_CLOSED = "This Causerie is closed, and its engine with it. Make a new one; what was stored is in its file."


class Inhabitant(Protocol):
    """What lives on the thread."""

    async def open(self) -> None:
        """Begin; what this raises, whoever starts the thread is told."""
        ...

    async def close(self, grace: float) -> None:
        """Come to an end within about `grace` seconds."""
        ...


class EngineThread:
    """An event loop on a thread of its own, from the opening of what lives on it to the end of its closing."""

    def __init__(self, inhabitant: Inhabitant) -> None:
        """Start the thread and wait until `inhabitant` is open; raises what opening it raises."""
        self._inhabitant, self._pid = inhabitant, os.getpid()
        # Re-entrant: what the garbage collector finds in the middle of a crossing may have a last word to post.
        self._crossing = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None  # as long as it takes anything
        self._closing = False
        self._stop: asyncio.Future[float] | None = None
        self._opened: Future[None] = Future()
        self._ended: Future[None] = Future()
        # A daemon: should closing hang, the interpreter ends all the same.
        self._thread = threading.Thread(target=self._work, name="causerie-engine", daemon=True)
        self._thread.start()
        self._opened.result()

    def submit(self, work: Callable[[], Coroutine[Any, Any, Any]], *, new: bool) -> Future[Any]:
        """Have a coroutine run there.

        Args:
            new: whether this begins something; what has begun is carried on while the thread is closing.

        Raises:
            ConnectionFailed: there is nobody there any more, or never was: this process is a fork.
        """
        if self.forked:
            raise ConnectionFailed(
                f"This Causerie was opened by process {self._pid}, and process {os.getpid()} is a fork of that one: "
                "the engine stayed there. Open another one here, on another file."
            )
        with self._crossing:
            if self._loop is None or (new and self._closing):
                raise ConnectionFailed(_CLOSED)
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

    def post(self, word: Callable[[], None]) -> None:
        """Have a function called there soon, if there is still somebody there."""
        if self.forked:
            return  # before the lock: who held it when the fork was made is not here to give it back
        with self._crossing:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(word)

    def stop(self, grace: float = GRACE) -> None:
        """Begin to close, and do not wait for it. In a fork there is nothing to close."""
        if self.forked:
            return
        with self._crossing:
            if not self._closing and self._loop is not None and self._stop is not None:
                self._closing = True
                self._loop.call_soon_threadsafe(self._stop.set_result, grace)

    def close(self, grace: float) -> None:
        """Close and wait for it; raises what closing raises."""
        if not self.forked:
            self.stop(grace)
            self._ended.result()

    async def close_async(self, grace: float) -> None:
        """Close and let others run meanwhile."""
        if not self.forked:
            self.stop(grace)
            await landed(self._ended)

    def wait(self, seconds: float) -> None:
        """Wait for the end, however it comes."""
        wait([self._ended], seconds)

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that the thread lives in."""
        return os.getpid() != self._pid

    @property
    def here(self) -> bool:
        """Whether this is the thread."""
        return threading.current_thread() is self._thread

    def _work(self) -> None:
        try:
            asyncio.run(self._live())  # on asyncio's own loop: one of uvloop's brings a fork down when that ends
        except BaseException as error:  # here nobody listens; whoever waits for the thread is told
            told = self._ended if self._opened.done() else self._opened
            told.set_exception(error)
        else:
            self._ended.set_result(None)
        finally:
            _OPEN.discard(self)

    async def _live(self) -> None:
        loop = asyncio.get_running_loop()
        self._stop = loop.create_future()
        await self._inhabitant.open()
        self._loop = loop
        _OPEN.add(self)
        self._opened.set_result(None)
        try:
            await self._inhabitant.close(await self._stop)
        finally:
            with self._crossing:
                self._loop = None
            await _last_words()


async def _last_words() -> None:
    """Let whoever crossed in time have an answer; there is one for everybody, now that all has ended."""
    await asyncio.sleep(0)  # what was submitted last is a task after this
    if others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=_LAST_WORDS)


class Cross:
    """A `Step`: have a coroutine run on the engine's thread; the answer is what it returns.

    Whoever was interrupted while waiting, and takes the step again, waits on for the same.
    """

    def __init__(
        self, thread: EngineThread, work: Callable[[], Coroutine[Any, Any, Any]], seconds: float | None, *, new: bool
    ) -> None:
        """Give up waiting after `seconds`."""
        self._thread, self._work, self._seconds, self._new = thread, work, seconds, new
        self._future: Future[Any] | None = None

    def now(self, http: object) -> Any:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        if self._thread.here:
            raise ConnectionFailed("On the engine's own thread a plain call waits for itself: take the _async one.")
        future = self._begun()
        try:
            answer = future.result(self._seconds)
        except TimeoutError as error:
            raise self._silence() from error
        except CancelledError as error:
            raise ConnectionFailed(_CLOSED) from error
        self._future = None
        return answer

    async def soon(self, http: object) -> Any:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        future = self._begun()
        try:
            async with asyncio.timeout(self._seconds):
                answer = await landed(future)
        except TimeoutError as error:
            raise self._silence() from error
        except CancelledError as error:
            raise ConnectionFailed(_CLOSED) from error
        self._future = None
        return answer

    def _begun(self) -> Future[Any]:
        if self._future is None or self._thread.forked:
            self._future = self._thread.submit(self._work, new=self._new)
        return self._future

    def _silence(self) -> ConnectionFailed:
        return ConnectionFailed(f"There was no answer within {self._seconds:g} seconds (timeout_ms).")


async def landed(future: Future[Any]) -> Any:
    """Wait for a future of another thread. Whoever stops waiting leaves it as it is."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()

    def wake(_: object) -> None:
        with suppress(RuntimeError):  # that loop is closed: nobody waits any more
            loop.call_soon_threadsafe(_release, waiter)

    future.add_done_callback(wake)
    await waiter
    return future.result()


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


_OPEN: set[EngineThread] = set()


def _close_all() -> None:
    left = [*_OPEN]
    for one in left:
        one.stop()
    for one in left:
        one.wait(2 * GRACE)


# The hooks of `atexit` come when threads can be started no more, and a run may need one. Those of `threading` come
# before, newest first: ours has to be younger than the one that ends all executors.
getattr(threading, "_register_atexit", atexit.register)(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_OPEN.clear)
