"""Identifiers and time, both injectable so that a test can make them deterministic.

Ids are a prefix and a UUIDv7 without dashes, so they sort by creation (PROTOCOL §1.3). They say nothing about who
may see a thing: every query carries the workspace.
"""

from __future__ import annotations

import os
import random
import re
import string
import threading
import time
from datetime import UTC, datetime, timedelta

_ALPHANUMERIC = string.ascii_letters + string.digits
_CHANCE = random.SystemRandom()  # what `secrets` draws from, without the cryptography that it loads besides
_TOOL_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
_VERSION = 0x7 << 76
_VARIANT = 0x2 << 62


class Clock:
    """Wall time for stamps and monotonic time for durations."""

    def now(self) -> datetime:
        """The time in UTC. Never a whole second, so that its JSON form always has six decimals (PROTOCOL §1.4)."""
        now = datetime.now(UTC)
        return now if now.microsecond else now + timedelta(microseconds=1)

    def monotonic(self) -> float:
        """Seconds that only grow, from an arbitrary start."""
        return time.monotonic()


class Ids:
    """Makes ids that are unique and, within one process, strictly ordered."""

    def __init__(self) -> None:
        """Start a sequence of its own."""
        self._lock = threading.Lock()
        self._last = 0

    def new(self, prefix: str) -> str:
        """Return a new id such as ``conv_019f…`` (RFC 9562 version 7, 74 bits of order and chance)."""
        return f"{prefix}_{self._uuid7():032x}"

    def uuid(self) -> str:
        """Return a new UUIDv7 in its dashed form, as correlation ids are written."""
        text = f"{self._uuid7():032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def tool_call(self) -> str:
        """Return nine random alphanumerics: the only shape of a tool call id that Mistral's models accept."""
        return "".join(_CHANCE.choices(_ALPHANUMERIC, k=9))

    def _uuid7(self) -> int:
        # 48 bits of milliseconds and 12 bits of their fraction; the rest is chance. A clock that stands still or
        # goes back must not break the order, so the stamp never falls behind the last one.
        stamp = time.time_ns() * 4096 // 1_000_000
        with self._lock:
            stamp = self._last = max(stamp, self._last + 1)
        chance = int.from_bytes(os.urandom(8)) >> 2
        return (stamp >> 12) << 80 | _VERSION | (stamp & 0xFFF) << 64 | _VARIANT | chance


def is_tool_call_id(text: str) -> bool:
    """Whether `text` has the shape of a tool call id outwards: nine alphanumerics (PROTOCOL §1.3)."""
    return _TOOL_CALL_ID.fullmatch(text) is not None
