"""When a request is sent again, and after how long: pure decisions, for both shells.

`RetryConfig` and `BackoffStrategy` are constructed as in the official SDK.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

RETRIED = ("429", "500", "502", "503", "504")


class BackoffStrategy:
    """How long to wait between attempts. All times are milliseconds."""

    def __init__(
        self,
        initial_interval: int,
        max_interval: int,
        exponent: float,
        max_elapsed_time: int,
        jitter_ms: int | None = None,
    ) -> None:
        """Wait `initial_interval · exponent ** retries` and some chance, at most `max_interval`.

        Args:
            initial_interval: before the first retry.
            max_interval: the longest wait.
            exponent: how the wait grows.
            max_elapsed_time: after that long the last answer stands.
            jitter_ms: the most that chance adds; a second where it is not given.
        """
        if jitter_ms is not None and jitter_ms < 0:
            raise ValueError("jitter_ms is 0 or more.")
        self.initial_interval = initial_interval
        self.max_interval = max_interval
        self.exponent = exponent
        self.max_elapsed_time = max_elapsed_time
        self.jitter_ms = jitter_ms


class RetryConfig:
    """Whether requests are sent again."""

    def __init__(
        self,
        strategy: str,
        backoff: BackoffStrategy,
        retry_connection_errors: bool,  # positional as in the SDK
        status_codes_override: Sequence[str] | None = None,
    ) -> None:
        """Send again on 429, 500, 502, 503 and 504.

        Args:
            strategy: ``"backoff"``; anything else sends once.
            backoff: how long to wait.
            retry_connection_errors: send again also where there was no response.
            status_codes_override: the statuses to send again on, such as ``"409"`` or ``"5XX"``.
        """
        self.strategy = strategy
        self.backoff = backoff
        self.retry_connection_errors = retry_connection_errors
        self.status_codes_override = status_codes_override


RECONNECT = RetryConfig("backoff", BackoffStrategy(250, 5_000, 1.5, 60_000, 250), retry_connection_errors=True)
"""How a broken stream is taken up again where the caller has not said: a server may take a while to come back."""


class Attempts:
    """The attempts at one request, from the first on."""

    def __init__(self, config: RetryConfig | None, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Begin to count; `None` sends once."""
        self._config = config if config is not None and config.strategy == "backoff" else None
        self._monotonic = monotonic
        self._began = monotonic()
        self.made = 0  # retries

    def after_response(self, status: int, headers: Mapping[str, str]) -> float | None:
        """Return the seconds to wait before sending again; None if this answer stands."""
        if self._config is None or not _matches(status, self._config.status_codes_override or RETRIED):
            return None
        return self._delay(self._config.backoff, told_delay(headers))

    def after_failure(self) -> float | None:
        """Likewise, where there was no response."""
        if self._config is None or not self._config.retry_connection_errors:
            return None
        return self._delay(self._config.backoff, None)

    def _delay(self, backoff: BackoffStrategy, told: float | None) -> float | None:
        if (self._monotonic() - self._began) * 1000 > backoff.max_elapsed_time:
            return None
        made, self.made = self.made, self.made + 1
        if told is not None:
            return told
        chance = random.uniform(0, 1000 if backoff.jitter_ms is None else backoff.jitter_ms)  # noqa: S311  # no secret
        try:
            grown = backoff.initial_interval * backoff.exponent**made
        except OverflowError:
            grown = backoff.max_interval
        return min(grown + chance, backoff.max_interval) / 1000


def told_delay(headers: Mapping[str, str]) -> float | None:
    """Return the positive number of seconds that a response asks to wait, if it does (RFC 9110 §10.2.3)."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000 if milliseconds > 0 else None
    text = headers.get("retry-after")
    seconds = _number(text)
    if seconds is None and text:
        from email.utils import parsedate_to_datetime  # noqa: PLC0415  # dear to load, and hardly any server says a date

        try:
            at = parsedate_to_datetime(text)
        except (ValueError, TypeError):
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return seconds if seconds is not None and seconds > 0 else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _matches(status: int, patterns: Sequence[str]) -> bool:
    text = str(status)
    return any(text[0] == pattern[0] if "X" in pattern.upper() else text == pattern for pattern in map(str, patterns))
