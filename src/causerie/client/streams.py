"""A run's events as the caller reads them: iterators and context managers, one sync and one async."""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .place import ConversationEvents, Place
from .wire import AsyncHttpClient, Course, HttpClient, pull, pull_async

if TYPE_CHECKING:
    import httpx2 as httpx


class _Stream:
    """What both have."""

    def __init__(self, place: Place, course: Course[ConversationEvents], keeps: object) -> None:
        self._place, self._course = place, course
        self._events: deque[ConversationEvents] = deque()
        self._closed = False
        self._last_id = place.last_id
        self._keeps = keeps  # a client that nobody else holds must not be collected while its stream is read

    @property
    def response(self) -> httpx.Response | None:
        """The response that is being read; another one after the connection broke; None in process."""
        return self._place.response

    @property
    def conversation_id(self) -> str | None:
        """The conversation, once its first event was read."""
        return self._place.conversation_id

    @property
    def run_id(self) -> str | None:
        """The run, once its first event was read; None of a server that does not name its runs."""
        return self._place.run_id

    @property
    def last_event_id(self) -> str | None:
        """The id of the last event that was read here: `follow_run` goes on after it, in another process too."""
        return self._last_id

    def _hand_out(self) -> ConversationEvents:
        item = self._events.popleft()
        self._last_id = item.id or self._last_id
        return item


class EventStream(_Stream):
    """Events of a run; leaving the context, or closing it, hangs up."""

    def __init__(
        self, place: Place, course: Course[ConversationEvents], http: HttpClient | None, keeps: object = None
    ) -> None:
        """Read from `place` by going on with `course`, which has been opened."""
        super().__init__(place, course, keeps)
        self._http = http

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> ConversationEvents:
        """Return the next event."""
        events = self._events
        while self._closed or not events:
            found = None if self._closed else pull(self._course, self._http)
            if found is None:
                raise StopIteration
            events.extend(found)
        return self._hand_out()

    def close(self) -> None:
        """Hang up. The run goes on unless the server was told otherwise.

        Another thread that waits for an event over HTTP meanwhile is woken by the server's next sign of life.
        """
        self._closed = True
        self._course.close()
        if self._place.response is not None:
            self._place.response.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        self.close()


class EventStreamAsync(_Stream):
    """Events of a run; leaving the context, or closing it, hangs up."""

    def __init__(
        self, place: Place, course: Course[ConversationEvents], http: AsyncHttpClient | None, keeps: object = None
    ) -> None:
        """Read from `place` by going on with `course`, which has been opened."""
        super().__init__(place, course, keeps)
        self._http = http

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> ConversationEvents:
        """Return the next event."""
        events = self._events
        while self._closed or not events:
            found = None if self._closed else await pull_async(self._course, self._http)
            if found is None:
                raise StopAsyncIteration
            events.extend(found)
        return self._hand_out()

    async def close(self) -> None:
        """Hang up. The run goes on unless the server was told otherwise."""
        self._closed = True
        self._course.close()
        if self._place.response is not None:
            await self._place.response.aclose()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up."""
        await self.close()


def opened(place: Place, course: Course[ConversationEvents], http: HttpClient | None, keeps: Any) -> EventStream:
    """Send the request that a stream begins with; what is wrong with it is raised here."""
    pull(course, http)
    return EventStream(place, course, http, keeps)


async def opened_async(
    place: Place, course: Course[ConversationEvents], http: AsyncHttpClient | None, keeps: Any
) -> EventStreamAsync:
    """Send the request that a stream begins with; what is wrong with it is raised here."""
    await pull_async(course, http)
    return EventStreamAsync(place, course, http, keeps)
