"""Where a client talks to, as whom and how: turns calls into requests, and carries them out in either way."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from causerie.errors import SettingsError
from causerie.ids import Ids
from causerie.version import VERSION

from .exchange import Connected, Logger, answered, streamed
from .place import ConversationEvents
from .request import Call, Retries
from .streams import EventStream, EventStreamAsync, opened, opened_async
from .wire import AsyncHttpClient, Course, HttpClient, Prepared, Steps, pull, pull_async

if TYPE_CHECKING:
    import asyncio

R = TypeVar("R")
ApiKey = str | Callable[[], str | None] | None

SERVERS = {
    "global": "https://api.mistral.ai",
    "eu": "https://api.eu.mistral.ai",
    "us": "https://api.us.mistral.ai",
}
TIMEOUT_MS = 300_000


class Connection:
    """The settings of a client, and its HTTP clients: one for threads, one per event loop, each made when needed."""

    def __init__(
        self,
        *,
        api_key: ApiKey,
        base: str,
        client: HttpClient | None,
        async_client: AsyncHttpClient | None,
        retries: Retries,
        timeout_ms: int | None,
        log: Logger | None,
    ) -> None:
        """Take the settings."""
        self._api_key, self._base = api_key, base
        self._http, self._own = client, client is None
        self._http_async = async_client
        self._of_loops: dict[asyncio.AbstractEventLoop, AsyncHttpClient] = {}
        self._retries = retries
        self._timeout_ms = TIMEOUT_MS if timeout_ms is None else timeout_ms
        self._log = log or _log_of_the_environment()
        self._ids = Ids()
        self._keeps_keys: set[str] = set()
        self._making = threading.Lock()

    def run(self, call: Call[R]) -> R:
        """Return what a call is answered with."""
        found = pull(Course(self._answered(call)), self._sync())
        return cast("R", found[0] if found else None)

    async def run_async(self, call: Call[R]) -> R:
        """Return what a call is answered with."""
        found = await pull_async(Course(self._answered(call)), self._async())
        return cast("R", found[0] if found else None)

    def stream(self, call: Call[object]) -> EventStream:
        """Return the events that a call is answered with."""
        place, course = self._streamed(call)
        return opened(place, course, self._sync(), self)

    async def stream_async(self, call: Call[object]) -> EventStreamAsync:
        """Return the events that a call is answered with."""
        place, course = self._streamed(call)
        return await opened_async(place, course, self._async(), self)

    def close(self) -> None:
        """Close the sync client, unless it was given."""
        if self._http is not None and self._own:
            self._http.close()
            self._http = None

    async def close_async(self) -> None:
        """Close the async client of this loop, unless it was given."""
        with self._making:
            http = self._of_loops.pop(_loop(), None)
        if http is not None:
            await http.aclose()

    def _answered(self, call: Call[R]) -> Steps[R | None]:
        prepared = self._prepared(call, stream=False)
        return answered(prepared, call, call.options.retrying(self._retries), self._log)

    def _streamed(self, call: Call[object]) -> tuple[Connected, Course[ConversationEvents]]:
        base = call.options.server_url or self._base
        place = Connected(self._prepared(call, stream=True), base, self._keeps_keys, call.follows)
        return place, Course(streamed(place, call.options.retrying(self._retries), self._log))

    def _prepared(self, call: Call[object], *, stream: bool) -> Prepared:
        options = call.options
        headers = {"accept": "text/event-stream" if stream else "application/json", "user-agent": _AGENT}
        if key := _bearer(self._api_key):
            headers["authorization"] = key
        content = call.content(stream=stream)
        if content is not None:
            headers["content-type"] = "application/json"
            if call.leaves_a_trace:
                headers["idempotency-key"] = self._ids.uuid()  # one for all attempts: a run is not started twice
        if call.follows is not None and call.follows[2]:
            headers["last-event-id"] = call.follows[2]
        headers |= {name.lower(): value for name, value in (options.http_headers or {}).items()}
        url = call.target(options.server_url or self._base)
        return Prepared(call.operation.method, url, headers, content, options.seconds(self._timeout_ms), stream)

    def _sync(self) -> HttpClient:
        with self._making:
            if self._http is None:
                import httpx2  # noqa: PLC0415  # see wire.py

                self._http = cast("HttpClient", httpx2.Client(follow_redirects=True))
            return self._http

    def _async(self) -> AsyncHttpClient:
        if self._http_async is not None:
            return self._http_async
        loop = _loop()
        with self._making:
            if loop not in self._of_loops:  # a connection lives in its loop: in another one it cannot even be closed
                import httpx2  # noqa: PLC0415  # see wire.py

                self._of_loops = {one: http for one, http in self._of_loops.items() if not one.is_closed()}
                self._of_loops[loop] = cast("AsyncHttpClient", httpx2.AsyncClient(follow_redirects=True))
            return self._of_loops[loop]


def _loop() -> asyncio.AbstractEventLoop:
    import asyncio  # noqa: PLC0415  # who comes here has it; the sync side does without

    return asyncio.get_running_loop()


_AGENT = f"causerie-python/{VERSION}"


def base_url(server: str | None, server_url: str | None, url_params: dict[str, str] | None) -> str:
    """Return the URL to talk to: `server_url` with its parameters filled in, else that of a hosted server.

    Raises:
        SettingsError: there is no server of that name.
    """
    if server_url:
        for name, value in (url_params or {}).items():
            server_url = server_url.replace(f"{{{name}}}", value)
        return server_url.rstrip("/")
    if (server or "global") not in SERVERS:
        raise SettingsError(f"There is no server '{server}'. Say {', '.join(SERVERS)}, or give its server_url.")
    return SERVERS[server or "global"]


def _bearer(api_key: ApiKey) -> str | None:
    key = api_key() if callable(api_key) else api_key
    if api_key is None:
        key = _token_of_a_file() or os.environ.get("MISTRAL_API_KEY")
    if not key:
        return None
    return key if key.lower().startswith("bearer ") else f"Bearer {key}"


def _token_of_a_file() -> str | None:
    """Return the service account's token. It is read each time: whoever mounts it there also renews it."""
    path = os.environ.get("MISTRAL_SA_TOKEN_PATH")
    if not path:
        return None
    try:
        token = Path(path).read_text("utf-8").strip()
    except OSError as error:
        raise SettingsError(f"MISTRAL_SA_TOKEN_PATH: {path} cannot be read: {error.strerror}.") from error
    if not token:
        raise SettingsError(f"MISTRAL_SA_TOKEN_PATH: {path} is empty.")
    return token


def _log_of_the_environment() -> Logger:
    log = logging.getLogger("causerie.client")
    if os.environ.get("MISTRAL_DEBUG"):
        logging.basicConfig(level=logging.DEBUG)
        log.setLevel(logging.DEBUG)
    return log
