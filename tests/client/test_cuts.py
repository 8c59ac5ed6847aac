"""A stream whose connection breaks at any byte, again and again: the caller sees each event once, in order."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from causerie.client.utils import BackoffStrategy, RetryConfig

from .conftest import Side
from .proxy import cutting

AT_ONCE = BackoffStrategy(1, 2, 1.0, 60_000, jitter_ms=0)
TEXT = " ".join(f"word{number}" for number in range(150))
CUTS = 200


@pytest.mark.parametrize("seed", [1, 2])
def test_a_stream_that_is_cut_200_times_is_whole(connect: Callable[..., Side], server_url: str, seed: int) -> None:
    chance, direct = random.Random(seed), connect(server_url)  # noqa: S311  # chance that is the same each time
    first: list[int | None] = [None]  # the connection of the warm-up is left alone
    retries = RetryConfig("backoff", AT_ONCE, retry_connection_errors=False)

    with cutting(server_url, lambda: first.pop() if first else chance.randrange(1, 6000)) as proxy:
        client = connect(proxy.url, retry_config=retries)
        client.rest(client.call("start_stream", inputs="Warm up.", model="rehearsal"))
        client.close()
        runs = 0
        while proxy.cuts < CUTS:
            stream = client.call("start_stream", inputs=TEXT, model="rehearsal")
            seen = client.rest(stream)
            where = {"conversation_id": stream.conversation_id, "run_id": stream.run_id}
            told = direct.rest(direct.call("follow_run", **where))
            assert [item.model_dump_json() for item in seen] == [item.model_dump_json() for item in told]
            assert [one.state for one in direct.call("list_runs", conversation_id=stream.conversation_id).data] == [
                "done"
            ]
            runs += 1

    assert runs >= 5
    listed = direct.call("list", page_size=1000)
    assert len({one.id for one in listed}) == len(listed)


def test_a_start_that_was_cut_before_its_answer_runs_once(connect: Callable[..., Side], server_url: str) -> None:
    allowed: list[int | None] = [10, 40, 200, None]
    retries = RetryConfig("backoff", AT_ONCE, retry_connection_errors=True)
    direct = connect(server_url)
    before = {one.id for one in direct.call("list", page_size=1000)}

    with cutting(server_url, lambda: allowed.pop(0)) as proxy:
        client = connect(proxy.url, retry_config=retries)
        response = client.call("start", inputs="Once, please.", model="rehearsal")

    assert proxy.cuts == 3
    assert {one.id for one in direct.call("list", page_size=1000)} - before == {response.conversation_id}
    assert len(direct.call("get_history", conversation_id=response.conversation_id).entries) == 2
