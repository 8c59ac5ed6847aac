"""Settings become a running server: the one place that names concrete classes."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import uvicorn
from starlette.applications import Starlette

from causerie import logs
from causerie.banner import banner
from causerie.engine.engine import Engine
from causerie.engine.plan import Bounds
from causerie.moderation.base import Moderator
from causerie.moderation.panel import Panel
from causerie.moderation.pii import Rules
from causerie.moderation.server import ModerationServer
from causerie.server.app import app
from causerie.server.call import Options
from causerie.settings import MODERATION, PII, REHEARSAL, RULES, ModelRoute, Settings
from causerie.stores import backup, checkup
from causerie.stores.sqlite import SQLiteStore
from causerie.tools.base import Toolset
from causerie.upstreams.base import Upstream
from causerie.upstreams.openai_chat import OpenAIChat
from causerie.upstreams.rehearsal import Rehearsal
from causerie.upstreams.router import Router
from causerie.upstreams.script import Script

_PATIENCE, _GRACE = 15, 10
"""Seconds for which a server that is to stop lets answers end, and then runs."""


def build_engine(
    settings: Settings, *, toolsets: Mapping[str, Toolset] | None = None, path: Path | None = None
) -> Engine:
    """Return the engine that `settings` describe, not yet open.

    Args:
        path: the database, where it is another than that of `settings`.
    """
    bounds = Bounds(
        model_calls=settings.max_model_calls,
        handoffs=settings.max_handoffs,
        seconds=settings.run_seconds,
        tool_seconds=settings.tool_seconds,
        tool_output_bytes=settings.max_tool_output_bytes,
    )
    return Engine(
        SQLiteStore(path or settings.database),
        build_upstream(settings),
        toolsets=toolsets,
        moderator=build_moderator(settings),
        default_model=settings.default_model,
        bounds=bounds,
        keep_seconds=settings.keep_run_seconds,
    )


def build_app(settings: Settings, *, toolsets: Mapping[str, Toolset] | None = None) -> Starlette:
    """Return the ASGI application that `settings` describe; its lifespan opens and closes everything.

    Args:
        toolsets: who runs each wire type of server tool, such as ``web_search``.
    """
    return _app(settings, build_engine(settings, toolsets=toolsets))


def build_upstream(settings: Settings) -> Upstream:
    """Return who answers for the models."""
    script = settings.rehearsal_script
    rehearsal = Rehearsal(Script.load(Path(script)) if script else None)
    routes: dict[str, Upstream] = {}
    names: dict[str, dict[str, str]] = {name: {} for name in settings.servers}
    for model, chosen in settings.models.items():
        if chosen.name is not None and chosen.upstream in names:
            names[chosen.upstream][model] = chosen.name
    servers: dict[str, Upstream] = {
        name: OpenAIChat(
            one.url, one.api_key, dialect=one.dialect, name=name, model_names=names[name], read_timeout=one.read_seconds
        )
        for name, one in settings.servers.items()
    }
    for model, chosen in settings.models.items():
        routes[model] = rehearsal if chosen.upstream == REHEARSAL else servers[chosen.upstream]
    if settings.rehearses:
        default: Upstream | None = rehearsal
    else:
        default = servers.get("default")
    return Router(routes, default)


def build_moderator(settings: Settings) -> Moderator:
    """Return who scores texts. The rules score `pii` where a server that is asked for it turns out not to."""
    rules, seconds = Rules(), settings.moderation_seconds
    servers = {name: (one.url, one.api_key) for name, one in settings.servers.items()}
    if settings.moderation_url:
        servers[MODERATION] = (settings.moderation_url, settings.moderation_api_key)
    asked: dict[ModelRoute, Moderator] = {
        route: ModerationServer(*servers[route.upstream], name=route.upstream, model=route.name, seconds=seconds)
        for route in settings.moderators.values()
        if route.upstream in servers
    }
    rows = {category: [asked[route]] if route in asked else [] for category, route in settings.moderators.items()}
    if PII not in settings.moderation or settings.moderators[PII].upstream == RULES:
        rows[PII].append(rules)
    return Panel(rows)


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


def check(place: str, told: checkup.Told) -> checkup.Findings:
    """Verify the database at `place`, a file or a data directory; see `checkup.check`."""
    return checkup.check(database(place), told)


def back_up(source: str, target: str, *, force: bool, told: checkup.Told) -> backup.Backup:
    """Copy the database at `source` to `target`, each a file or a directory; see `backup.back_up`."""
    return backup.back_up(database(source), database(target), force=force, told=told)


def database(place: str | Path) -> Path:
    """Return the file of a database at `place`, a file or a data directory; ``:memory:`` is one too."""
    return Path(Settings(data=str(place)).database if Path(place).is_dir() else place)


async def _serve(server: uvicorn.Server, listener: socket.socket, engine: Engine) -> None:
    # Not the server's lifespan: that would log why the engine cannot be opened, and forget it.
    await engine.open(adopt=True)
    # What start-up made stays; looking through it again and again for garbage is a tenth of every turn.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
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
