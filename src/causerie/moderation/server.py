"""Any server with a ``/moderations``, Mistral's or OpenAI's shape: what is sent, what comes back, what goes wrong.

OpenAI's categories are read as those of this API that mean the same. A server that has no such path, or does not
know a category, is no failure: it scores nothing, or less, and says so.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
from aiohttp.client_exceptions import ConnectionTimeoutError
from yarl import URL

from causerie.errors import (
    APIError,
    BadRequest,
    RateLimited,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)

from .base import ModerationRequest, Offered, Score, Scored, Scores

SOURCES: dict[str, tuple[str, ...]] = {
    "sexual": ("sexual", "sexual/minors"),
    "hate_and_discrimination": (
        *("hate_and_discrimination", "hate", "hate/threatening", "harassment", "harassment/threatening"),
    ),
    "violence_and_threats": (
        *("violence_and_threats", "violence", "violence/graphic", "hate/threatening", "harassment/threatening"),
    ),
    "dangerous_and_criminal_content": (
        *("dangerous_and_criminal_content", "dangerous", "criminal", "illicit", "illicit/violent"),
    ),
    "dangerous": ("dangerous", "dangerous_and_criminal_content", "illicit/violent"),
    "criminal": ("criminal", "dangerous_and_criminal_content", "illicit", "illicit/violent"),
    "selfharm": ("selfharm", "self-harm", "self-harm/intent", "self-harm/instructions"),
    "health": ("health",),
    "financial": ("financial",),
    "law": ("law",),
    "pii": ("pii",),
    "jailbreaking": ("jailbreaking",),
}
"""Each category, and what servers call it or its parts: the highest of those that are there is its score."""

_FLAGGED = 0.5  # of a server that gives scores and does not say which are too high
_IDLE = 4.0  # seconds; model servers drop a connection after five, and it has to be us who drops it
_LARGE_BODY = 1 << 20
_LONGEST = 500
_SHORTEST_SECRET = 6
_NOT_THERE = {404, 405, 501}
_MEANING: dict[int, tuple[type[APIError], str]] = {
    400: (BadRequest, "refused the text"),
    401: (UpstreamError, "refused this server's own credentials"),
    403: (UpstreamError, "refused this server's own credentials"),
    408: (UpstreamTimeout, "did not answer in time"),
    413: (BadRequest, "refused the text"),
    422: (BadRequest, "refused the text"),
    429: (RateLimited, "asks for patience"),
    503: (UpstreamUnavailable, "is not available"),
    504: (UpstreamTimeout, "did not answer in time"),
}


class _Result(msgspec.Struct):
    # OpenAI has null for what a model does not know.
    category_scores: dict[str, float | None] | None = None
    categories: dict[str, bool | None] | None = None


class _Answer(msgspec.Struct):
    results: list[_Result]


class ModerationServer:
    """A moderator at a base URL such as ``http://127.0.0.1:8000/v1``. It belongs to the event loop that uses it."""

    def __init__(
        self, base_url: str, api_key: str | None = None, *, name: str | None = None, model: str | None = None,
        seconds: float = 10.0,
    ) -> None:  # fmt: skip
        """Say where it is; nothing is sent before the first request.

        Args:
            base_url: what comes before ``/moderations``; it has been checked.
            api_key: sent as a bearer token.
            name: what messages call it; its URL by default.
            model: what the moderation model is called there, whatever a caller names.
            seconds: how long it may take.
        """
        url = URL(base_url)
        self._url = url.with_path(url.path.rstrip("/"), keep_query=True)
        self.name = name or str(url.with_query(None))
        self._headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "causerie"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._secret = api_key if api_key and len(api_key) > _SHORTEST_SECRET else None
        self._model, self._seconds = model, seconds
        self._session: aiohttp.ClientSession | None = None

    @property
    def offered(self) -> Offered:
        """See `Moderator.offered`: what it does not score shows when it is asked."""
        return Offered(frozenset(SOURCES), by_model=self._model is None)

    async def score(self, request: ModerationRequest) -> Scored:
        """See `Moderator.score`. Chats are sent as chats; where nobody reads them, their last messages as texts."""
        asked = {"model": self._model or request.model}
        answer: bytes | str = ""
        if request.chats is not None:
            answer = await self._ask("chat/moderations", asked | {"input": msgspec.Raw(request.chats)})
        if isinstance(answer, str):
            answer = await self._ask("moderations", asked | {"input": request.texts})
        if isinstance(answer, str):
            return Scored([{} for _ in request.texts], answer)
        return Scored(self._read(answer, len(request.texts)))

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE)
            timeout = aiohttp.ClientTimeout(total=self._seconds)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _ask(self, path: str, what: Mapping[str, Any]) -> bytes | str:
        """Return the answer, or in words why there is nobody to give one."""
        body = msgspec.json.encode(what)
        data = body if len(body) <= _LARGE_BODY else io.BytesIO(body)  # aiohttp warns of a large body in one piece
        url = (self._url / path).with_query(self._url.query)
        try:
            # A redirect would send the text to somewhere that nobody configured.
            request = self._open().post(url, data=data, headers=self._headers, allow_redirects=False)
            async with request as response:
                status, headers, told = response.status, response.headers, await response.read()
        except ConnectionTimeoutError as error:
            raise self._unreachable("no connection within the time allowed") from error
        except TimeoutError as error:
            raise UpstreamTimeout(f"The moderation server {self.name} took more than {self._seconds:g} s.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        if status in _NOT_THERE:
            return f"the moderation server {self.name} answers {path} with {status} ({self._clean(_said(told))})"
        if status != 200:
            raise self._refusal(status, headers, told)
        return told

    def _read(self, body: bytes, count: int) -> Sequence[Scores]:
        try:
            results = msgspec.json.decode(body, type=_Answer).results
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self._broken(f"it is no moderation ({error})") from error
        if len(results) != count:
            raise self._broken(f"it has {len(results)} results for {count} texts")
        found = [_scores(result) for result in results]
        if any(not 0 <= score.value <= 1 for scores in found for score in scores.values()):
            raise self._broken("a score is not between 0 and 1")
        return found

    def _unreachable(self, why: str) -> UpstreamUnavailable:
        return UpstreamUnavailable(
            f"The moderation server {self.name} cannot be reached: {self._clean(why)}", headers={"Retry-After": "1"}
        )

    def _broken(self, why: str) -> UpstreamError:
        return UpstreamError(f"The moderation server {self.name} gave a broken answer: {self._clean(why)}")

    def _refusal(self, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        kind, what = _MEANING.get(status, (UpstreamError, "failed"))
        patience = headers.get("Retry-After", "1" if kind is UpstreamUnavailable else "")
        waits = kind in {UpstreamUnavailable, RateLimited} and patience.isascii() and patience.isprintable()
        said = self._clean(_said(body)) or "without saying why"
        return kind(
            f"The moderation server {self.name} {what} ({status}): {said}",
            headers={"Retry-After": patience} if waits and patience else {},
        )

    def _clean(self, said: str) -> str:
        said = " ".join(said.split())
        if self._secret:
            said = said.replace(self._secret, "***")
        return said if len(said) <= _LONGEST else said[:_LONGEST] + "…"


def _scores(result: _Result) -> dict[str, Score]:
    """Read one result, in whoever's words it is."""
    flags = {name: flag for name, flag in (result.categories or {}).items() if flag is not None}
    scores = {name: score for name, score in (result.category_scores or {}).items() if score is not None}
    values = {name: float(flag) for name, flag in flags.items()} | scores
    found = dict[str, Score]()
    for category, sources in SOURCES.items():
        names = [name for name in sources if name in values]
        if names:
            flagged = any(flags.get(name, values[name] >= _FLAGGED) for name in names)
            found[category] = Score(max(values[name] for name in names), flagged)
    return found


def _said(body: bytes) -> str:
    """Return what an error says, in whichever of the many shapes."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return body.decode(errors="replace")
    while isinstance(told, dict):
        told = next((told[key] for key in ("error", "message", "detail") if told.get(key)), "")
    return told if isinstance(told, str) else msgspec.json.encode(told).decode()
