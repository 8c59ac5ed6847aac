"""append and append_stream: a conversation goes on, with everything that was said before."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from itertools import pairwise
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.replies import PATIENCE, Text
from tests.support.samples import GET_RATE, GET_TIME, result, user
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json

EMPTY = "Either inputs or tool_confirmations must be provided"
OPEN_CALLS = "Not the same number of function calls and responses"


@pytest.fixture
def conversation(sdk: SDK) -> str:
    """A conversation with one question and one answer."""
    made: str = sdk.start(inputs="One").conversation_id
    return made


@pytest.fixture
def two_calls(sdk: SDK, model: Script) -> tuple[str, str, str]:
    """A conversation with two open calls, and their ids."""
    model.calls(("get_rate", {"date": "2024-06-06"}), ("get_time", {}))
    response = sdk.start(inputs="Which rate, and what time is it?", tools=[GET_RATE, GET_TIME])
    rate, time = response.outputs
    return response.conversation_id, rate.tool_call_id, time.tool_call_id


@pytest.mark.requirement("C-048", "C-049")
def test_the_model_reads_the_whole_history_and_the_new_inputs(sdk: SDK, model: Script) -> None:
    model.say("Seven.")
    model.say("Nine.")
    first = sdk.start(inputs="What is 3+4?", instructions="Answer with one word.")
    second = sdk.append(conversation_id=first.conversation_id, inputs="And 4+5?")

    assert second.conversation_id == first.conversation_id
    assert [output.content for output in second.outputs] == ["Nine."]
    assert model.last.messages == [
        {"role": "system", "content": "Answer with one word."},
        {"role": "user", "content": "What is 3+4?"},
        {"role": "assistant", "content": "Seven."},
        {"role": "user", "content": "And 4+5?"},
    ]


@pytest.mark.requirement("C-048")
def test_several_entries_can_be_appended_at_once(sdk: SDK, model: Script, conversation: str) -> None:
    sdk.append(conversation_id=conversation, inputs=[user("Two"), {"role": "assistant", "content": "2"}, user("Three")])

    contents = [entry.content for entry in sdk.get_history(conversation).entries]
    assert contents == ["One", "Answer 1", "Two", "2", "Three", "Answer 2"]
    assert [message["content"] for message in model.last.messages] == contents[:-1]


@pytest.mark.requirement("C-048")
def test_each_prompt_begins_with_the_bytes_of_the_one_before(sdk: SDK, model: Script, conversation: str) -> None:
    for number in range(3):
        sdk.append(conversation_id=conversation, inputs=f"Turn {number} 🙂")

    prompts = [request.messages_bytes.rstrip(b"]") for request in model.requests]
    assert [after.startswith(before) for before, after in pairwise(prompts)] == [True] * 3


@pytest.mark.requirement("C-049", "C-066")
def test_a_streamed_append_announces_its_own_conversation(sdk: SDK, model: Script, conversation: str) -> None:
    model.say("Fi", "ne.")
    started, *deltas, done = sdk.append_stream(conversation_id=conversation, inputs="Two")

    assert (started.type, started.conversation_id) == ("conversation.response.started", conversation)
    assert "".join(delta.content for delta in deltas) == "Fine."
    assert done.type == "conversation.response.done"
    assert sdk.get_history(conversation).entries[-1].content == "Fine."


@pytest.mark.requirement("C-050")
@pytest.mark.parametrize("streamed", [False, True])
def test_updated_at_moves_forward(sdk: SDK, conversation: str, streamed: bool) -> None:
    before = sdk.get(conversation)
    (sdk.append_stream if streamed else sdk.append)(conversation_id=conversation, inputs="Two")
    after = sdk.get(conversation)

    assert after.updated_at > before.updated_at
    assert after.created_at == before.created_at


@pytest.mark.requirement("C-051", "C-052", "C-054")
@pytest.mark.parametrize(
    "nothing",
    [{}, {"inputs": []}, {"tool_confirmations": None}, {"inputs": [], "tool_confirmations": None},
     {"inputs": [], "tool_confirmations": []}],
    ids=["nothing", "no inputs", "null confirmations", "no inputs, null confirmations", "both empty"],
)  # fmt: skip
@pytest.mark.parametrize("operation", ["append", "append_stream"])
def test_appending_nothing_is_refused_in_the_services_words(
    sdk: SDK, model: Script, conversation: str, nothing: dict[str, Any], operation: str
) -> None:
    with sdk.refuses(422) as refusal:
        getattr(sdk, operation)(conversation_id=conversation, **nothing)

    assert EMPTY in refusal.message
    assert refusal.code == 3001
    assert len(model.requests) == 1


@pytest.mark.requirement("C-051")
def test_appending_nothing_is_refused_before_anything_else_is_looked_at(
    sdk: SDK, two_calls: tuple[str, str, str]
) -> None:
    for conversation in (two_calls[0], "conv_that_never_was"):
        with sdk.refuses(422) as refusal:
            sdk.append(conversation_id=conversation, inputs=[])
        assert EMPTY in refusal.message


@pytest.mark.requirement("C-053")
@pytest.mark.parametrize("inputs", [{}, {"inputs": []}], ids=["absent", "empty"])
def test_confirmations_can_come_without_inputs(sdk: SDK, conversation: str, inputs: dict[str, Any]) -> None:
    confirmation = {"tool_call_id": "a1B2c3D4e", "confirmation": "allow"}
    with sdk.refuses(422) as refusal:
        sdk.append(conversation_id=conversation, tool_confirmations=[confirmation], **inputs)

    # What is refused is that no such call is pending, not that there are no inputs.
    assert refusal.loc == ["body", "tool_confirmations", 0, "tool_call_id"]


@pytest.mark.requirement("C-054")
def test_null_confirmations_are_none(sdk: SDK, conversation: str) -> None:
    response = sdk.append(conversation_id=conversation, inputs="Two", tool_confirmations=None)
    assert [output.content for output in response.outputs] == ["Answer 2"]


@pytest.mark.requirement("C-055")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [GET_RATE]), ("instructions", "Be brief."), ("model", "another"), ("guardrails", []),
        ("metadata", {}), ("name", "n"), ("description", "d"), ("agent_id", "ag_1"), ("from_entry_id", "msg_1"),
    ],
)  # fmt: skip
def test_what_belongs_to_the_conversation_cannot_be_appended(
    raw: Raw, model: Script, field: str, value: object
) -> None:
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json["conversation_id"]
    before = raw.get(f"/v1/conversations/{made}/history").body
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": "Two", field: value})

    assert answer.status == 422
    (detail,) = answer.json["detail"]
    assert (detail["type"], detail["loc"]) == ("extra_forbidden", ["body", field])
    assert raw.get(f"/v1/conversations/{made}/history").body == before
    assert len(model.requests) == 1


@pytest.mark.requirement("C-056")
def test_completion_args_of_an_append_hold_for_it_alone(sdk: SDK, model: Script) -> None:
    first = sdk.start(inputs="One", completion_args={"temperature": 0.25, "max_tokens": 77})
    entity = as_json(sdk.get(first.conversation_id))["completion_args"]
    sdk.append(conversation_id=first.conversation_id, inputs="Two", completion_args={"temperature": 0.5})
    sdk.append(conversation_id=first.conversation_id, inputs="Three")

    sent = [(request.json["temperature"], request.json["max_tokens"]) for request in model.requests]
    assert sent == [(0.25, 77), (0.5, 77), (0.25, 77)]
    assert as_json(sdk.get(first.conversation_id))["completion_args"] == entity


@pytest.mark.requirement("C-057")
@pytest.mark.parametrize("streamed", [False, True])
def test_store_false_reads_the_history_and_leaves_it_alone(
    sdk: SDK, raw: Raw, model: Script, conversation: str, streamed: bool
) -> None:
    path = f"/v1/conversations/{conversation}"
    before = (raw.get(path).body, raw.get(f"{path}/history").body)
    (sdk.append_stream if streamed else sdk.append)(conversation_id=conversation, inputs="Forget this", store=False)

    assert [message["content"] for message in model.last.messages] == ["One", "Answer 1", "Forget this"]
    assert (raw.get(path).body, raw.get(f"{path}/history").body) == before
    sdk.append(conversation_id=conversation, inputs="Two")
    assert [message["content"] for message in model.last.messages] == ["One", "Answer 1", "Two"]


@pytest.mark.requirement("C-058")
@pytest.mark.parametrize("where", ["server", "client"])
def test_handoff_execution_can_be_given_with_an_append(sdk: SDK, conversation: str, where: str) -> None:
    response = sdk.append(conversation_id=conversation, inputs="Two", handoff_execution=where)
    assert [output.content for output in response.outputs] == ["Answer 2"]


@pytest.mark.requirement("C-058")
def test_another_handoff_execution_is_refused(raw: Raw, model: Script) -> None:
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json["conversation_id"]
    answer = raw.post(f"/v1/conversations/{made}", {"inputs": "Two", "handoff_execution": "both"})

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "handoff_execution"]


@pytest.mark.requirement("C-059")
@pytest.mark.parametrize("operation", ["append", "append_stream"])
def test_an_unknown_conversation_is_not_found(sdk: SDK, operation: str) -> None:
    with sdk.refuses(404) as refusal:
        getattr(sdk, operation)(conversation_id="conv_that_never_was", inputs="Two")
    assert (refusal.body["object"], refusal.code) == ("Error", 3404)


@pytest.mark.requirement("C-060")
@pytest.mark.parametrize("operation", ["append", "append_stream"])
def test_a_deleted_conversation_is_not_found(sdk: SDK, model: Script, conversation: str, operation: str) -> None:
    sdk.delete(conversation)
    with sdk.refuses(404) as refusal:
        getattr(sdk, operation)(conversation_id=conversation, inputs="Two")

    assert refusal.code == 3404
    assert len(model.requests) == 1


@pytest.mark.requirement("C-061")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_result_lets_the_model_go_on(sdk: SDK, model: Script, streamed: bool) -> None:
    model.call("get_rate", {"date": "2024-06-06"}, call_id="a1B2c3D4e")
    model.say("2.5%.")
    first = sdk.start(inputs="Which rate?", tools=[GET_RATE])
    (call,) = first.outputs
    told = {"conversation_id": first.conversation_id, "inputs": [result(call.tool_call_id, '{"rate": "2.5%"}')]}
    if streamed:
        assert sdk.append_stream(**told)[1].content == "2.5%."
    else:
        assert [output.content for output in sdk.append(**told).outputs] == ["2.5%."]

    asked, called, answered = model.last.messages
    assert asked == {"role": "user", "content": "Which rate?"}
    assert called["role"] == "assistant"
    assert [(one["id"], one["type"], one["function"]["name"]) for one in called["tool_calls"]] == [
        ("a1B2c3D4e", "function", "get_rate")
    ]
    assert called["tool_calls"][0]["function"]["arguments"] == '{"date": "2024-06-06"}'
    assert (answered["role"], answered["tool_call_id"]) == ("tool", "a1B2c3D4e")
    assert answered["content"] == '{"rate": "2.5%"}'
    kinds = [entry.type for entry in sdk.get_history(first.conversation_id).entries]
    assert kinds == ["message.input", "function.call", "function.result", "message.output"]


@pytest.mark.requirement("C-061")
def test_results_of_parallel_calls_may_come_in_any_order(
    sdk: SDK, model: Script, two_calls: tuple[str, str, str]
) -> None:
    conversation, rate, time = two_calls
    response = sdk.append(conversation_id=conversation, inputs=[result(time, "noon"), result(rate, "2.5%")])

    assert [output.content for output in response.outputs] == ["Answer 2"]
    _, called, *answers = model.last.messages
    by_id = {answer["tool_call_id"]: answer["content"] for answer in answers}
    told = {one["function"]["name"]: by_id[one["id"]] for one in called["tool_calls"]}
    assert told == {"get_rate": "2.5%", "get_time": "noon"}


@pytest.mark.requirement("C-061")
def test_a_message_may_follow_the_results(sdk: SDK, model: Script, two_calls: tuple[str, str, str]) -> None:
    conversation, rate, time = two_calls
    sdk.append(conversation_id=conversation, inputs=[result(rate, "2.5%"), result(time, "noon"), user("Be brief.")])
    assert [message["role"] for message in model.last.messages] == ["user", "assistant", "tool", "tool", "user"]


@pytest.mark.requirement("C-062")
@pytest.mark.parametrize("known", [0, 1, 2], ids=["no other", "one open call", "both open calls"])
def test_a_result_for_a_call_nobody_made_is_refused(sdk: SDK, two_calls: tuple[str, str, str], known: int) -> None:
    conversation, *calls = two_calls
    inputs = [*(result(call, "fine") for call in calls[:known]), result("zzzzzzzzz", "fine")]
    with sdk.refuses(422) as refusal:
        sdk.append(conversation_id=conversation, inputs=inputs)

    assert refusal.loc[:3] == ["body", "inputs", known]
    assert "zzzzzzzzz" in refusal.message
    assert len(sdk.get_history(conversation).entries) == 3


@pytest.mark.requirement("C-062")
def test_a_call_cannot_be_answered_again(sdk: SDK, model: Script, two_calls: tuple[str, str, str]) -> None:
    conversation, rate, time = two_calls
    with sdk.refuses(422):
        sdk.append(conversation_id=conversation, inputs=[result(rate, "1"), result(rate, "2"), result(time, "3")])
    sdk.append(conversation_id=conversation, inputs=[result(rate, "1"), result(time, "2")])
    with sdk.refuses(422) as refusal:
        sdk.append(conversation_id=conversation, inputs=[result(rate, "3")])

    assert refusal.loc[:3] == ["body", "inputs", 0]
    assert len(model.requests) == 2


@pytest.mark.requirement("C-063")
@pytest.mark.parametrize("operation", ["append", "append_stream"])
def test_a_message_before_the_results_is_refused(
    sdk: SDK, model: Script, two_calls: tuple[str, str, str], operation: str
) -> None:
    before = as_json(sdk.get_history(two_calls[0]))
    with sdk.refuses(400) as refusal:
        getattr(sdk, operation)(conversation_id=two_calls[0], inputs="Never mind.")

    assert OPEN_CALLS in refusal.message
    assert as_json(sdk.get_history(two_calls[0])) == before
    assert len(model.requests) == 1


@pytest.mark.requirement("C-064")
def test_results_for_some_of_the_open_calls_are_refused(
    sdk: SDK, model: Script, two_calls: tuple[str, str, str]
) -> None:
    conversation, rate, time = two_calls
    before = as_json(sdk.get_history(conversation))
    for partial in ([result(rate, "2.5%")], [result(rate, "2.5%"), user("And?")]):
        with sdk.refuses(400) as refusal:
            sdk.append(conversation_id=conversation, inputs=partial)
        assert OPEN_CALLS in refusal.message
    assert as_json(sdk.get_history(conversation)) == before
    assert len(model.requests) == 1

    response = sdk.append(conversation_id=conversation, inputs=[result(rate, "2.5%"), result(time, "noon")])
    assert [output.content for output in response.outputs] == ["Answer 2"]


@pytest.mark.requirement("C-065")
@pytest.mark.parametrize("operation", ["append", "append_stream"])
def test_a_second_run_is_told_at_once_which_run_is_in_the_way(
    sdk: SDK, raw: Raw, model: Script, conversation: str, operation: str
) -> None:
    with model.gate() as gate:
        model.reply(Text("Two"), gate, Text("!"))
        with raw.stream(f"/v1/conversations/{conversation}", {"inputs": "Two", "stream": True}) as first:
            started = first.frame()
            gate.wait_reached()
            with sdk.refuses(409) as refusal:
                getattr(sdk, operation)(conversation_id=conversation, inputs="Three")
            assert len(sdk.get_history(conversation).entries) == 2
            assert sdk.get(conversation).id == conversation
            gate.open()
            assert [frame.event for frame in first.frames()][-1] == "conversation.response.done"

    assert started is not None
    assert (refusal.body["object"], refusal.code) == ("Error", 3409)
    assert started.json["run_id"] in refusal.message
    assert [entry.content for entry in sdk.get_history(conversation).entries[2:]] == ["Two", "Two!"]
    assert sdk.append(conversation_id=conversation, inputs="Three").outputs[0].content == "Answer 3"


@pytest.mark.requirement("C-057", "C-065")
def test_store_false_is_never_in_the_way_nor_held_up(
    sdk: SDK, model: Script, conversation: str, meanwhile: Callable[..., Future[Any]]
) -> None:
    with model.gate() as gate:
        model.say("Two", before=gate)
        first = meanwhile(sdk.append, conversation_id=conversation, inputs="Two")
        gate.wait_reached()
        aside = sdk.append(conversation_id=conversation, inputs="Aside", store=False)
    assert aside.outputs[0].content == "Answer 3"
    assert [message["content"] for message in model.last.messages] == ["One", "Answer 1", "Aside"]
    assert first.result(PATIENCE).outputs[0].content == "Two"
