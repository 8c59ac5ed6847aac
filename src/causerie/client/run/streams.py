"""A run's events as the caller reads them, and its result at their end: one sync, one async."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from causerie.client.models import ConversationEvents

from .result import RunResult
from .steps import Course

T = TypeVar("T")


class _Stream(Generic[T]):
    """What both have.

    Attributes:
        result: what the run has come to so far; all of it once the stream has been read to its end.
    """

    def __init__(self, course: Course[T], conversations: Any) -> None:
        self.result: RunResult[T] = course.result
        self._course, self._conversations = course, conversations
        self._events: deque[ConversationEvents] = deque()


class RunStream(_Stream[T]):
    """Events of all turns of a run, with a ``function.result`` for each call that was made in between.

    Leaving the context, or closing it, hangs up: no further function is called.
    """

    def open(self) -> None:
        """Go to the first event; what is wrong with the request is raised here."""
        self._events.extend(self._course.pull(self._conversations) or ())

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> ConversationEvents:
        """Return the next event."""
        while not self._events:
            found = self._course.pull(self._conversations)
            if found is None:
                raise StopIteration
            self._events.extend(found)
        return self._events.popleft()

    def close(self) -> None:
        """Hang up."""
        self._events.clear()
        self._course.close()
        if self._course.stream is not None:
            self._course.stream.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        self.close()


class RunStreamAsync(_Stream[T]):
    """Events of all turns of a run, with a ``function.result`` for each call that was made in between.

    Leaving the context, or closing it, hangs up: no further function is called.
    """

    async def open(self) -> None:
        """Go to the first event; what is wrong with the request is raised here."""
        self._events.extend(await self._course.pull_async(self._conversations) or ())

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> ConversationEvents:
        """Return the next event."""
        while not self._events:
            found = await self._course.pull_async(self._conversations)
            if found is None:
                raise StopAsyncIteration
            self._events.extend(found)
        return self._events.popleft()

    async def close(self) -> None:
        """Hang up."""
        self._events.clear()
        self._course.close()
        if self._course.stream is not None:
            await self._course.stream.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        await self.close()
