"""What a client does to the outside world, each thing in two ways: now (sync) and soon (async).

Everything that decides is a generator of such steps (`exchange.py`) and is written once; `pull` and `pull_async`
carry the steps out and know nothing about them. A generator hands out results as lists.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, cast

if TYPE_CHECKING:  # loading it takes longer than all else here, and until the first request nobody needs it
    import httpx2 as httpx

T = TypeVar("T")


def breakage() -> type[httpx.RequestError]:
    """Return what the HTTP library raises where a connection breaks."""
    import httpx2  # noqa: PLC0415  # see above

    return httpx2.RequestError


def no_connection() -> type[httpx.RequestError]:
    """Return what a server that is not there looks like."""
    import httpx2  # noqa: PLC0415  # see above

    return httpx2.ConnectError


class HttpClient(Protocol):
    """What is used of an `httpx2.Client`."""

    def build_request(self, method: str, url: str, **how: Any) -> httpx.Request:
        """Make a request."""
        ...

    def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send it."""
        ...

    def close(self) -> None:
        """Close all connections."""
        ...


class AsyncHttpClient(Protocol):
    """What is used of an `httpx2.AsyncClient`."""

    def build_request(self, method: str, url: str, **how: Any) -> httpx.Request:
        """Make a request."""
        ...

    async def send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """Send it."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class Prepared(NamedTuple):
    """A request, ready to be sent by either client any number of times."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes | None
    timeout: float | None
    stream: bool

    def request(self, http: HttpClient | AsyncHttpClient) -> httpx.Request:
        """Make it a request of `http`."""
        return http.build_request(
            self.method, self.url, headers=self.headers, content=self.content, timeout=self.timeout
        )


class Step(Protocol):
    """One thing to do; `http` is the client of the way it is done in, where it takes one."""

    def now(self, http: Any) -> Any:
        """Do it, waiting for it."""
        ...

    async def soon(self, http: Any) -> Any:
        """Do it, letting others run meanwhile."""
        ...


class Send(NamedTuple):
    """Send a request; the answer is the response."""

    prepared: Prepared

    def now(self, http: HttpClient) -> httpx.Response:
        """See `Step`."""
        return http.send(self.prepared.request(http), stream=self.prepared.stream)

    async def soon(self, http: AsyncHttpClient) -> httpx.Response:
        """See `Step`."""
        return await http.send(self.prepared.request(http), stream=self.prepared.stream)


class Pause(NamedTuple):
    """Wait for so many seconds."""

    seconds: float

    def now(self, http: HttpClient) -> None:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        time.sleep(self.seconds)

    async def soon(self, http: AsyncHttpClient) -> None:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        import asyncio  # noqa: PLC0415  # who waits here has it; the sync side does without

        await asyncio.sleep(self.seconds)


class Read(NamedTuple):
    """Read the whole body of a response."""

    response: httpx.Response

    def now(self, http: HttpClient) -> None:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        self.response.read()

    async def soon(self, http: AsyncHttpClient) -> None:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        await self.response.aread()


class Close(NamedTuple):
    """Let go of a response."""

    response: httpx.Response

    def now(self, http: HttpClient) -> None:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        self.response.close()

    async def soon(self, http: AsyncHttpClient) -> None:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        await self.response.aclose()


class Next:
    """Read on in the body of a response; the answer is some bytes, or None at its end."""

    def __init__(self, response: httpx.Response) -> None:
        """Start at the beginning of the body. The same step is taken again and again."""
        self._response = response
        self._chunks: Any = None

    def now(self, http: HttpClient) -> bytes | None:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        if self._chunks is None:
            self._chunks = self._response.iter_bytes()
        return next(cast("Iterator[bytes]", self._chunks), None)

    async def soon(self, http: AsyncHttpClient) -> bytes | None:  # noqa: ARG002  # a `Step`
        """See `Step`."""
        if self._chunks is None:
            self._chunks = self._response.aiter_bytes()
        return await anext(cast("AsyncIterator[bytes]", self._chunks), None)


Steps = Generator["Step | list[T]", Any, None]


class Course(Generic[T]):
    """Steps under way, and what came of the last one."""

    def __init__(self, steps: Steps[T]) -> None:
        """Begin."""
        self._steps = steps
        self._stepping = threading.RLock()  # a stream may be closed by another thread than reads it
        self.answer: Any = None
        self.error: httpx.RequestError | None = None
        self._closed = False

    def go_on(self) -> Step | list[T] | None:
        """Return the next step to take, the next results, or None when there is neither."""
        answer, error = self.answer, self.error
        self.answer = self.error = None
        with self._stepping:
            if self._closed:  # by another thread, while a step was taken: what came of it is nobody's any more
                return None
            try:
                return self._steps.send(answer) if error is None else self._steps.throw(error)
            except StopIteration:
                return None

    def interrupted(self, step: Step) -> None:
        """Whoever took `step` was interrupted: to the steps that is a broken connection, if they ever go on.

        To have paused too short or to have let go of something in part breaks nothing.
        """
        if not isinstance(step, Pause | Close):
            self.error = breakage()("The caller was interrupted.")

    def close(self) -> None:
        """Take no further step."""
        with self._stepping:
            self._closed = True
            self._steps.close()


def pull(course: Course[T], http: HttpClient | None = None) -> list[T] | None:
    """Take steps until there are results; None when there are no more."""
    while not isinstance(step := course.go_on(), list | None):
        try:
            course.answer = step.now(http)
        except breakage() as error:
            course.error = error
        except BaseException:
            course.interrupted(step)
            raise
    return step


async def pull_async(course: Course[T], http: AsyncHttpClient | None = None) -> list[T] | None:
    """Take steps until there are results; None when there are no more."""
    while not isinstance(step := course.go_on(), list | None):
        try:
            course.answer = await step.soon(http)
        except breakage() as error:
            course.error = error
        except BaseException:
            course.interrupted(step)
            raise
    return step
