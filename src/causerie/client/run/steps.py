"""What a run does to the outside world, each thing in two ways: now (sync) and soon (async).

The loop is a generator of such steps and is written once; `Course` carries them out and knows nothing
about them, as `client/wire.py` does for requests. The generator hands out events as lists.
"""

from __future__ import annotations

import inspect
from collections.abc import Generator, Sequence
from types import ModuleType
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from causerie.errors import CauserieError
from causerie.types.entries import FunctionCallEntry

from .approval import Approve
from .functions import Job
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
        return _performing().in_a_loop(_performing().awaited(said)) if inspect.isawaitable(said) else said

    async def soon(self, conversations: Any) -> Any:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        said = self.approve(self.call)
        return await said if inspect.isawaitable(said) else said


class Perform(NamedTuple):
    """Make calls, at most so many at a time; the answer is what each returned or raised."""

    jobs: Sequence[Job]
    most: int

    def now(self, conversations: Any) -> list[str | Exception]:
        """See `Step`."""
        made: list[str | Exception] = _performing().in_a_loop(self.soon(conversations))
        return made

    async def soon(self, conversations: Any) -> list[str | Exception]:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        made: list[str | Exception] = await _performing().perform(self.jobs, self.most)
        return made


Steps = Generator["Step | list[Any]", Any, None]


class Course(Generic[T]):
    """Steps under way: how far they have come (`result`), and the stream that was opened last (`stream`)."""

    def __init__(self, steps: Steps, result: RunResult[T]) -> None:
        """Begin."""
        self._steps = steps
        self.result = result
        self._answer: Any = None
        self.stream: Any = None
        self._last: Step | list[Any] | None = None

    def pull(self, conversations: Any) -> list[Any] | None:
        """Take steps until there are events; None when there are no more."""
        try:
            while not isinstance(step := self._go_on(), list | None):
                self._answer = step.now(conversations)
        except CauserieError as error:
            self._failed(error)
            raise
        return step

    async def pull_async(self, conversations: Any) -> list[Any] | None:
        """Take steps until there are events; None when there are no more."""
        try:
            while not isinstance(step := self._go_on(), list | None):
                self._answer = await step.soon(conversations)
        except CauserieError as error:
            self._failed(error)
            raise
        return step

    def close(self) -> None:
        """Take no further step."""
        self._steps.close()

    def _go_on(self) -> Step | list[Any] | None:
        answer, self._answer = self._answer, None
        if isinstance(self._last, Open):
            self.stream = answer
        try:
            self._last = self._steps.send(answer)
        except StopIteration:
            self._last = None
        return self._last

    def _failed(self, error: CauserieError) -> None:
        error.run = self.result  # what was reached goes along with the error, to be gone on with
        self._steps.close()


def _performing() -> ModuleType:
    from . import performing  # noqa: PLC0415  # it needs asyncio, which the sync side can do without until here

    return performing
