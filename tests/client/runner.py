"""A client that runs functions in one of its four ways, and answers that a server cans for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from causerie.client.run import RunResult
from tests.support.samples import check_calls
from tests.support.scripted import Script

from .canned import Canned
from .conftest import Side

RATE, TIME = ("get_rate", {"date": "x"}), ("get_time", {"zone": "UTC"})
"""Calls that a scripted model makes of the runner's functions."""


class Runner:
    """Runs in one of the four ways; `called` is what its functions were called with."""

    def __init__(self, side: Side, model: str, *, streams: bool = False) -> None:
        self.side, self.model, self.streams = side, model, streams
        self.called: list[str] = []
        self.events: list[Any] = []

    async def get_rate(self, date: str) -> str:
        """The interest rate of a day."""
        self.called.append(date)
        return f"2.5% on {date}"

    def get_time(self, zone: str) -> dict[str, str]:
        """The time.

        Args:
            zone: where.
        """
        self.called.append(zone)
        if zone == "nowhere":
            raise LookupError("there is no such zone")
        return {"zone": zone}

    @property
    def functions(self) -> list[Callable[..., Any]]:
        return [self.get_rate, self.get_time]

    def run(self, inputs: Any = None, **options: Any) -> RunResult[Any]:
        """Run to the end, or to where it stops."""
        given = {"functions": self.functions, **options} | ({} if inputs is None else {"inputs": inputs})
        if not given.keys() & {"model", "agent_id", "conversation_id", "resume"}:
            given["model"] = self.model
        if not self.streams:
            found: RunResult[Any] = self.side.call("run", **given)
            return found
        stream = self.side.call("run_stream", **given)
        self.events += self.side.rest(stream)
        ended: RunResult[Any] = stream.result
        return ended

    def history(self, result: RunResult[Any]) -> list[Any]:
        entries: list[Any] = self.side.call("get_history", conversation_id=result.conversation_id).entries
        return entries


def told(model: Script) -> list[str]:
    """What the model was told that its calls came to."""
    return check_calls(model.last.messages)


def answer(*outputs: dict[str, Any]) -> Canned:
    """Return a response with these outputs."""
    usage: dict[str, Any] = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 5}
    usage |= {"connector_tokens": 3, "connectors": {"web_search": 1}}
    body = {"object": "conversation.response", "conversation_id": "conv_1", "outputs": [*outputs], "usage": usage}
    return Canned(json.dumps(body).encode())
