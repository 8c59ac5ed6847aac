"""How long is waited before a request is sent again: pure."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from causerie.client.retries import Attempts, told_delay
from causerie.client.utils import BackoffStrategy, RetryConfig


class Watch:
    """A clock that the test turns."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def attempts(watch: Watch | None = None, **backoff: Any) -> Attempts:
    strategy = BackoffStrategy(
        **({"initial_interval": 100, "max_interval": 1000, "exponent": 2, "max_elapsed_time": 5000, "jitter_ms": 0}
           | backoff)
    )  # fmt: skip
    return Attempts(RetryConfig("backoff", strategy, retry_connection_errors=True), watch or Watch())


def test_the_wait_grows_up_to_a_bound() -> None:
    one = attempts()
    assert [one.after_failure() for _ in range(5)] == [0.1, 0.2, 0.4, 0.8, 1.0]
    huge = attempts(exponent=1e300)
    assert [huge.after_failure() for _ in range(3)] == [0.1, 1.0, 1.0]


@pytest.mark.parametrize(("jitter", "most"), [(50, 0.15), (None, 1.0)])
def test_chance_adds_to_the_wait(jitter: int | None, most: float) -> None:
    random.seed(5)
    waits = [attempts(jitter_ms=jitter).after_failure() or 0 for _ in range(200)]
    assert 0.1 <= min(waits) < max(waits) <= most


def test_after_the_time_is_up_the_answer_stands() -> None:
    watch = Watch()
    one = attempts(watch)
    watch.time = 5.0
    assert one.after_response(503, {}) == 0.1
    watch.time = 5.1
    assert one.after_response(503, {"retry-after": "1"}) is None
    assert one.after_failure() is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7), ({"retry-after": "0.5"}, 0.5), ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25), ({"retry-after": "0"}, None),
        ({"retry-after": "-3"}, None), ({"retry-after": "soon"}, None), ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "inf", "retry-after": "3"}, 3), ({}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
    ],
)  # fmt: skip
def test_what_the_server_asks_for_counts(headers: dict[str, str], seconds: float | None) -> None:
    assert told_delay(headers) == seconds
    assert attempts().after_response(429, headers) == (0.1 if seconds is None else seconds)


def test_the_server_may_name_a_moment() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < (told_delay({"retry-after": moment}) or 0) <= 3600


def test_chance_is_not_negative() -> None:
    with pytest.raises(ValueError, match="jitter_ms"):
        BackoffStrategy(1, 1, 1, 1, jitter_ms=-1)
