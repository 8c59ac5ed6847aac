"""Every exception that Causerie raises, in process and over HTTP alike.

The tree below is the whole of it. The server turns these into responses (`server/problems.py`), a client raises
the same classes from a response, so that ``except NotFound`` means one thing everywhere. Nothing here does I/O.

    CauserieError
    ├─ APIError                       what the server answers; has a status and a code
    │  ├─ BadRequest 400              ├─ InvalidRequest 422
    │  ├─ Unauthenticated 401         ├─ RateLimited 429
    │  ├─ Forbidden 403               ├─ ServerFault 500
    │  │  └─ Blocked (guardrail)      ├─ UpstreamError 502
    │  ├─ NotFound 404                │  ├─ UpstreamUnavailable 503
    │  ├─ MethodNotAllowed 405        │  └─ UpstreamTimeout 504
    │  ├─ Conflict 409                ├─ Stopping 503
    │  │  │                           │  └─ TakenOver
    │  │  ├─ Superseded               ├─ StoreError 503
    │  │  └─ RepeatedKey              │  ├─ StoreUnavailable
    │  ├─ PayloadTooLarge 413         │  ├─ SchemaMismatch
    │  └─ UnsupportedMediaType 415    │  └─ StoreInUse
    │                                 └─ RunTimedOut 504
    ├─ ConnectionFailed               client side only: there is no usable response
    ├─ RunStopped                     client side only: a run of the caller's functions cannot go on
    │  ├─ TooManyTurns                ├─ FunctionFailed
    │  └─ WrongOutput
    ├─ AttachmentError                a file cannot be attached to a message
    └─ SettingsError                  a flag, variable or file says something that cannot be done
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, cast

CORRELATION_ID = "mistral-correlation-id"


class CauserieError(Exception):
    """Something went wrong in Causerie."""

    def __init__(self, message: str | None = None) -> None:
        """Take `message`, or the class's docstring when there is nothing more exact to say."""
        self.message = message or (type(self).__doc__ or "").strip()
        self.run: Any = None  # of an error that ended a client's `run` of functions: how far it had come
        super().__init__(self.message)


