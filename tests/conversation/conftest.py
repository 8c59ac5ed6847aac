"""The stage on which the behaviour of conversations is tested: a scripted model, a real server, a client.

The client is the official SDK where it is installed (`tests/support/library.py`), else ours: over HTTP, and in process
with the engine that serves (`tests/support/stage.py`).

A test asks for what it needs:

    model       what this test's model answers and what it was asked (`tests/support/scripted.py`)
    sdk         the client; the test runs once with its sync and once with its async methods, of ours also in process
    raw         plain HTTP, for what the SDK cannot say (`tests/support/raw.py`)
    serve       starts a server with other settings or with toolsets; returns its URL
    connect     the SDK for such a URL;  `Raw(url)` is the same without one
    meanwhile   runs a call in a thread of its own, to have two things going on at once

All tests share one server in memory that has no default model; ids keep them apart. Nothing here sleeps, and every
wait is bounded (`PATIENCE`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, WAYS, Clients, Way
from tests.support.stage import serving


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is held with a client: each client has to pass it, and all else is the same whichever is there."""
    for item in items:
        if "way" in getattr(item, "fixturenames", ()):
            item.add_marker("client")


@pytest.fixture(scope="session")
def model_server() -> Iterator[ScriptedServer]:
    """Run the scripted model server for the session."""
    with ScriptedServer().running() as server:
        yield server


@pytest.fixture(scope="session")
def server_url(model_server: ScriptedServer) -> Iterator[str]:
    """Run the server that most tests share."""
    with serving(upstream=model_server.url) as url:
        yield url


@pytest.fixture(scope="session")
def clients(server_url: str) -> Iterator[Clients]:
    """Make the SDK's client objects once."""
    with closing(Clients(server_url)) as clients:
        yield clients


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """Say which methods of the client are used, and which client."""
    way: Way = request.param
    return way


@pytest.fixture
def model(model_server: ScriptedServer) -> Iterator[Script]:
    """Give this test a model of its own."""
    with closing(model_server.script()) as script:
        yield script


@pytest.fixture
def connect(clients: Clients, way: Way, model: Script) -> Callable[[str], SDK]:
    """Use the SDK with another server."""
    return lambda url: SDK(clients, way, model.name, url)


@pytest.fixture
def sdk(connect: Callable[[str], SDK], server_url: str) -> SDK:
    """Use the official SDK with the shared server."""
    return connect(server_url)


@pytest.fixture
def raw(server_url: str) -> Raw:
    """Use plain HTTP with the shared server."""
    return Raw(server_url)


@pytest.fixture
def serve(model_server: ScriptedServer) -> Iterator[Callable[..., str]]:
    """Start servers of one's own, over the same scripted model server."""
    with ExitStack() as stack:
        yield lambda **how: stack.enter_context(serving(**({"upstream": model_server.url} | how)))


@pytest.fixture
def meanwhile() -> Iterator[Callable[..., Future[Any]]]:
    """Start a call in another thread; its future's `result(PATIENCE)` is what it returned or raised."""
    with ThreadPoolExecutor() as threads:
        yield threads.submit
