"""One HTTP request as a handler sees it: its body decoded, its query decoded, its place in the log."""

from __future__ import annotations

from typing import Any, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from causerie.engine.engine import Engine
from causerie.engine.runlog import Cursor
from causerie.errors import CauserieError, InvalidRequest, PayloadTooLarge, UnsupportedMediaType
from causerie.types.operations import Operation
from causerie.types.requests import Nothing, OnDisconnect, decode_query, decode_request

T = TypeVar("T")
MAX_KEY = 256


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sets about answering.

    Attributes:
        max_body_bytes: longer bodies are a 413.
        keep_alive_seconds: after that much silence in a stream a comment is sent.
        on_disconnect: what a run does when its client leaves, where the request does not say.
    """

    max_body_bytes: int = 32 * 1024 * 1024
    keep_alive_seconds: float = 10
    on_disconnect: OnDisconnect = "continue"


class Gone(CauserieError):
    """The client hung up before its request was complete."""


class Call:
    """A request that a route was found for."""

    def __init__(self, scope: Scope, receive: Receive, engine: Engine, options: Options) -> None:
        """Take what the server hands over; nothing is read yet."""
        self.engine = engine
        self.options = options
        self.receive = receive
        self.workspace: str = scope["workspace"]
        self.path: dict[str, str] = scope.get("path_params", {})
        self.noted: dict[str, Any] = scope["noted"]
        self._scope = scope
        self._query: str = scope["query_string"].decode("latin-1")

    @property
    def idempotency_key(self) -> str | None:
        """The key under which this request may come again; None where the client gave none.

        Raises:
            InvalidRequest: it is empty or too long.
        """
        key = self._header(b"idempotency-key")
        if key is not None and not 0 < len(key) <= MAX_KEY:
            raise InvalidRequest(
                f"An idempotency key has 1 to {MAX_KEY} characters.", loc=("header", "idempotency-key"), given=key
            )
        return key

    def on_disconnect(self, asked: OnDisconnect | None) -> OnDisconnect:
        """What happens when the client leaves: as the body says, else the header, else the server's default.

        Raises:
            InvalidRequest: the header says something else.
        """
        header = self._header(b"causerie-on-disconnect")
        if header not in (None, "continue", "cancel"):
            raise InvalidRequest(
                "Causerie-On-Disconnect is 'continue' or 'cancel'.", loc=("header", "causerie-on-disconnect"),
                given=header,
            )  # fmt: skip
        return asked or ("cancel" if header == "cancel" else "continue" if header else self.options.on_disconnect)

    def cursor(self) -> Cursor | None:
        """Where a client that comes back stands: ``Last-Event-ID``, or ``?after=``.

        Raises:
            InvalidRequest: that is no event id of ours, or there is another parameter.
        """
        given = dict(parse_qsl(self._query, keep_blank_values=True))
        if unknown := given.keys() - {"after"}:
            name = min(unknown)
            raise InvalidRequest(f"There is no parameter '{name}' here.", loc=("query", name), kind="extra_forbidden")
        header = self._header(b"last-event-id")
        text = header or given.get("after")
        if not text:
            return None
        cursor = Cursor.parse(text)
        if cursor is None:
            raise InvalidRequest(
                "That is not the id of an event of a run. Send the last one that was received, or none.",
                loc=("header", "last-event-id") if header else ("query", "after"), given=text,
            )  # fmt: skip
        return cursor

    def _header(self, name: bytes) -> str | None:
        for key, value in self._scope["headers"]:
            if key == name:
                return str(value.decode("latin-1"))
        return None

    async def request(self, one: Operation) -> Any:
        """Decode what an operation takes, from where the table says that it stands; None where it takes nothing.

        Raises:
            CauserieError: as `query`, `body` and `no_body` do.
        """
        if one.method in ("GET", "DELETE"):
            return None if one.request is None else self.query(one.request)
        if one.in_query and (self._query or (self._header(b"content-length") or "0") == "0"):
            await self.no_body()
            return self.query(one.request)
        return await self.body(one.request)

    async def body(self, kind: type[T]) -> T:
        """Read and decode the body.

        Raises:
            UnsupportedMediaType: it is not sent as JSON; a web page could send anything else unasked (D13).
            PayloadTooLarge: it is longer than this server takes.
            BadRequest: it is not JSON.
            InvalidRequest: a field is missing, unknown or wrong.
        """
        headers = dict(self._scope["headers"])
        media = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if media != b"application/json":
            raise UnsupportedMediaType(
                f"The body came as '{media.decode('latin-1')}'. Send it with 'Content-Type: application/json'."
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.options.max_body_bytes:
            raise self._too_large()
        return decode_request(await self._read(), kind)

    async def no_body(self) -> None:
        """See that there is no body, or an empty object: nothing is accepted and ignored.

        Raises:
            InvalidRequest: there is something in it.
        """
        body = await self._read()
        if body:
            decode_request(body, Nothing)

    def query(self, kind: type[T]) -> T:
        """Decode the query; what is not a parameter of it is refused.

        Raises:
            InvalidRequest: a parameter is missing, unknown or wrong.
        """
        given, lists = dict[str, Any](), _lists(kind)
        for name, value in parse_qsl(self._query, keep_blank_values=True):
            if name in lists:
                given.setdefault(name, []).append(value)
            else:
                given[name] = _metadata(value) if name == "metadata" else value
        return decode_query(given, kind)

    async def _read(self) -> bytes:
        pieces, size = list[bytes](), 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            piece = message.get("body", b"")
            size += len(piece)
            if size > self.options.max_body_bytes:
                raise self._too_large()
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"The request body is larger than {self.options.max_body_bytes} bytes (setting max_body_bytes)."
        )


def _lists(kind: type) -> frozenset[str]:
    """The parameters that may be repeated."""
    hints = get_type_hints(kind).items()
    return frozenset(name for name, hint in hints if any(get_origin(part) is list for part in get_args(hint)))


def _metadata(text: str) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = text
    # The official SDKs send a sentinel text for metadata that was not given (PROTOCOL §2.7): what decodes to no
    # object is no filter.
    return found if isinstance(found, dict) else None
