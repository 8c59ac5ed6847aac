"""Causerie in process: the client's surface with the engine inside, and no server."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from causerie import logs
from causerie.build import build_engine, database
from causerie.client.catalogue import Models
from causerie.client.classifiers import Classifiers
from causerie.client.client import Beta
from causerie.client.crossing import GRACE
from causerie.client.local import LocalConnection
from causerie.client.request import Retries
from causerie.settings import MEMORY, Settings
from causerie.tools.base import Toolset
from causerie.types.base import UNSET

_KEY = "CAUSERIE_UPSTREAM_API_KEY"


class Causerie:
    """Conversations in this process. It can be shared by threads, and by the tasks of any event loop.

    Attributes:
        beta: conversations and agents, as `causerie.client.Mistral` has them.
        models: which models there are.
        classifiers: how far texts are of which category.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        upstream: str | None = None,
        model: str | None = None,
        api_key: str | None = None,
        settings: Settings | None = None,
        retry_config: Retries = UNSET,
        timeout_ms: int | None = None,
        toolsets: Mapping[str, Toolset] | None = None,
    ) -> None:
        """Open a database and the engine over it. That asks no model for anything, an interrupted run included.

        Args:
            path: the database: a file, or a server's data directory. Without one it is what `settings` say, and
                without those it is in memory.
            upstream: base URL of an OpenAI-compatible server, ``/v1`` included; without one the rehearsal model
                answers.
            model: the model of a start that names neither model nor agent.
            api_key: the key that `upstream` is asked with; else CAUSERIE_UPSTREAM_API_KEY.
            settings: all else that can be set, as `causerie.settings.load` reads it from a file and variables; what is
                only about HTTP has no meaning here.
            retry_config: whether a call that a model server could not answer is made again, where it does not say.
            timeout_ms: the longest wait for an answer or for the next events; without one there is no end to it but
                the run's own (`run_seconds`).
            toolsets: who runs each wire type of server tool, such as ``web_search``.

        Raises:
            SettingsError: a setting cannot be used.
            StoreInUse: another process has the database open.
            StoreError: it cannot be opened.
        """
        known = _settings(path, settings, upstream=upstream, model=model, api_key=api_key)
        logs.embed()
        self.connection = LocalConnection(
            build_engine(known, toolsets=toolsets, path=None if path is None else database(path)),
            retries=retry_config, timeout_ms=timeout_ms, on_disconnect=known.on_disconnect,
        )  # fmt: skip
        self.beta = Beta(self.connection)
        self.models = Models(self.connection)
        self.classifiers = Classifiers(self.connection)

    def close(self, grace: float = GRACE) -> None:
        """Let runs end for up to `grace` seconds, then close the engine; what has not ended is carried on later.

        Calls that are under way are answered, new ones are refused. Closing again does nothing.
        """
        self.connection.thread.close(grace)

    async def close_async(self, grace: float = GRACE) -> None:
        """Close, and let others run meanwhile."""
        await self.connection.thread.close_async(grace)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close_async()


def _settings(path: str | Path | None, settings: Settings | None, **given: str | None) -> Settings:
    """Put what was given beside `settings` over them."""
    api_key = given.pop("api_key")
    over: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if settings is not None and not isinstance(settings, Settings):
        raise TypeError("settings is a causerie.settings.Settings; load() there reads one from a file and variables.")
    if settings is None and path is None:
        over["data"] = MEMORY
    if api_key is None and settings is None:
        api_key = os.environ.get(_KEY) or None
    if api_key is not None:
        over["upstream_api_key"] = api_key
    return msgspec.structs.replace(settings or Settings(), **over)
