"""Servers of the behaviour suite: each has two doors, HTTP and the client in process, and one engine behind them.

The engine is that of a `Causerie`; the real application under the real HTTP server runs on its loop. So a test that
drives the client in process can look at the same conversations over plain HTTP.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn

from causerie import Causerie
from causerie import serving as roof
from causerie.settings import Settings
from causerie.tools.base import Toolset

from .replies import PATIENCE
from .running import Listening

BEHIND: dict[str, Causerie] = {}
"""The client in process of every server that runs, by the server's URL."""


@contextmanager
def serving(*, toolsets: Mapping[str, Toolset] | None = None, **settings: Any) -> Iterator[str]:
    """Serve an application with these settings, in memory unless they say otherwise; yield its base URL."""
    known = Settings(**({"data": ":memory:"} | settings))
    with Causerie(settings=known, toolsets=toolsets, timeout_ms=int(PATIENCE * 1000)) as causerie:
        app = roof._app(known, causerie.connection.engine)
        # The server binds for itself: asyncio sends at once (TCP_NODELAY) on sockets that say they are TCP's, and those
        # of `socket.create_server` do not. Answers in two writes would then wait for the client's delayed ACK.
        how: Any = {"lifespan": "off", "log_config": None, "timeout_graceful_shutdown": 1}
        server = Listening(uvicorn.Config(app, host="127.0.0.1", port=0, **how))
        served = causerie.connection.thread.submit(server.serve, new=True)
        assert server.ready.wait(PATIENCE), "the server did not start"
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        BEHIND[url] = causerie
        try:
            yield url
        finally:
            del BEHIND[url]
            server.should_exit = True
            served.result(PATIENCE)
