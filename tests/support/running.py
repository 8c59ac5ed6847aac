"""A Causerie server that runs for a test: the real application under the real HTTP server, on a free port."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn

from causerie.serving import build_app
from causerie.settings import Settings
from causerie.tools.base import Toolset

from .replies import PATIENCE


class Listening(uvicorn.Server):
    """Says when it listens, so that nobody has to ask again and again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextmanager
def serving(*, toolsets: Mapping[str, Toolset] | None = None, **settings: Any) -> Iterator[str]:
    """Serve an application with these settings, in memory unless they say otherwise; yield its base URL."""
    app = build_app(Settings(**({"data": ":memory:"} | settings)), toolsets=toolsets)
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", lifespan="on", log_config=None, timeout_graceful_shutdown=1
    )
    server = Listening(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listener],), name="causerie-under-test")
    thread.start()
    try:
        assert server.ready.wait(PATIENCE), "the server did not start"
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listener.close()
        assert not thread.is_alive(), "the server did not stop"
