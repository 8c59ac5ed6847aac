"""Things that many tests say: a function, and a history that was made somewhere else."""

from __future__ import annotations

import re
from typing import Any

GET_RATE: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_rate",
        "description": "The interest rate of a day.",
        "parameters": {
            "type": "object",
            "properties": {"date": {"type": "string"}},
            "required": ["date"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}
GET_TIME: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_time", "description": "", "parameters": {}, "strict": False},
}

FOREIGN_HISTORY: list[dict[str, Any]] = [
    {"object": "entry", "type": "message.input", "id": "msg_elsewhere_1", "role": "user", "content": "Which rate?"},
    {
        "object": "entry",
        "type": "function.call",
        "id": "fc_elsewhere_1",
        "tool_call_id": "a1B2c3D4e",
        "name": "get_rate",
        "arguments": '{"date": "2024-06-06"}',
    },
    {
        "object": "entry",
        "type": "function.result",
        "id": "fr_elsewhere_1",
        "tool_call_id": "a1B2c3D4e",
        "result": '{"rate": "2.5%"}',
    },
    {"object": "entry", "type": "message.output", "id": "msg_elsewhere_2", "role": "assistant", "content": "2.5%."},
    {
        "object": "entry",
        "type": "tool.execution",
        "id": "tool_exec_elsewhere_1",
        "name": "web_search",
        "arguments": '{"query": "rate elsewhere"}',
        "info": {},
    },
    {
        "object": "entry",
        "type": "agent.handoff",
        "id": "handoff_elsewhere_1",
        "previous_agent_id": "ag_1",
        "previous_agent_name": "rates",
        "next_agent_id": "ag_2",
        "next_agent_name": "news",
    },
    {"object": "entry", "type": "message.input", "id": "msg_elsewhere_3", "role": "user", "content": "And today?"},
]
"""One entry of each kind, with ids of their own, ending with a question."""

TOOL_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def result(tool_call_id: str, text: str) -> dict[str, Any]:
    """Return the entry that answers a call."""
    return {"object": "entry", "type": "function.result", "tool_call_id": tool_call_id, "result": text}


def user(text: str) -> dict[str, Any]:
    """Return a user's message."""
    return {"object": "entry", "type": "message.input", "role": "user", "content": text}


def check_calls(messages: list[dict[str, Any]]) -> list[str]:
    """See that right after each message with calls come their results, and no others; return the results."""
    results, waiting = [], list[str]()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting, f"a result that nobody waits for: {messages}"
            waiting.remove(message["tool_call_id"])
            results.append(message["content"])
        else:
            assert not waiting, f"a message before the results: {messages}"
            waiting = [made["id"] for made in message.get("tool_calls", [])]
            assert len(set(waiting)) == len(waiting)
    assert not waiting, f"no results at the end: {messages}"
    return results
