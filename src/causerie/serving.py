"""Settings become a running server: the engine that `build` makes, behind HTTP. In process nothing here is needed."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import click
import uvicorn
from starlette.applications import Starlette

from causerie import logs
from causerie.banner import banner
from causerie.build import build_engine
from causerie.engine.engine import Engine
from causerie.server.app import app
from causerie.server.call import Options
from causerie.settings import Settings
from causerie.tools.base import Toolset

_PATIENCE, _GRACE = 15, 10
"""Seconds for which a server that is to stop lets answers end, and then runs."""

_SWITCH = 0.0003
"""Seconds for which one thread may keep the interpreter while another wants it."""


def build_app(settings: Settings, *, toolsets: Mapping[str, Toolset] | None = None) -> Starlette:
    """Return the ASGI application that `settings` describe; its lifespan opens and closes everything.

    Args:
        toolsets: who runs each wire type of server tool, such as ``web_search``.
    """
    return _app(settings, build_engine(settings, toolsets=toolsets))


def serve(settings: Settings, *, toolsets: Mapping[str, Toolset] | None = None) -> None:
    """Serve until told to stop.

    Raises:
        OSError: the address cannot be listened on.
        StoreError: the database cannot be opened.
    """
    engine = build_engine(settings, toolsets=toolsets)
    application = _app(settings, engine)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    host = f"[{settings.host}]" if family is socket.AF_INET6 else settings.host
    with socket.create_server((settings.host, settings.port), family=family, backlog=2048) as listener:
        config = uvicorn.Config(
            application, loop="uvloop", http="httptools", log_level="warning", access_log=False, server_header=False,
            date_header=False, timeout_graceful_shutdown=_PATIENCE, lifespan="off", proxy_headers=False,
            log_config=None,
        )  # fmt: skip
        logs.carry("uvicorn.error")
        server = _Server(config, banner(settings, f"http://{host}:{listener.getsockname()[1]}"))
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_serve(server, listener, engine))


async def _serve(server: uvicorn.Server, listener: socket.socket, engine: Engine) -> None:
    # Not the server's lifespan: that would log why the engine cannot be opened, and forget it.
    await engine.open(adopt=True)
    # What start-up made stays; looking through it again and again for garbage is a tenth of every turn.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    # The thread that writes is asked for a commit by a loop that has more to do; at Python's 5 ms it would get the
    # interpreter, each time that it needs it, only when the loop has nothing left.
    sys.setswitchinterval(_SWITCH)
    try:
        await server.serve(sockets=[listener])
    finally:
        await engine.close(0 if server.force_exit else _GRACE)


def _app(settings: Settings, engine: Engine) -> Starlette:
    logs.configure(settings.log_level)
    options = Options(
        max_body_bytes=settings.max_body_bytes,
        keep_alive_seconds=settings.keep_alive_seconds,
        on_disconnect=settings.on_disconnect,
    )
    return app(engine, options)


class _Server(uvicorn.Server):
    """Says that it is ready once it is, and what it waits for when it is to stop."""

    def __init__(self, config: uvicorn.Config, ready: str) -> None:
        super().__init__(config)
        self._ready = ready

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # The inherited one raises the signal again when the server has stopped: before the engine is closed.
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            click.echo(self._ready)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self.should_exit and self.server_state.tasks:
            click.echo(f"Stopping: answers under way have {_PATIENCE} seconds to end. Ctrl-C does not wait for them.")
        super().handle_exit(sig, frame)
