"""Ids and time: their shape, their order, and that they can be told apart (PROTOCOL §1.3, §1.4)."""

from __future__ import annotations

import re
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from causerie import ids as ids_module
from causerie.ids import Clock, Ids, is_tool_call_id


def test_an_id_is_a_prefix_and_a_uuid_of_version_seven() -> None:
    before = time.time_ns() // 1_000_000
    text = Ids().new("conv")
    prefix, _, digits = text.partition("_")
    assert prefix == "conv"
    assert re.fullmatch(r"[0-9a-f]{32}", digits)
    made = uuid.UUID(digits)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000


def test_a_correlation_id_has_dashes() -> None:
    text = Ids().uuid()
    assert str(uuid.UUID(text)) == text
    assert uuid.UUID(text).version == 7


def test_ids_are_in_the_order_in_which_they_were_made() -> None:
    ids = Ids()
    made = [ids.new("msg") for _ in range(5_000)]
    assert made == sorted(set(made))


def test_the_order_survives_a_clock_that_stands_still_or_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10**18, 10**18, 10**18 - 10**12, 10**18 + 10**6])
    monkeypatch.setattr(ids_module.time, "time_ns", lambda: next(times))
    ids = Ids()
    made = [ids.new("msg") for _ in range(4)]
    assert made == sorted(set(made))


def test_threads_share_an_order() -> None:
    ids, made = Ids(), list[str]()

    def work() -> None:
        made.extend([ids.new("msg") for _ in range(1_000)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(set(made)) == 4_000


def test_two_processes_would_not_make_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids_module.time, "time_ns", lambda: 10**18)
    assert Ids().new("msg") != Ids().new("msg")


def test_a_tool_call_id_has_nine_alphanumerics() -> None:
    made = [Ids().tool_call() for _ in range(200)]
    assert all(re.fullmatch(r"[A-Za-z0-9]{9}", text) for text in made)
    assert all(is_tool_call_id(text) for text in made)
    assert len(set(made)) == 200


@pytest.mark.parametrize(
    "text", ["", "call_abcd", "abcdefgh", "abcdefghij", "abcdefgh\n", "abcdefgh-", "äbcdefghi", "chatcmpl-tool-1"]
)
def test_other_shapes_are_no_tool_call_ids(text: str) -> None:
    assert not is_tool_call_id(text)


def test_the_clock_says_utc_and_never_a_whole_second(monkeypatch: pytest.MonkeyPatch) -> None:
    class Whole(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(2025, 3, 1, 12, 0, 0, 0, UTC)

    assert Clock().now().utcoffset() == timedelta()
    monkeypatch.setattr(ids_module, "datetime", Whole)
    assert Clock().now() == datetime(2025, 3, 1, 12, 0, 0, 1, UTC)


def test_monotonic_time_does_not_go_back() -> None:
    clock = Clock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
