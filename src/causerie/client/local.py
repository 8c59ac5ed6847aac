"""The connection of a client that has the engine inside (D15): a call crosses to the engine's thread and back.

It is asked with the same bytes, and answers with the same bytes, as over HTTP; only the wire is missing. What that
leaves without a meaning is refused here.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from typing import Any, TypeVar, cast
from urllib.parse import parse_qsl

import httpx2 as httpx

from causerie.engine.engine import Engine
from causerie.engine.operations import HEADERS, Asked, Begun, answer
from causerie.engine.replay import Events
from causerie.engine.runlog import Numbered
from causerie.errors import APIError, ConnectionFailed, InvalidRequest, from_response
from causerie.types.base import encode
from causerie.types.events import Event
from causerie.types.requests import OnDisconnect

from .crossing import Cross, EngineThread
from .place import ConversationEvents, Place
from .request import Call, Retries
from .retries import Attempts
from .streams import EventStream, EventStreamAsync, opened, opened_async
from .unknown import Reading
from .wire import Course, Pause, Step, Steps, pull, pull_async

R = TypeVar("R")
_EVENT: Reading[Event] = Reading(Event)


class LocalConnection:
    """An engine, and the thread that it lives on."""

    def __init__(
        self, engine: Engine, *, retries: Retries, timeout_ms: int | None, on_disconnect: OnDisconnect
    ) -> None:
        """Open the engine.

        Args:
            on_disconnect: what a run does when its caller leaves, where the call does not say.

        Raises:
            StoreError: its store cannot be opened.
        """
        self.engine, self._on_disconnect = engine, on_disconnect
        self._retries = retries
        self._timeout_ms = timeout_ms
        self.thread = EngineThread(engine)
        # Whoever lets go of a client without a word leaves its runs time to end; nobody waits for that.
        weakref.finalize(self, self.thread.stop).atexit = False

    def run(self, call: Call[R]) -> R:
        """Return what a call is answered with."""
        course = Course(self._answered(call))
        try:
            return cast("R", (pull(course) or [None])[0])
        finally:
            course.close()

    async def run_async(self, call: Call[R]) -> R:
        """Return what a call is answered with."""
        course = Course(self._answered(call))
        try:
            return cast("R", (await pull_async(course) or [None])[0])
        finally:
            course.close()

    def stream(self, call: Call[object]) -> EventStream:
        """Return the events that a call is answered with."""
        place = Place(call.follows)
        course = Course(self._streamed(call, place))
        try:
            return opened(place, course, None, self)
        except BaseException:
            course.close()
            raise

    async def stream_async(self, call: Call[object]) -> EventStreamAsync:
        """Return the events that a call is answered with."""
        place = Place(call.follows)
        course = Course(self._streamed(call, place))
        try:
            return await opened_async(place, course, None, self)
        except BaseException:
            course.close()
            raise

    def _answered(self, call: Call[R]) -> Steps[R | None]:
        found = yield from self._sent(call, self._asked(call, stream=False))
        yield [None if call.answer is None or found is None else call.answer.read(found)]

    def _streamed(self, call: Call[object], place: Place) -> Steps[ConversationEvents]:
        reading: _Asking = yield from self._sent(call, self._asked(call, stream=True))
        more, bite = True, Cross(self.thread, reading.batch, call.options.seconds(self._timeout_ms), new=False)
        try:
            yield []
            while more:
                try:
                    events, more = yield bite
                except httpx.RequestError:  # whoever was interrupted goes on: nothing is lost here
                    continue
                if items := [item for event in events if (item := _take(place, event))]:
                    yield items
        finally:
            self.thread.post(reading.leave)
        if not place.ended:
            raise ConnectionFailed(
                "The engine was closed before the run ended. The run is carried on when its conversation is touched "
                "again; follow_run goes on after last_event_id."
            )

    def _sent(self, call: Call[Any], asked: Asked) -> Generator[Step, Any, Any]:
        """Ask until there is an answer that stands; return it if it is a good one."""
        attempts = Attempts(call.options.retrying(self._retries))
        while True:
            asking = _Asking(self.engine, asked)
            try:
                found = yield Cross(self.thread, asking.open, call.options.seconds(self._timeout_ms), new=True)
            except BaseException:
                self.thread.post(asking.leave)  # its caller hangs up
                raise
            if not isinstance(found, APIError):
                return found
            delay = attempts.after_response(found.status_code, httpx.Headers(found.headers))
            if delay is None:
                raise _told(found) from found
            yield Pause(delay)

    def _asked(self, call: Call[Any], *, stream: bool) -> Asked:
        if call.options.server_url is not None:
            raise InvalidRequest("In process there is no server to choose.", loc=("server_url",))
        headers = {name.lower(): value for name, value in (call.options.http_headers or {}).items()}
        if call.follows is not None and call.follows[2]:
            headers.setdefault("last-event-id", call.follows[2])
        if unknown := headers.keys() - set(HEADERS):
            name = min(unknown)
            raise InvalidRequest(
                f"In process the header '{name}' would say something to nobody. Known are {', '.join(HEADERS)}.",
                loc=("header", name), kind="extra_forbidden",
            )  # fmt: skip
        return Asked(
            operation=call.operation, path=call.parts, query=parse_qsl(call.asked, keep_blank_values=True),
            body=call.content(stream=stream) or b"", headers=headers, on_disconnect=self._on_disconnect,
        )  # fmt: skip


class _Asking:
    """One call on the engine's thread: asked there, read there, and left there when its caller goes."""

    def __init__(self, engine: Engine, asked: Asked) -> None:
        self._engine, self._asked = engine, asked
        self._events: Events | None = None
        self._gone: Callable[[], None] | None = None
        self._left = False

    async def open(self) -> Any:
        """Return the answer, itself where the answer is to be read, or what the engine raised."""
        try:
            found = await answer(self._engine, self._asked)
            if isinstance(found, Begun):
                self._gone = found.gone
                if found.stream:
                    found = found.run.reader()
            if found is None or isinstance(found, bytes):
                return found
            if not isinstance(found, Begun):
                self._events = found
            if self._left:
                self.leave()
            return await found.run.body() if isinstance(found, Begun) else self
        except APIError as error:
            return error

    async def batch(self) -> tuple[list[Numbered], bool]:
        """Return the events that have come, and whether there can be more."""
        if self._events is None:
            return [], False
        return await self._events.batch(), not self._events.ended

    def leave(self) -> None:
        """The caller reads no more."""
        self._left = True
        if self._events is not None and self._events.ended:
            return
        if self._gone is not None:
            self._gone()
        if self._events is not None:
            self._events.leave()


def _take(place: Place, event: Numbered) -> ConversationEvents | None:
    """Take an event as one of the caller's own: the run's log is read by others too."""
    data = encode(event.event)
    return place.take(event.event.type, _EVENT.read(data), event.cursor)


def _told(error: APIError) -> APIError:
    """Return an error as a client over HTTP would meet it, as an exception of this caller's own."""
    return from_response(error.status_code, encode(error.told()).decode(), httpx.Headers(error.headers))