class APIError(CauserieError):
    """The request could not be answered as asked."""

    status_code: ClassVar[int] = 500
    code: ClassVar[int] = 3000
    type: ClassVar[str] = "invalid_request_error"

    def __init__(
        self, message: str | None = None, *, code: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """Add what only this occurrence has: another `code`, response `headers` such as ``Retry-After``."""
        super().__init__(message)
        self.headers = headers or {}
        self.body = ""
        self.raw_response: Any = None
        if code is not None:
            self.code = code  # type: ignore[misc]  # one class has several codes (3000 and 3003 of PROTOCOL §9)

    def told(self) -> dict[str, Any]:
        """Return what the body of a response says of it (PROTOCOL §9); `from_response` is the way back."""
        return {"object": "Error", "message": self.message, "type": self.type, "code": self.code}

    @property
    def correlation_id(self) -> str | None:
        """What the server's log knows the request by; None in process."""
        return self.headers.get(CORRELATION_ID)

    def __str__(self) -> str:
        """Return the message; of an error that came over HTTP also its status, code and correlation id."""
        if self.raw_response is None:
            return self.message
        known = [f"status {self.status_code}", f"code {self.code}"]
        if self.correlation_id:
            known.append(f"correlation id {self.correlation_id}")
        return f"{self.message} ({', '.join(known)})"


class BadRequest(APIError):
    """The request does not fit the state of the conversation, or the model refused it."""

    status_code = 400
    code = 3003


class Unauthenticated(APIError):
    """Invalid API Key"""

    status_code = 401
    code = 3401
    type = "authentication_error"

    def told(self) -> dict[str, Any]:
        """Return the one thing that the API says here."""
        return {"detail": self.message}


class Forbidden(APIError):
    """The server does not take requests of this kind."""

    status_code = 403
    code = 3403


class Blocked(Forbidden):
    """Content blocked by guardrail"""

    code = 3200

    def __init__(self, message: str | None = None, *, code: int | None = None, guardrails: Any = None) -> None:
        """Say what the guardrails came to; code 3201 is for one that could not be checked and demands that it is."""
        super().__init__(message, code=code)
        self.guardrails = guardrails

    def told(self) -> dict[str, Any]:
        """Add what the guardrails came to, and the message as the hosted API documents it."""
        error = {"message": self.message, "status": self.status_code}
        return super().told() | {"error": error, "guardrails": self.guardrails}


class NotFound(APIError):
    """There is no such thing, or it belongs to somebody else, or it was deleted."""

    status_code = 404
    code = 3404


class MethodNotAllowed(APIError):
    """This path does not take this method."""

    status_code = 405
    code = 3405


class Conflict(APIError):
    """Conversation is already being processed"""

    status_code = 409
    code = 3409


class Superseded(Conflict):
    """The run no longer owns its conversation: it was deleted, or another process has taken the run over."""


class RepeatedKey(Conflict):
    """Another request has just come under this idempotency key. Ask again to get its answer."""


class PayloadTooLarge(APIError):
    """The request body is larger than the server takes."""

    status_code = 413
    code = 3413


class UnsupportedMediaType(APIError):
    """The request body must be sent as application/json."""

    status_code = 415
    code = 3415


class Stopping(APIError):
    """The server is stopping. Send the request again in a moment."""

    status_code = 503
    type = "server_error"

    def __init__(self, message: str | None = None) -> None:
        """A moment is a second or two."""
        super().__init__(message, headers={"Retry-After": "1"})


class TakenOver(Stopping):
    """Another process has taken this database over. Send the request to that one."""


class InvalidRequest(APIError):
    """A field of the request is missing, unknown or wrong."""

    status_code = 422
    code = 3001

    def __init__(
        self, message: str | None = None, *, loc: tuple[str | int, ...] = ("body",), kind: str = "value_error",
        given: Any = None,
    ) -> None:  # fmt: skip
        """Say which field: `loc` is the path to it, `kind` the sort of mistake, `given` what was sent there."""
        super().__init__(message)
        self.loc = loc
        self.kind = kind
        self.given = given
        self._told: list[dict[str, Any]] | None = None  # a server may say more than one thing

    def told(self) -> dict[str, Any]:
        """Add which fields are wrong, and how."""
        return super().told() | {"detail": self.detail}

    @property
    def detail(self) -> list[dict[str, Any]]:
        """The list that both generations of the official SDK demand of a 422 (PROTOCOL §9)."""
        if self._told is not None:
            return self._told
        return [{"type": self.kind, "loc": list(self.loc), "msg": self.message, "input": self.given}]

    @property
    def data(self) -> HTTPValidationErrorData:
        """The same list as objects."""
        return HTTPValidationErrorData([ValidationError.of(one) for one in self.detail])

    def __str__(self) -> str:
        """Begin with the path to the field, unless the message names it whole."""
        said, where = super().__str__(), ".".join(map(str, self.loc[1:]))  # it begins with "body" or "query"
        return said if where in self.message else f"{where}: {said}"

    def tell(self, detail: list[dict[str, Any]]) -> None:
        """Take over what a server said; its first point is the one that this error is about."""
        self._told, first = detail, detail[0]
        self.loc, self.kind = tuple(first.get("loc", ())), str(first.get("type", ""))
        self.given, self.message = first.get("input"), str(first.get("msg", self.message))


class RateLimited(APIError):
    """Rate limit exceeded"""

    status_code = 429
    code = 1300
    type = "rate_limited"


class ServerFault(APIError):
    """Something broke inside the server. The log line with this correlation id has the details."""

    type = "server_error"


class RunTimedOut(APIError):
    """The run took longer than it may."""

    status_code = 504
    type = "server_error"


class UpstreamError(APIError):
    """The model server answered with an error, or with something that is not an answer."""

    status_code = 502
    type = "server_error"


class UpstreamUnavailable(UpstreamError):
    """The model server could not be reached."""

    status_code = 503


class UpstreamTimeout(UpstreamError):
    """The model server did not answer in time."""

    status_code = 504


class StoreError(APIError):
    """The store could not do what was asked of it."""

    status_code = 503
    type = "server_error"


class StoreUnavailable(StoreError):
    """The store cannot be read or written right now."""


class SchemaMismatch(StoreError):
    """The database was written by another version of Causerie."""


class StoreInUse(StoreError):
    """Another process has the database open."""


class SettingsError(CauserieError):
    """A setting cannot be used as it is."""


class AttachmentError(CauserieError):
    """A file cannot be attached to a message."""


class ConnectionFailed(CauserieError):
    """The server could not be reached, or the connection broke before its answer was complete."""


class RunStopped(CauserieError):
    """A run of the caller's functions cannot go on."""


class TooManyTurns(RunStopped):
    """The model was asked as often as the run allows, and still calls functions."""


class FunctionFailed(RunStopped):
    """A function raised an error that the model is not to be told; it is the cause of this one."""


class WrongOutput(RunStopped):
    """The model's answer is not of the type that was asked for."""


@dataclass(frozen=True)
class ValidationError:
    """One point of a 422: where, what, and which sort of mistake."""

    loc: list[str | int]
    msg: str
    type: str
    input: Any = None
    ctx: Any = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> ValidationError:
        """Take it from the body of a response."""
        loc = [*told.get("loc", ())]
        return cls(loc, str(told.get("msg", "")), str(told.get("type", "")), told.get("input"), told.get("ctx"))


@dataclass(frozen=True)
class HTTPValidationErrorData:
    """What a 422 says."""

    detail: list[ValidationError]


def from_response(status: int, body: str, headers: Mapping[str, str], raw: Any = None) -> APIError:
    """Return the error that a response stands for, of the class that in process would have been raised.

    Args:
        status: the HTTP status.
        body: the body, decoded; anything, though our server and the hosted API send JSON.
        headers: the response's headers; looked up in lower case.
        raw: what the HTTP client calls a response.
    """
    told = _object(body)
    detail, message, code = told.get("detail"), told.get("message"), told.get("code")
    if message is None and isinstance(told.get("error"), dict):  # as the hosted API documents a guardrail's 403
        message = told["error"].get("message")
    kind = _BY_STATUS.get(status, APIError)
    if kind is Forbidden and ("guardrails" in told or str(code) == str(Blocked.code)):
        kind = Blocked
    if not isinstance(message, str):  # of a 401 PROTOCOL §9 knows no more than `detail`
        message = detail if isinstance(detail, str) else json.dumps(message) if message else _excerpt(body)
    error = kind(message or f"The server answered with status {status} and said no more.")
    error.status_code = status  # type: ignore[misc]  # a status that no class stands for
    if isinstance(code, (int, str)) and str(code).isdigit():
        error.code = int(code)  # type: ignore[misc]  # see APIError
    if isinstance(told.get("type"), str):
        error.type = told["type"]  # type: ignore[misc]  # likewise
    # A client's mapping of headers finds them in any case, and is read like a dict.
    error.headers, error.body, error.raw_response = cast("dict[str, str]", headers), body, raw
    if isinstance(error, Blocked):
        error.guardrails = told.get("guardrails")
    points = [point for point in detail if isinstance(point, dict)] if isinstance(detail, list) else []
    if isinstance(error, InvalidRequest) and points:
        error.tell(points)
    return error


_BY_STATUS: dict[int, type[APIError]] = {
    kind.status_code: kind
    for kind in (
        BadRequest, Unauthenticated, Forbidden, NotFound, MethodNotAllowed, Conflict, PayloadTooLarge,
        UnsupportedMediaType, InvalidRequest, RateLimited, ServerFault, UpstreamError, UpstreamUnavailable,
        UpstreamTimeout,
    )
}  # fmt: skip


def _object(body: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _excerpt(body: str) -> str:
    return body if len(body) <= 2000 else body[:2000] + "…"
