"""One HTTP request as a handler sees it: its body decoded, its query decoded, its place in the log."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from causerie.engine.engine import Engine
from causerie.errors import CauserieError, PayloadTooLarge, UnsupportedMediaType
from causerie.types.requests import ListRequest, decode_request, invalid

T = TypeVar("T")


class Gone(CauserieError):
    """The client hung up before its request was complete."""


class Call:
    """A request that a route was found for."""

    def __init__(
        self, scope: Scope, receive: Receive, engine: Engine, *, max_body_bytes: int, keep_alive_seconds: float
    ) -> None:
        """Take what the server hands over; nothing is read yet."""
        self.engine = engine
        self.receive = receive
        self.workspace: str = scope["workspace"]
        self.path: dict[str, str] = scope.get("path_params", {})
        self.noted: dict[str, Any] = scope["noted"]
        self._scope = scope
        self.keep_alive_seconds = keep_alive_seconds
        self._max_body_bytes = max_body_bytes

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
        if length.isdigit() and int(length) > self._max_body_bytes:
            raise self._too_large()
        return decode_request(await self._read(), kind)

    def query(self) -> ListRequest:
        """Decode the query of a list; what is not a parameter of it is refused.

        Raises:
            InvalidRequest: a parameter is unknown or wrong.
        """
        given: dict[str, Any] = dict(parse_qsl(self._scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if "metadata" in given:
            given["metadata"] = _metadata(given["metadata"])
        try:
            return msgspec.convert(given, ListRequest, strict=False)
        except msgspec.ValidationError as error:
            raise invalid(error, given, root="query") from None

    async def _read(self) -> bytes:
        pieces, size = list[bytes](), 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Gone
            piece = message.get("body", b"")
            size += len(piece)
            if size > self._max_body_bytes:
                raise self._too_large()
            pieces.append(piece)
            if not message.get("more_body", False):
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(
            f"The request body is larger than {self._max_body_bytes} bytes (setting max_body_bytes)."
        )


def _metadata(text: str) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = text
    # The official SDKs send a sentinel text for metadata that was not given (PROTOCOL §2.7): what decodes to no
    # object is no filter.
    return found if isinstance(found, dict) else None
