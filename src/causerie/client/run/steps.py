"""What a run does to the outside world, each thing in two ways: now (sync) and soon (async).

The loop is a generator of such steps and is written once; `pull` and `pull_async` carry them out and know nothing
about them, as `client/wire.py` does for requests. The generator hands out events as lists.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Awaitable, Coroutine, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from causerie.errors import CauserieError
from causerie.types.entries import FunctionCallEntry

from .approval import Approve
from .functions import Function, attempt, together
from .result import RunResult

T = TypeVar("T")


class Step(Protocol):
    """One thing to do."""

    def now(self, conversations: Any) -> Any:
        """Do it, waiting for it."""
        ...

    async def soon(self, conversations: Any) -> Any:
        """Do it, letting others run meanwhile."""
        ...


class Ask(NamedTuple):
    """Call an operation of the conversations; the answer is what it returns."""

    operation: str
    arguments: dict[str, Any]

    def now(self, conversations: Any) -> Any:
        """See `Step`."""
        return getattr(conversations, self.operation)(**self.arguments)

    async def soon(self, conversations: Any) -> Any:
        """See `Step`."""
        return await getattr(conversations, f"{self.operation}_async")(**self.arguments)


class Open(NamedTuple):
    """Call an operation that streams; the answer is the stream."""

    operation: str
    arguments: dict[str, Any]

    def now(self, conversations: Any) -> Any:
        """See `Step`."""
        return getattr(conversations, f"{self.operation}_stream")(**self.arguments)

    async def soon(self, conversations: Any) -> Any:
        """See `Step`."""
        return await getattr(conversations, f"{self.operation}_stream_async")(**self.arguments)


class Next(NamedTuple):
    """Read on in a stream; the answer is its next item, or None at its end."""

    stream: Any

    def now(self, conversations: Any) -> Any:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        return next(self.stream, None)

    async def soon(self, conversations: Any) -> Any:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        return await anext(self.stream, None)


class Decide(NamedTuple):
    """Ask whether a call may be made; the answer is the decision."""

    approve: Approve
    call: FunctionCallEntry

    def now(self, conversations: Any) -> Any:  # noqa: ARG002  # a `Step`
        """See `Step`. It is asked in the caller's own thread, which may have to ask a person."""
        said = self.approve(self.call)
        return in_a_loop(_awaited(said)) if inspect.isawaitable(said) else said

    async def soon(self, conversations: Any) -> Any:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        said = self.approve(self.call)
        return await said if inspect.isawaitable(said) else said


class Job(NamedTuple):
    """A call to make, and how many seconds it has."""

    function: Function
    call: FunctionCallEntry
    seconds: float | None


class Perform(NamedTuple):
    """Make calls, at most so many at a time; the answer is what each returned or raised."""

    jobs: Sequence[Job]
    most: int

    def now(self, conversations: Any) -> list[str | Exception]:
        """See `Step`."""
        return in_a_loop(self.soon(conversations))

    async def soon(self, conversations: Any) -> list[str | Exception]:  # noqa: ARG002  # a `Step`
        """See `Step`. One that was given up may go on in its thread; nobody waits for it."""
        threads = ThreadPoolExecutor(len(self.jobs), thread_name_prefix="function")
        try:
            work = [attempt(job.function, job.call, threads, job.seconds) for job in self.jobs]
            return await together(work, self.most)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


Steps = Generator["Step | list[Any]", Any, None]


class Course(Generic[T]):
    """Steps under way, how far they have come, what came of the last one, and the stream that was opened last."""

    def __init__(self, steps: Steps, result: RunResult[T]) -> None:
        """Begin."""
        self._steps = steps
        self.result = result
        self.answer: Any = None
        self.stream: Any = None
        self._last: Step | list[Any] | None = None

    def go_on(self) -> Step | list[Any] | None:
        """Return the next step to take, the next events, or None at the end."""
        answer, self.answer = self.answer, None
        if isinstance(self._last, Open):
            self.stream = answer
        try:
            self._last = self._steps.send(answer)
        except StopIteration:
            self._last = None
        return self._last

    def failed(self, error: CauserieError) -> None:
        """Something is wrong: what was reached goes along with the error, to be gone on with."""
        error.run = self.result
        self._steps.close()

    def close(self) -> None:
        """Take no further step."""
        self._steps.close()


def pull(course: Course[Any], conversations: Any) -> list[Any] | None:
    """Take steps until there are events; None when there are no more."""
    try:
        while not isinstance(step := course.go_on(), list | None):
            course.answer = step.now(conversations)
    except CauserieError as error:
        course.failed(error)
        raise
    return step


async def pull_async(course: Course[Any], conversations: Any) -> list[Any] | None:
    """Take steps until there are events; None when there are no more."""
    try:
        while not isinstance(step := course.go_on(), list | None):
            course.answer = await step.soon(conversations)
    except CauserieError as error:
        course.failed(error)
        raise
    return step


def in_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """Do async work from sync code, which may itself stand in somebody's running loop."""
    with ThreadPoolExecutor(1, thread_name_prefix="functions") as thread:
        return thread.submit(contextvars.copy_context().run, asyncio.run, work).result()


async def _awaited(said: Awaitable[T]) -> T:
    return await said
