"""What an upstream's refusals and failures mean for the caller: statuses and error objects become our errors.

Pure, and the one place where the table of docs/upstreams.md is written. A message says which upstream it was and
what that said, never the key that it was asked with.

    400, 413, 422     BadRequest 400, code 3230: the prompt or a setting was refused
    404, or any 4xx that says so     BadRequest 400, code 3003: there is no such model
    401, 403          UpstreamError 502: our own credentials were refused
    408, 504          UpstreamTimeout 504
    429               RateLimited 429, with its Retry-After
    503               UpstreamUnavailable 503, with its Retry-After, or one second
    everything else   UpstreamError 502
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from causerie.errors import APIError, BadRequest, RateLimited, UpstreamError, UpstreamTimeout, UpstreamUnavailable

from .surrogates import whole

UNKNOWN_MODEL = 3003
REFUSED_PROMPT = 3230

_FAILED: tuple[type[APIError], str] = (UpstreamError, "failed")
_MEANING: dict[int, tuple[type[APIError], str]] = {
    400: (BadRequest, "refused the request"),
    401: (UpstreamError, "refused this server's own upstream credentials"),
    403: (UpstreamError, "refused this server's own upstream credentials"),
    408: (UpstreamTimeout, "did not answer in time"),
    413: (BadRequest, "refused the request"),
    422: (BadRequest, "refused the request"),
    429: (RateLimited, "asks for patience"),
    503: (UpstreamUnavailable, "is not available"),
    504: (UpstreamTimeout, "did not answer in time"),
}
_HINTS: dict[int, str] = dict.fromkeys((404, 405), " (its base URL has to be the part before /chat/completions)")
_LONGEST = 500
_SHORTEST_SECRET = 6
_NO_MODEL_CODES = frozenset({"model_not_found", "model_not_exist", "invalid_model", "1500"})
_NO_MODEL = re.compile(
    r"\b(?:invalid|unknown|no such) model\b"
    r"|\bmodel\b.{0,120}?\b(?:not found|does(?: not|n't) exist|not exist|is unknown|was not found)\b",
    re.IGNORECASE | re.DOTALL,
)
_HTTP_ERROR = re.compile(r"[45][0-9][0-9]")
_STATUS_OF_TYPE = {
    "invalid_api_key": 401,
    "rate_limit": 429,
    "insufficient_quota": 429,
    "invalid_request": 400,
    "badrequest": 400,
    "exceed_context_size": 400,
    "context_length_exceeded": 400,
    "not_found": 404,
    "notfound": 404,
    "authentication": 401,
    "permission": 403,
    "unavailable": 503,
    "overloaded": 503,
    "timeout": 504,
}


class Trouble:
    """Makes the errors of one upstream."""

    def __init__(self, name: str, secret: str | None = None) -> None:
        """Errors will name the upstream `name`; `secret` is struck out of whatever it said."""
        self._name = name
        # A very short "key" is the dummy that a server without keys is given; striking it out would maim words.
        self._secret = secret if secret and len(secret) > _SHORTEST_SECRET else None

    def unreachable(self, why: str) -> UpstreamUnavailable:
        """Nobody answered."""
        return UpstreamUnavailable(
            f"The upstream {self._name} cannot be reached: {self._clean(why)}. See that it runs, and that its base URL "
            "is right.",
            headers={"Retry-After": "1"},
        )

    def silent(self, seconds: float) -> UpstreamTimeout:
        """Somebody answered, then said nothing for too long."""
        return UpstreamTimeout(f"The upstream {self._name} was silent for {seconds:g} seconds.")

    def broken(self, why: str) -> UpstreamError:
        """What came back is not an answer."""
        return UpstreamError(f"The upstream {self._name} gave a broken answer: {self._clean(why)}")

    def status(self, status: int, headers: Mapping[str, str], body: bytes) -> APIError:
        """Return the error for an answer whose status is not 200."""
        try:
            told = _Told.of(msgspec.json.decode(body))
        except (msgspec.MsgspecError, RecursionError):
            told = _Told(_one_line(body.decode(errors="replace")))
        if 300 <= status < 400:
            told = _Told(f"it redirects to {headers.get('Location', 'nowhere')}; set its base URL to where it is")
        return self._error(status, told, _patience(headers))

    def reported(self, error: Any) -> APIError:
        """Return the error for an error object that came where an answer was expected."""
        told = _Told.of(error)
        return self._error(told.status(), told, None)

    def _error(self, status: int, told: _Told, patience: str | None) -> APIError:
        kind, what = _MEANING.get(status, _FAILED)
        code = REFUSED_PROMPT if kind is BadRequest else None
        headers = {}
        if told.about_model(status):
            kind, what, code = BadRequest, "has no such model", UNKNOWN_MODEL
        elif kind is UpstreamUnavailable:
            headers["Retry-After"] = patience or "1"
        elif kind is RateLimited and patience:
            headers["Retry-After"] = patience
        said = f"({status}): {self._clean(told.message)}" if told.message else f"({status}), without saying why"
        hint = "" if kind is BadRequest else _HINTS.get(status, "")
        return kind(f"The upstream {self._name} {what} {said}{hint}", code=code, headers=headers)

    def _clean(self, said: str) -> str:
        if self._secret:
            said = said.replace(self._secret, "***")
        return said if len(said) <= _LONGEST else said[:_LONGEST] + "…"


class _Told(msgspec.Struct, frozen=True):
    """What an error object says, in whichever of the many shapes."""

    message: str
    code: str = ""
    type: str = ""

    @classmethod
    def of(cls, body: Any) -> _Told:
        """Read ``{"error": {...}}``, ``{"error": text}``, ``{"object": "error", ...}`` or ``{"detail": ...}``."""
        error = body.get("error", body) if isinstance(body, dict) else body
        if not isinstance(error, dict):
            return cls(_text(error))
        message = next((error[key] for key in ("message", "detail", "error", "msg") if error.get(key)), None)
        code = error.get("code") or error.get("status") or ""
        return cls(_text(message if message is not None else error), str(code), str(error.get("type") or ""))

    def about_model(self, status: int) -> bool:
        """Whether the trouble is that there is no such model."""
        if not 400 <= status < 500 or status in (401, 403, 429):
            return False
        if self.code in _NO_MODEL_CODES or self.type in _NO_MODEL_CODES or _NO_MODEL.search(self.message):
            return True
        # A bare "Not Found" comes from a web server that has no such path; a model server has more to say.
        return status == 404 and "model" in self.message.lower()

    def status(self) -> int:
        """The HTTP status that this would have come with."""
        if _HTTP_ERROR.fullmatch(self.code):
            return int(self.code)
        kind = f"{self.type} {self.code}".lower()
        return next((status for part, status in _STATUS_OF_TYPE.items() if part in kind), 500)


def _patience(headers: Mapping[str, str]) -> str | None:
    if (given := headers.get("Retry-After", "")) and given.isascii() and given.isprintable():
        return given
    try:
        return str(math.ceil(float(headers["retry-after-ms"]) / 1000))
    except (KeyError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str:
    if value is None or value == {}:
        return ""
    return _one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _one_line(text: str) -> str:
    return " ".join(whole(text).split())
