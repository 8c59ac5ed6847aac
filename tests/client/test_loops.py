"""The async side of a client is used in one event loop after another, and in several at once."""

from __future__ import annotations

import asyncio
import gc
from contextlib import ExitStack

import pytest

from causerie.client import Mistral

PATIENCE = 20


async def said(mistral: Mistral) -> str:
    """Start a conversation in the loop that runs; the connection is kept open behind it."""
    start = mistral.beta.conversations.start_async(inputs="Hi", model="rehearsal")
    return (await asyncio.wait_for(start, PATIENCE)).conversation_id


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # nobody closed what the loops had open
def test_a_program_may_run_one_loop_after_another(server_url: str) -> None:
    mistral = Mistral(server_url=server_url)
    assert len({asyncio.run(said(mistral)) for _ in range(3)}) == 3
    del mistral
    gc.collect()


def test_loops_that_take_turns_do_not_share_connections(server_url: str) -> None:
    mistral = Mistral(server_url=server_url)
    with ExitStack() as stack:
        runners = [stack.enter_context(asyncio.Runner()) for _ in range(2)]
        assert len({runner.run(said(mistral)) for _ in range(2) for runner in runners}) == 4
        for runner in runners:
            runner.run(mistral.__aexit__(None, None, None))
