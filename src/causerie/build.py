"""Settings become an engine: the one place that names concrete classes. How it is reached is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from causerie.engine.engine import Engine
from causerie.engine.plan import Bounds
from causerie.moderation.base import Moderator
from causerie.moderation.panel import Panel
from causerie.moderation.pii import Rules
from causerie.moderation.server import ModerationServer
from causerie.settings import MODERATION, PII, REHEARSAL, RULES, ModelRoute, Settings
from causerie.stores import backup, checkup
from causerie.stores.sqlite import SQLiteStore
from causerie.tools.base import Toolset
from causerie.upstreams.base import Upstream
from causerie.upstreams.openai_chat import OpenAIChat
from causerie.upstreams.rehearsal import Rehearsal
from causerie.upstreams.router import Router
from causerie.upstreams.script import Script


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


def check(place: str, told: checkup.Told) -> checkup.Findings:
    """Verify the database at `place`, a file or a data directory; see `checkup.check`."""
    return checkup.check(database(place), told)


def back_up(source: str, target: str, *, force: bool, told: checkup.Told) -> backup.Backup:
    """Copy the database at `source` to `target`, each a file or a directory; see `backup.back_up`."""
    return backup.back_up(database(source), database(target), force=force, told=told)


def database(place: str | Path) -> Path:
    """Return the file of a database at `place`, a file or a data directory; ``:memory:`` is one too."""
    return Path(Settings(data=str(place)).database if Path(place).is_dir() else place)
