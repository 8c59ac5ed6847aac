"""From one description of an operation to its methods: plain, `_async`, and where it streams those two as well.

The signature is written once, on a function that builds the `Call`; the methods have it too, for editors and for
type checkers.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from causerie.types.agents import AgentListPage

from .carrier import Carrier
from .pages import Page, PageAsync
from .request import Call
from .streams import EventStream, EventStreamAsync

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])


class Operations:
    """A group of operations over one connection."""

    def __init__(self, connection: Carrier) -> None:
        """Send calls through `connection`."""
        self.connection = connection


Build = Callable[Concatenate[Any, P], Call[R]]


def plain(build: Build[P, R]) -> Callable[Concatenate[Any, P], R]:
    """Return the method that waits for the answer."""

    @wraps(build)
    def call(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.connection.run(build(self, *args, **kwargs))

    return _named(call, build, "")


def awaited(build: Build[P, R]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]:
    """Return the method that is awaited."""

    @wraps(build)
    async def call(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return await self.connection.run_async(build(self, *args, **kwargs))

    return _named(call, build, "_async")


def paged(build: Build[P, AgentListPage]) -> Callable[Concatenate[Any, P], Page]:
    """Return the method that gives a page from which the next can be asked for."""

    @wraps(build)
    def call(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> Page:
        wanted = build(self, *args, **kwargs)
        return Page(self.connection, wanted, self.connection.run(wanted))

    return _named(call, build, "")


def paged_async(build: Build[P, AgentListPage]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, PageAsync]]:
    """Return the method that is awaited and gives a page from which the next can be awaited."""

    @wraps(build)
    async def call(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> PageAsync:
        wanted = build(self, *args, **kwargs)
        return PageAsync(self.connection, wanted, await self.connection.run_async(wanted))

    return _named(call, build, "_async")


def streaming(build: Build[P, Any], ending: str = "_stream") -> Callable[Concatenate[Any, P], EventStream]:
    """Return the method that gives the events."""

    @wraps(build)
    def call(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> EventStream:
        return self.connection.stream(build(self, *args, **kwargs))

    return _named(call, build, ending)


def streaming_async(
    build: Build[P, Any], ending: str = "_stream_async"
) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, EventStreamAsync]]:
    """Return the method that is awaited and then gives the events."""

    @wraps(build)
    async def call(self: Operations, /, *args: P.args, **kwargs: P.kwargs) -> EventStreamAsync:
        return await self.connection.stream_async(build(self, *args, **kwargs))

    return _named(call, build, ending)


def _named(call: F, build: Any, ending: str) -> F:
    group, _, name = build.__qualname__.rpartition(".")
    build.__qualname__ = f"{group}.{name.lstrip('_')}"  # what Python blames where an argument is missing or unknown
    call.__qualname__ = build.__qualname__ + ending
    call.__name__ = call.__qualname__.rpartition(".")[2]
    return call
