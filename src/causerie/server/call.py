"""One HTTP request as a handler sees it: what was asked, and its place in the log."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope

from causerie.engine.engine import Engine
from causerie.engine.operations import HEADERS, Asked
from causerie.errors import CauserieError, PayloadTooLarge, UnsupportedMediaType
from causerie.types.operations import Operation
from causerie.types.requests import OnDisconnect

_WITH_BODY = {"POST", "PUT", "PATCH"}
_HEADERS = {name.encode() for name in HEADERS}


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

    async def asked(self, operation: Operation) -> Asked:
        """Read what was asked.

        Raises:
            UnsupportedMediaType: the body is not sent as JSON; a web page could send anything else unasked (D13).
            PayloadTooLarge: it is longer than this server takes.
        """
        body, query = b"", list[tuple[str, str]]()
        if operation.in_query:
            query = parse_qsl(self._scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if operation.method in _WITH_BODY:
            if operation.request is not None and not operation.in_query:
                self._check_head()
            body = await self._read()
            if operation.in_query and body and not query:  # where it may stand instead
                self._check_head()
        # Of a header that came twice, the first counts.
        known = ((name, value) for name, value in reversed(self._scope["headers"]) if name in _HEADERS)
        headers = {name.decode(): value.decode("latin-1") for name, value in known}
        return Asked(
            operation=operation, workspace=self.workspace, path=self.path, query=query, body=body, headers=headers,
            on_disconnect=self.options.on_disconnect,
        )  # fmt: skip

    def _check_head(self) -> None:
        headers = dict(self._scope["headers"])
        media = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
        if media != b"application/json":
            raise UnsupportedMediaType(
                f"The body came as '{media.decode('latin-1')}'. Send it with 'Content-Type: application/json'."
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.options.max_body_bytes:
            raise self._too_large()

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
