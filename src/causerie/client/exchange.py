"""How a call is answered, and how a stream is kept whole: every decision between a client and a server, once.

These are generators of steps (`wire.py`); they do no I/O themselves.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from causerie.errors import ConnectionFailed, from_response
from causerie.sse import Decoder, Frame
from causerie.types.base import Struct
from causerie.types.events import Event
from causerie.types.operations import BY_KEY

from .place import ConversationEvents, Place
from .request import Call, filled
from .retries import RECONNECT, Attempts, RetryConfig
from .unknown import Reading, UnknownEvent
from .wire import Close, Next, Pause, Prepared, Read, Send, Step, Steps, breakage, no_connection

if TYPE_CHECKING:
    import httpx2 as httpx

R = TypeVar("R")
NO_CONTENT = 204

_EVENTS = BY_KEY["conversations.follow_run"].path
_EVENT: Reading[Event] = Reading(Event, UnknownEvent)


class Logger(Protocol):
    """Something that is told what goes over the wire."""

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Take note."""
        ...


class Connected(Place):
    """A place in a stream that comes over HTTP.

    Attributes:
        opening: the request that the stream began with.
        base: the server's URL.
        keeps_keys: servers that are known to honour idempotency keys, by URL; shared by all streams of a client.
    """

    def __init__(
        self, opening: Prepared, base: str, keeps_keys: set[str], follows: tuple[str, str, str | None] | None = None
    ) -> None:
        """Stand at the beginning, or where a stream goes on."""
        super().__init__(follows)
        self.opening = opening
        self.base = base
        self.keeps_keys = keeps_keys

    def read(self, frames: list[Frame]) -> list[ConversationEvents]:
        """Take what came; return what is new."""
        items = [item for frame in frames if (item := self.take(frame.event, _event(frame), frame.id))]
        if self.run_id:  # a server that names its runs is one of ours
            self.keeps_keys.add(self.base)
        return items

    def again(self) -> Prepared | None:
        """Return the request that goes on here; None where nothing can be asked without running twice."""
        if self.conversation_id and self.run_id:
            headers = {name: value for name, value in self.opening.headers.items() if name not in _OF_THE_OPENING}
            if self.last_id:
                headers["last-event-id"] = self.last_id
            events = filled(_EVENTS, conversation_id=self.conversation_id, run_id=self.run_id)
            url = f"{self.base.rstrip('/')}{events}"
            return Prepared("GET", url, headers, None, self.opening.timeout, stream=True)
        if self.seen == 0 and self.base in self.keeps_keys and "idempotency-key" in self.opening.headers:
            return self.opening
        return None


_OF_THE_OPENING = {"idempotency-key", "content-type", "last-event-id"}


def answered(prepared: Prepared, call: Call[R], config: RetryConfig | None, log: Logger) -> Steps[R | None]:
    """Send a call and hand out what it is answered with.

    Raises:
        APIError: the server refused.
        ConnectionFailed: it did not answer, or with something that is no answer.
    """
    response = yield from _sent(prepared, config, log)
    if call.answer is None or response.status_code == NO_CONTENT:
        yield [None]
    else:
        yield [call.answer.read(response.content)]


def streamed(place: Connected, config: RetryConfig | None, log: Logger) -> Steps[ConversationEvents]:
    """Open a stream and hand out its events; nothing at first, to say that it is open.

    Where the connection breaks it is taken up again, as long as the server knows how: every event is handed out
    once, in order.

    Raises:
        APIError: the server refused.
        ConnectionFailed: it did not answer, or the stream broke and could not be taken up again.
    """
    # What the caller says about time holds for a break too; that it is mended is not for them to ask for.
    backoff = config.backoff if config is not None and config.strategy == "backoff" else RECONNECT.backoff
    patience = RetryConfig("backoff", backoff, retry_connection_errors=True)
    attempts = Attempts(patience)
    try:
        place.response = yield from _sent(place.opening, config, log)
    except ConnectionFailed as broken:
        yield from _mended(place, attempts, broken, log)
    yield []
    while True:
        seen = place.seen
        broke = yield from _read(place)
        if broke is None:
            return
        if place.seen > seen:  # a server that answers and says nothing is not waited for endlessly
            attempts = Attempts(patience)
        yield from _mended(place, attempts, broke, log)


