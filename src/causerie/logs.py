"""Log lines as JSON on standard error: one a request, one a run, more only when something is wrong."""

from __future__ import annotations

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


def _line(_: object, __: str, event: EventDict) -> bytes:
    """Write when, how grave and what first: a person reads from the left."""
    first = {name: event.pop(name) for name in ("timestamp", "level", "event")}
    return encode({**first, **event})
