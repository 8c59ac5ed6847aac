"""Log lines, one a request, one a run, more only when something is wrong: a server's as JSON on standard error."""

from __future__ import annotations

import asyncio
import logging
import sys

import structlog
from structlog.typing import EventDict

from causerie.types.base import encode


def configure(level: str) -> None:
    """Write lines of `level` (``debug`` to ``error``) and above."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def carry(name: str) -> None:
    """Write what a library says to the logger `name` as lines like ours."""
    logger = logging.getLogger(name)
    logger.handlers, logger.propagate = [_Carrier()], False


def embed() -> None:
    """Leave the lines to the program that the engine is part of: to its structlog, else to its `logging`."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # the program may still say how it wants them
    )


class _Carrier(logging.Handler):
    """Carries lines over. That an answer is broken off when the server stops is meant, and has no traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        broken_off = record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError)
        if not broken_off:
            line = structlog.get_logger()
            line.log(record.levelno, "http", message=record.getMessage(), exc_info=record.exc_info or False)


def _line(_: object, __: str, event: EventDict) -> bytes:
    """Write when, how grave and what first: a person reads from the left."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return encode({**first, **event})
