"""What a client costs, told by a process that has only that client: ``probe.py MODULE URL CALLS STREAMS``.

It runs under any interpreter that has the client and imports nothing else that is not the standard library's. Prints
JSON: the CPU and the time of a call, and the CPU of an event, in microseconds.
"""

from __future__ import annotations

import gc
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

BATCH = 50


def timed(do: Callable[[], int]) -> tuple[float, float]:
    """Return the CPU time and the time that one of the things done takes, in microseconds."""
    gc.collect()
    cpu, began = time.process_time(), time.perf_counter()
    count = do()
    return (time.process_time() - cpu) / count * 1e6, (time.perf_counter() - began) / count * 1e6


def main(module: str, url: str, calls: int, streams: int) -> dict[str, float]:
    """Measure; the first batch and the first stream are for warming up."""
    client = importlib.import_module(module).Mistral(api_key="any", server_url=url)
    conversations: Any = client.beta.conversations

    def call() -> int:
        for _ in range(BATCH):
            response = conversations.start(inputs="Hello.", model="bench")
            assert len(response.outputs) == 1
        return BATCH

    def stream(model: str) -> int:
        with conversations.start_stream(inputs="Hello.", model=model) as events:
            count = sum(1 for event in events if event.data is not None)
        assert count > 1
        return count

    asked = [timed(call) for _ in range(calls // BATCH + 1)][1:]
    streamed = [timed(lambda: stream("bench")) for _ in range(streams + 1)][1:]
    return {
        "call_cpu": statistics.median(cpu for cpu, _ in asked),
        "call_wall": statistics.median(wall for _, wall in asked),
        "paced_cpu": timed(lambda: stream("paced"))[0],
        "event_cpu": statistics.median(cpu for cpu, _ in streamed),
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
