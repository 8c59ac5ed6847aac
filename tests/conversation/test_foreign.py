"""Histories that were made elsewhere, or cut: whatever a caller hands in, the model reads something valid (D1)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.samples import check_calls, result, user
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json


def said(text: str) -> dict[str, Any]:
    """Return what a model said."""
    return {"type": "message.output", "content": text}


def call(tool_call_id: str, name: str = "get_rate") -> dict[str, Any]:
    """Return a call."""
    return {"type": "function.call", "tool_call_id": tool_call_id, "name": name, "arguments": "{}"}


SEARCH = {"type": "tool.execution", "name": "web_search", "arguments": '{"query": "x"}', "info": {}}
HANDOFF = {
    "type": "agent.handoff",
    "previous_agent_id": "ag_1",
    "previous_agent_name": "a",
    "next_agent_id": "ag_2",
    "next_agent_name": "b",
}
HISTORIES: dict[str, list[dict[str, Any]]] = {
    "text, then a call": [said("Let me see."), call("aaaaaaaa1"), result("aaaaaaaa1", "1")],
    "text after a call": [call("aaaaaaaa1"), said("Let me see."), result("aaaaaaaa1", "1")],
    "text around a call": [said("Hm."), call("aaaaaaaa1"), said("Let me see."), result("aaaaaaaa1", "1")],
    "a search beside a call": [call("aaaaaaaa1"), SEARCH, result("aaaaaaaa1", "1")],
    "a search before a call": [SEARCH, call("aaaaaaaa1"), result("aaaaaaaa1", "1")],
    "a handoff beside a call": [call("aaaaaaaa1"), HANDOFF, result("aaaaaaaa1", "1")],
    "results in another order": [
        *(call("aaaaaaaa1"), call("aaaaaaaa2")),
        *(result("aaaaaaaa2", "2"), result("aaaaaaaa1", "1")),
    ],
    "an id that comes again": [
        *(call("aaaaaaaa1"), result("aaaaaaaa1", "1")),
        *(call("aaaaaaaa1"), result("aaaaaaaa1", "2")),
    ],
}


@pytest.mark.requirement("C-042")
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
def test_the_model_gets_every_result_where_it_belongs(sdk: SDK, model: Script, history: list[dict[str, Any]]) -> None:
    response = sdk.start(inputs=[user("Hello"), *history, user("And now?")])

    results = check_calls(model.last.messages)
    expected = [entry["result"] for entry in history if entry["type"] == "function.result"]
    assert sorted(one for one in results if len(one) == 1) == sorted(expected)
    entries = as_json(sdk.get_history(response.conversation_id))["entries"]
    assert [entry["type"] for entry in entries[1:-2]] == [entry["type"] for entry in history]


@pytest.mark.requirement("C-042", "C-048")
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
def test_it_can_be_handed_in_at_any_later_turn(sdk: SDK, model: Script, history: list[dict[str, Any]]) -> None:
    made = sdk.start(inputs="Hello").conversation_id
    sdk.append(conversation_id=made, inputs=[user("Look"), *history, user("And now?")])
    sdk.append(conversation_id=made, inputs="More")

    _, second, third = (request.messages_bytes[:-1] for request in model.requests)
    assert third.startswith(second)
    check_calls(model.last.messages)


@pytest.mark.requirement("C-042", "C-073")
@pytest.mark.parametrize("history", HISTORIES.values(), ids=HISTORIES.keys())
def test_it_can_be_cut_anywhere(sdk: SDK, model: Script, history: list[dict[str, Any]]) -> None:
    made = sdk.start(inputs=[user("Hello"), *history, user("And now?")]).conversation_id
    entries = as_json(sdk.get_history(made))["entries"]
    for upto, entry in enumerate(entries, 1):
        kept = entries[:upto]
        waiting = [one["tool_call_id"] for one in kept if one["type"] == "function.call"]
        for one in kept:
            if one["type"] == "function.result":
                waiting.remove(one["tool_call_id"])
        inputs = [*(result(tool_call_id, "late") for tool_call_id in waiting), user("Go on")]
        sdk.restart(conversation_id=made, from_entry_id=entry["id"], inputs=inputs)
        assert check_calls(model.last.messages).count("late") == len(waiting)
        assert model.last.messages[-1] == {"role": "user", "content": "Go on"}


@pytest.mark.requirement("C-042", "C-063")
@pytest.mark.parametrize(
    "between", [call("aaaaaaaa3"), said("Hm."), user("Hm."), SEARCH, HANDOFF], ids=lambda entry: str(entry["type"])
)
def test_nothing_comes_between_the_results_of_one_turn(sdk: SDK, model: Script, between: dict[str, Any]) -> None:
    calls = [call("aaaaaaaa1"), call("aaaaaaaa2")]
    rest = [result("aaaaaaaa2", "2"), *([result("aaaaaaaa3", "3")] if between["type"] == "function.call" else [])]
    with sdk.refuses(400) as refusal:
        sdk.start(inputs=[user("Hello"), *calls, result("aaaaaaaa1", "1"), between, *rest])

    assert refusal.message.startswith("Not the same number of function calls and responses")
    assert model.requests == []


@pytest.mark.requirement("C-044")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_prefixed_answer_is_one_message_afterwards(sdk: SDK, model: Script, streamed: bool) -> None:
    model.say("2.5%.")
    inputs = [user("Which rate?"), {"role": "assistant", "content": "The rate is ", "prefix": True}]
    answer = sdk.start_stream(inputs=inputs)[0] if streamed else sdk.start(inputs=inputs)
    made = answer.conversation_id
    sdk.append(conversation_id=made, inputs="And now?")

    assert model.last.messages == [
        {"role": "user", "content": "Which rate?"},
        {"role": "assistant", "content": "The rate is 2.5%."},
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.requirement("C-044", "C-076")
def test_a_prefix_can_be_answered_again_or_followed(sdk: SDK, model: Script) -> None:
    model.say("2.5%.")
    model.say("3%.")
    made = sdk.start(inputs=[user("Which rate?"), {"role": "assistant", "content": "It is ", "prefix": True}])
    prefix = sdk.get_history(made.conversation_id).entries[1]
    cut = {"conversation_id": made.conversation_id, "from_entry_id": prefix.id}

    assert sdk.restart(**cut).outputs[0].content == "It is 3%."
    assert model.last.messages_bytes == model.requests[0].messages_bytes
    assert sdk.restart(**cut, inputs="Go on").outputs[0].content == "Answer 3"
    assert model.last.messages == [
        {"role": "user", "content": "Which rate?"},
        {"role": "assistant", "content": "It is "},
        {"role": "user", "content": "Go on"},
    ]
