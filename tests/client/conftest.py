"""The client on both of its sides, behind one surface, over servers that a test names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from causerie.client import Mistral
from tests.support.running import serving
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import MODES, Mode, Portal


class Side:
    """A client of ours, driven through its sync or its async methods."""

    def __init__(self, url: str, portal: Portal | None, **settings: Any) -> None:
        self.mistral = Mistral(**({"api_key": "any-key", "server_url": url} | settings))
        self._portal = portal

    def call(self, operation: str, **arguments: Any) -> Any:
        """Call an operation of the conversations."""
        conversations = self.mistral.beta.conversations
        if self._portal is None:
            return getattr(conversations, operation)(**arguments)
        return self._portal.call(getattr(conversations, f"{operation}_async")(**arguments))

    def next(self, stream: Any) -> Any:
        """Return the next item of a stream, or None."""
        return next(stream, None) if self._portal is None else self._portal.call(_next(stream))

    def rest(self, stream: Any) -> list[Any]:
        """Return all items that are still to come, and close the stream."""
        items = list(iter(lambda: self.next(stream), None))
        self.hang_up(stream)
        return items

    def hang_up(self, stream: Any) -> None:
        """Close a stream."""
        closed = stream.close()
        if self._portal is not None:
            self._portal.call(closed)

    def close(self) -> None:
        """Close both sides."""
        self.mistral.__exit__(None, None, None)
        if self._portal is not None:
            self._portal.call(self.mistral.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def portal() -> Iterator[Portal]:
    """Run a loop for the async side."""
    with closing(Portal()) as portal:
        yield portal


@pytest.fixture(params=MODES)
def connect(request: pytest.FixtureRequest, portal: Portal) -> Iterator[Callable[..., Side]]:
    """Make clients; each test runs with the sync and with the async side."""
    made: list[Side] = []

    def make(url: str, **settings: Any) -> Side:
        mode: Mode = request.param
        made.append(Side(url, portal if mode == "async" else None, **settings))
        return made[-1]

    yield make
    for side in made:
        side.close()


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Run a server on the rehearsal model."""
    with serving() as url:
        yield url


@pytest.fixture(scope="package")
def model_server() -> Iterator[ScriptedServer]:
    """Run a scripted model server."""
    with ScriptedServer().running() as server:
        yield server


@pytest.fixture(scope="package")
def url(model_server: ScriptedServer) -> Iterator[str]:
    """Run a server on the scripted models."""
    with serving(upstream=model_server.url) as url:
        yield url


@pytest.fixture
def model(model_server: ScriptedServer) -> Iterator[Script]:
    """Give this test a model of its own."""
    with closing(model_server.script()) as script:
        yield script


async def _next(stream: Any) -> Any:
    return await anext(stream, None)
