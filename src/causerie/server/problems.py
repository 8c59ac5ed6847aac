"""Exceptions become error bodies (PROTOCOL §9): one function, used for every route."""

from __future__ import annotations

from starlette.exceptions import HTTPException

from causerie.errors import APIError, CauserieError, NotFound
from causerie.types.base import encode


def problem(error: Exception) -> tuple[int, bytes, dict[str, str]]:
    """Return status, JSON body and extra headers for an exception that we raised ourselves."""
    if isinstance(error, HTTPException):
        error = _routing(error)
    if isinstance(error, APIError):
        return error.status_code, encode(error.told()), error.headers
    message = error.message if isinstance(error, CauserieError) else "Something broke inside the server."
    return 500, encode({"object": "Error", "message": message, "type": "server_error", "code": 3000}), {}


def _routing(error: HTTPException) -> Exception:
    if error.status_code == NotFound.status_code:
        return NotFound("There is nothing at this path. /openapi.json lists what there is.")
    return error
