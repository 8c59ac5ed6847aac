"""The outermost layer: who comes in, the correlation id, one log line a request, and every error as JSON."""

from __future__ import annotations

import time
from typing import Any

import structlog
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from causerie.errors import CauserieError, ServerFault
from causerie.ids import Ids

from .access import workspace_of
from .call import Gone
from .problems import problem
from .respond import Json

log = structlog.get_logger("causerie.request")
CORRELATION = b"mistral-correlation-id"


class Edge:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, ids: Ids) -> None:
        """Wrap `app`; `ids` makes correlation ids."""
        self._app, self._ids = app, ids

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through and see it out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, correlation_id, status = time.perf_counter(), self._ids.uuid(), 0
        noted: dict[str, Any] = {}
        scope["noted"] = noted
        header = (CORRELATION, correlation_id.encode())

        async def stamped(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], header]
            await send(message)

        try:
            scope["workspace"] = workspace_of(scope["headers"])
            await self._app(scope, receive, stamped)
        except Gone:
            noted["gone"] = True
        except (CauserieError, HTTPException) as error:
            await _refuse(error, receive, stamped, begun=status != 0, noted=noted)
        except Exception as error:
            log.exception("request.fault", correlation_id=correlation_id, path=scope["path"])
            fault = ServerFault(f"Something broke inside the server. Its log has the details under {correlation_id}.")
            fault.__cause__ = error
            await _refuse(fault, receive, stamped, begun=status != 0, noted=noted)
        log.info(
            "request", method=scope["method"], path=scope["path"], status=status, correlation_id=correlation_id,
            milliseconds=round((time.perf_counter() - started) * 1000, 1), **noted,
        )  # fmt: skip


async def _refuse(error: Exception, receive: Receive, send: Send, *, begun: bool, noted: dict[str, Any]) -> None:
    status, body, headers = problem(error)
    noted["error"] = str(error)
    if not begun:  # after the head has left, closing the connection is all that can still be said
        await Json(body, status=status, headers=headers).send(receive, send)