def _sent(prepared: Prepared, config: RetryConfig | None, log: Logger) -> Generator[Step, Any, httpx.Response]:
    """Send until there is an answer that stands; return it if it is a good one."""
    attempts = Attempts(config)
    while True:
        log.debug("%s %s", prepared.method, prepared.url)
        try:
            response: httpx.Response = yield Send(prepared)
        except breakage() as error:
            delay = attempts.after_failure()
            if delay is None:
                raise _failed(error, prepared) from error
        else:
            log.debug("%s %s -> %s", prepared.method, prepared.url, response.status_code)
            delay = attempts.after_response(response.status_code, response.headers)
            if delay is None:
                yield from _checked(response, prepared)
                return response
            yield Close(response)
        yield Pause(delay)


def _checked(response: httpx.Response, prepared: Prepared) -> Generator[Step, Any, None]:
    if response.is_success:
        if not prepared.stream or response.headers.get("content-type", "").startswith("text/event-stream"):
            return
        yield Close(response)
        raise ConnectionFailed(f"{prepared.url} answered, but not with a stream of events.")
    try:
        yield Read(response)
    except breakage() as error:
        raise _failed(error, prepared) from error
    raise from_response(response.status_code, response.text, response.headers, response)


def _read(place: Connected) -> Generator[Step | list[ConversationEvents], Any, ConnectionFailed | None]:
    """Hand out the events of one response; return what was wrong if they end too early."""
    response, decoder = place.response, Decoder()
    if response is None:
        return ConnectionFailed()
    bite, cause = Next(response), None
    while True:
        try:
            chunk = yield bite
        except breakage() as error:
            cause = error
            break
        if chunk is None:
            break
        if events := place.read(decoder.feed(chunk)):
            yield events
    yield Close(response)
    if place.ended:
        return None
    broken = ConnectionFailed("The stream ended before the run did, and could not be taken up again.")
    broken.__cause__ = cause
    return broken


def _mended(place: Connected, attempts: Attempts, broken: ConnectionFailed, log: Logger) -> Generator[Step, Any, None]:
    """Take up a broken stream where it broke."""
    while True:
        request, first = place.again(), attempts.made == 0
        delay = attempts.after_failure()
        if request is None or delay is None:
            raise broken
        yield Pause(0 if first else delay)
        log.debug("%s %s, after %s", request.method, request.url, place.last_id)
        try:
            response: httpx.Response = yield Send(request)
        except breakage() as error:
            broken.__cause__ = error
            continue
        if response.status_code in _PASSING:
            yield Close(response)
            continue
        yield from _checked(response, request)
        place.response = response
        return


_PASSING = {429, 500, 502, 503, 504}
"""The answers of a server that may be all right in a moment."""


def _failed(error: httpx.RequestError, prepared: Prepared) -> ConnectionFailed:
    said = str(error) or type(error).__name__
    hint = ". Is a server there?" if isinstance(error, no_connection()) else ""
    return ConnectionFailed(f"{prepared.method} {prepared.url} was not answered: {said}{hint}")


def _event(frame: Frame) -> Event | UnknownEvent:
    try:
        event = _EVENT.read(frame.data)
    except ConnectionFailed:  # no JSON: whatever it is, it ends nothing
        return UnknownEvent(frame.event, frame.data.decode(errors="replace"))
    if isinstance(event, UnknownEvent):
        event.type = event.type or frame.event
        return event
    thing: object = event  # JSON need not be an object
    return event if isinstance(thing, Struct) else UnknownEvent(frame.event, thing)
