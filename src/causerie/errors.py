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
    │  │  ├─ Superseded               ├─ StoreError 503
    │  │  └─ RepeatedKey              │  ├─ StoreUnavailable
    │  ├─ PayloadTooLarge 413         │  ├─ SchemaMismatch
    │  └─ UnsupportedMediaType 415    │  └─ StoreInUse
    │                                 └─ RunTimedOut 504
    └─ SettingsError                  a flag, variable or file says something that cannot be done
"""

from __future__ import annotations

from typing import Any, ClassVar


class CauserieError(Exception):
    """Something went wrong in Causerie."""

    def __init__(self, message: str | None = None) -> None:
        """Take `message`, or the class's docstring when there is nothing more exact to say."""
        self.message = message or (type(self).__doc__ or "").strip()
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
        if code is not None:
            self.code = code  # type: ignore[misc]  # one class has several codes (3000 and 3003 of PROTOCOL §9)


class BadRequest(APIError):
    """The request does not fit the state of the conversation, or the model refused it."""

    status_code = 400
    code = 3003


class Unauthenticated(APIError):
    """Invalid API Key"""

    status_code = 401
    code = 3401
    type = "authentication_error"


class Forbidden(APIError):
    """The server does not take requests of this kind."""

    status_code = 403
    code = 3403


class Blocked(Forbidden):
    """Content blocked by guardrail"""

    code = 3200


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

    @property
    def detail(self) -> list[dict[str, Any]]:
        """The list that both generations of the official SDK demand of a 422 (PROTOCOL §9)."""
        return [{"type": self.kind, "loc": list(self.loc), "msg": self.message, "input": self.given}]


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
