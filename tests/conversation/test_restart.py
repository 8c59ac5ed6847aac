"""restart and restart_stream: a new conversation out of the beginning of another, which stays as it was."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.replies import Text
from tests.support.samples import GET_RATE, GET_TIME, result, user
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json

OPEN_CALLS = "Not the same number of function calls and responses"


@pytest.fixture
def original(sdk: SDK) -> str:
    """A conversation of two turns: One, Answer 1, Two, Answer 2."""
    made: str = sdk.start(inputs="One", instructions="Be brief.", metadata={"a": 1}).conversation_id
    sdk.append(conversation_id=made, inputs="Two")
    return made


@pytest.fixture
def called(sdk: SDK, model: Script) -> tuple[str, list[Any]]:
    """A conversation with two calls that were answered, and its entries."""
    model.calls(("get_rate", {"date": "2024-06-06"}), ("get_time", {}))
    response = sdk.start(inputs="Which rate, and what time is it?", tools=[GET_RATE, GET_TIME])
    results = [result(call.tool_call_id, "fine") for call in response.outputs]
    sdk.append(conversation_id=response.conversation_id, inputs=results)
    return response.conversation_id, sdk.get_history(response.conversation_id).entries


def contents(sdk: SDK, conversation: str) -> list[str]:
    """Return what was said in a conversation of messages."""
    return [entry.content for entry in sdk.get_history(conversation).entries]


@pytest.mark.requirement("C-067")
@pytest.mark.parametrize("body", [{}, {"from_entry_id": None}, {"from_entry_id": 5}], ids=["missing", "null", "number"])
def test_the_entry_to_restart_from_is_required(raw: Raw, model: Script, body: dict[str, Any]) -> None:
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json["conversation_id"]
    answer = raw.post(f"/v1/conversations/{made}/restart", body | {"inputs": "Two"})

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "from_entry_id"]
    assert len(model.requests) == 1


@pytest.mark.requirement("C-068", "C-069", "C-071")
def test_a_restart_keeps_everything_up_to_and_including_the_entry(sdk: SDK, model: Script) -> None:
    original = sdk.start(inputs="What is 3+4?")
    branch = sdk.restart(
        conversation_id=original.conversation_id, from_entry_id=original.outputs[0].id, inputs="And 6+6?"
    )

    assert branch.conversation_id != original.conversation_id
    kept = as_json(sdk.get_history(original.conversation_id))["entries"]
    entries = as_json(sdk.get_history(branch.conversation_id))["entries"]
    assert entries[:2] == kept
    assert [entry["content"] for entry in entries[2:]] == ["And 6+6?", "Answer 2"]
    assert [message["content"] for message in model.last.messages] == ["What is 3+4?", "Answer 1", "And 6+6?"]


@pytest.mark.requirement("C-069")
@pytest.mark.parametrize("position", range(4))
def test_every_entry_can_be_the_last_that_is_kept(sdk: SDK, model: Script, original: str, position: int) -> None:
    entry = sdk.get_history(original).entries[position]
    branch = sdk.restart(conversation_id=original, from_entry_id=entry.id, inputs="New").conversation_id

    kept = ["One", "Answer 1", "Two", "Answer 2"][: position + 1]
    assert contents(sdk, branch) == [*kept, "New", "Answer 3"]
    assert [message["content"] for message in model.last.messages] == ["Be brief.", *kept, "New"]


@pytest.mark.requirement("C-069")
def test_a_branch_keeps_the_settings_of_the_original(sdk: SDK, model: Script) -> None:
    settings = {"instructions": "Be brief.", "tools": [GET_RATE], "completion_args": {"temperature": 0.25}}
    first = sdk.start(inputs="One", name="n", description="d", **settings)
    branch = sdk.restart(conversation_id=first.conversation_id, from_entry_id=first.outputs[0].id, inputs="Two")

    before, after = (as_json(sdk.get(one)) for one in (first.conversation_id, branch.conversation_id))
    for name in ("model", "instructions", "tools", "completion_args"):
        assert after[name] == before[name], name
    assert model.last.json["temperature"] == 0.25
    assert model.last.tools == model.requests[0].tools
    assert model.last.messages[0] == {"role": "system", "content": "Be brief."}


@pytest.mark.requirement("C-069")
def test_completion_args_of_a_restart_hold_for_its_run(sdk: SDK, model: Script) -> None:
    first = sdk.start(inputs="One", completion_args={"temperature": 0.25})
    from_start = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[0].id}
    branch = sdk.restart(**from_start, inputs="Two", completion_args={"temperature": 0.5})
    sdk.append(conversation_id=branch.conversation_id, inputs="Three")

    assert [request.json["temperature"] for request in model.requests] == [0.25, 0.5, 0.25]


@pytest.mark.requirement("C-070")
@pytest.mark.parametrize("operation", ["restart", "restart_stream"])
def test_the_original_is_left_as_it_was(sdk: SDK, raw: Raw, original: str, operation: str) -> None:
    path = f"/v1/conversations/{original}"
    before = [raw.get(path + suffix).body for suffix in ("", "/history", "/messages")]
    entry = sdk.get_history(original).entries[1]
    getattr(sdk, operation)(conversation_id=original, from_entry_id=entry.id, inputs="New", metadata={"b": 2})

    assert [raw.get(path + suffix).body for suffix in ("", "/history", "/messages")] == before


@pytest.mark.requirement("C-072")
def test_a_users_message_can_be_the_last_that_is_kept(sdk: SDK, model: Script, original: str) -> None:
    question = sdk.get_history(original).entries[2]
    branch = sdk.restart(conversation_id=original, from_entry_id=question.id, inputs="In one word").conversation_id

    assert contents(sdk, branch) == ["One", "Answer 1", "Two", "In one word", "Answer 3"]
    assert model.last.messages[-2:] == [{"role": "user", "content": "Two"}, {"role": "user", "content": "In one word"}]


@pytest.mark.requirement("C-073")
def test_after_a_kept_call_its_result_must_be_supplied(sdk: SDK, model: Script, called: tuple[str, list[Any]]) -> None:
    conversation, entries = called
    call = entries[1]
    cut = {"conversation_id": conversation, "from_entry_id": call.id}
    for inputs in ({}, {"inputs": "Never mind."}):
        with sdk.refuses(400) as refusal:
            sdk.restart(**cut, **inputs)
        assert OPEN_CALLS in refusal.message
    with sdk.refuses(422):
        # The second call was made after the cut: in the branch it does not exist.
        sdk.restart(**cut, inputs=[result(call.tool_call_id, "1%"), result(entries[2].tool_call_id, "noon")])

    branch = sdk.restart(**cut, inputs=[result(call.tool_call_id, "1%")])
    kinds = [entry.type for entry in sdk.get_history(branch.conversation_id).entries]
    assert kinds == ["message.input", "function.call", "function.result", "message.output"]
    _, made, told = model.last.messages
    assert [one["function"]["name"] for one in made["tool_calls"]] == ["get_rate"]
    assert (told["tool_call_id"], told["content"]) == (made["tool_calls"][0]["id"], "1%")


@pytest.mark.requirement("C-073")
def test_a_cut_between_results_asks_for_the_rest(sdk: SDK, model: Script, called: tuple[str, list[Any]]) -> None:
    conversation, entries = called
    cut = {"conversation_id": conversation, "from_entry_id": entries[3].id}
    with sdk.refuses(400):
        sdk.restart(**cut, inputs=[user("Never mind.")])
    sdk.restart(**cut, inputs=[result(entries[2].tool_call_id, "noon")])

    _, made, *told = model.last.messages
    by_id = {answer["tool_call_id"]: answer["content"] for answer in told}
    assert [by_id[one["id"]] for one in made["tool_calls"]] == ["fine", "noon"]


@pytest.mark.requirement("C-074")
@pytest.mark.parametrize("operation", ["restart", "restart_stream"])
def test_an_unknown_entry_is_not_found(sdk: SDK, model: Script, original: str, operation: str) -> None:
    restart = getattr(sdk, operation)
    for conversation, entry in ((original, "msg_that_never_was"), ("conv_that_never_was", "msg_that_never_was")):
        with sdk.refuses(404) as refusal:
            restart(conversation_id=conversation, from_entry_id=entry, inputs="New")
        assert (refusal.body["object"], refusal.code) == ("Error", 3404)
    assert len(model.requests) == 2


@pytest.mark.requirement("C-075")
def test_an_entry_of_another_conversation_is_not_found(sdk: SDK, original: str) -> None:
    elsewhere = sdk.start(inputs="Elsewhere").outputs[0].id
    with sdk.refuses(404):
        sdk.restart(conversation_id=original, from_entry_id=elsewhere, inputs="New")

    first, *_ = sdk.get_history(original).entries
    branch = sdk.restart(conversation_id=original, from_entry_id=first.id, inputs="New")
    with sdk.refuses(404):
        sdk.restart(conversation_id=original, from_entry_id=branch.outputs[0].id, inputs="Of the branch")
    with sdk.refuses(404):
        last = sdk.get_history(original).entries[-1]
        sdk.restart(conversation_id=branch.conversation_id, from_entry_id=last.id, inputs="Beyond the cut")


@pytest.mark.requirement("C-076")
@pytest.mark.parametrize("inputs", [{}, {"inputs": []}], ids=["absent", "empty"])
def test_without_inputs_a_message_is_answered_again(
    sdk: SDK, model: Script, original: str, inputs: dict[str, Any]
) -> None:
    question = sdk.get_history(original).entries[2]
    branch = sdk.restart(conversation_id=original, from_entry_id=question.id, **inputs).conversation_id

    assert contents(sdk, branch) == ["One", "Answer 1", "Two", "Answer 3"]
    assert model.requests[2].messages_bytes == model.requests[1].messages_bytes


@pytest.mark.requirement("C-076")
def test_without_inputs_a_result_is_answered_again(sdk: SDK, model: Script, called: tuple[str, list[Any]]) -> None:
    conversation, entries = called
    branch = sdk.restart(conversation_id=conversation, from_entry_id=entries[4].id)

    assert [output.content for output in branch.outputs] == ["Answer 3"]
    assert model.requests[2].messages_bytes == model.requests[1].messages_bytes


@pytest.mark.requirement("C-076")
def test_without_inputs_there_has_to_be_something_to_answer(sdk: SDK, model: Script, original: str) -> None:
    answer = sdk.get_history(original).entries[1]
    with sdk.refuses(422) as refusal:
        sdk.restart(conversation_id=original, from_entry_id=answer.id)

    assert refusal.loc == ["body", "inputs"]
    assert len(model.requests) == 2


@pytest.mark.requirement("C-078")
def test_metadata_of_a_branch_is_set_dropped_or_inherited(sdk: SDK, original: str) -> None:
    cut = {"conversation_id": original, "from_entry_id": sdk.get_history(original).entries[1].id, "inputs": "New"}
    shown = [
        as_json(sdk.get(sdk.restart(**cut, **metadata).conversation_id)).get("metadata")
        for metadata in ({"metadata": {"b": 2}}, {"metadata": None}, {})
    ]
    assert shown == [{"b": 2}, None, {"a": 1}]
    assert sdk.get(original).metadata == {"a": 1}


@pytest.mark.requirement("C-078")
@pytest.mark.parametrize("metadata", [["a"], "a", 5, {"long": "x" * 16384}])
def test_metadata_of_a_branch_has_the_same_limits(raw: Raw, model: Script, metadata: object) -> None:
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json
    body = {"from_entry_id": made["outputs"][0]["id"], "inputs": "Two", "metadata": metadata}
    answer = raw.post(f"/v1/conversations/{made['conversation_id']}/restart", body)

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "metadata"]


@pytest.mark.requirement("C-080")
@pytest.mark.parametrize("streamed", [False, True])
def test_store_false_leaves_no_branch(sdk: SDK, model: Script, streamed: bool) -> None:
    label = {"of": f"branch not stored {model.name}"}
    first = sdk.start(inputs="One", metadata=label)
    cut = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[0].id, "inputs": "New"}
    if streamed:
        made = sdk.restart_stream(**cut, store=False)[0].conversation_id
    else:
        made = sdk.restart(**cut, store=False).conversation_id

    assert [message["content"] for message in model.last.messages] == ["One", "Answer 1", "New"]
    assert made != first.conversation_id
    with sdk.refuses(404):
        sdk.get(made)
    assert [one.id for one in sdk.list(metadata=label)] == [first.conversation_id]
    assert contents(sdk, first.conversation_id) == ["One", "Answer 1"]


@pytest.mark.requirement("C-081")
@pytest.mark.parametrize("field", ["tools", "tool_confirmations", "instructions", "model", "name", "agent_id", "seed"])
def test_what_a_restart_does_not_take_is_refused_by_name(raw: Raw, model: Script, field: str) -> None:
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json
    body = {"from_entry_id": made["outputs"][0]["id"], "inputs": "Two", field: []}
    answer = raw.post(f"/v1/conversations/{made['conversation_id']}/restart", body)

    assert answer.status == 422
    (detail,) = answer.json["detail"]
    assert (detail["type"], detail["loc"]) == ("extra_forbidden", ["body", field])
    assert len(model.requests) == 1


@pytest.mark.requirement("C-082")
def test_a_branch_can_be_branched_from_any_of_its_entries(sdk: SDK, original: str) -> None:
    first, second, *_ = sdk.get_history(original).entries
    child = sdk.restart(conversation_id=original, from_entry_id=second.id, inputs="Child").conversation_id
    own = sdk.get_history(child).entries[-1]
    grandchild = sdk.restart(conversation_id=child, from_entry_id=own.id, inputs="Grandchild").conversation_id
    inherited = sdk.restart(conversation_id=grandchild, from_entry_id=first.id, inputs="Early").conversation_id

    assert contents(sdk, child) == ["One", "Answer 1", "Child", "Answer 3"]
    assert contents(sdk, grandchild) == ["One", "Answer 1", "Child", "Answer 3", "Grandchild", "Answer 4"]
    assert contents(sdk, inherited) == ["One", "Early", "Answer 5"]
    sdk.append(conversation_id=child, inputs="More")
    assert contents(sdk, child)[-2:] == ["More", "Answer 6"]
    assert contents(sdk, grandchild)[-2:] == ["Grandchild", "Answer 4"]


@pytest.mark.requirement("C-082")
def test_a_branch_outlives_what_it_was_cut_from(sdk: SDK, model: Script, original: str) -> None:
    entry = sdk.get_history(original).entries[3]
    child = sdk.restart(conversation_id=original, from_entry_id=entry.id, inputs="Child").conversation_id
    sdk.delete(original)

    said = ["One", "Answer 1", "Two", "Answer 2", "Child", "Answer 3"]
    assert contents(sdk, child) == said
    sdk.append(conversation_id=child, inputs="More")
    assert [message["content"] for message in model.last.messages] == ["Be brief.", *said, "More"]


@pytest.mark.requirement("C-070", "C-071")
def test_a_conversation_in_use_can_be_branched_where_it_is_committed(
    sdk: SDK, raw: Raw, model: Script, original: str
) -> None:
    committed = sdk.get_history(original).entries[-1]
    with model.gate() as gate:
        model.reply(Text("Thr"), gate, Text("ee"))
        with raw.stream(f"/v1/conversations/{original}", {"inputs": "Three", "stream": True}) as running:
            started, delta = running.frame(), running.frame()
            assert started is not None
            assert delta is not None
            branch = sdk.restart(conversation_id=original, from_entry_id=committed.id, inputs="New")
            with sdk.refuses(409) as refusal:
                sdk.restart(conversation_id=original, from_entry_id=delta.json["id"], inputs="Too early")
            gate.open()
            assert [frame.event for frame in running.frames()][-1] == "conversation.response.done"

    assert started.json["run_id"] in refusal.message
    assert contents(sdk, branch.conversation_id)[-2:] == ["New", "Answer 4"]
    assert contents(sdk, original)[-2:] == ["Three", "Three"]
    late = sdk.restart(conversation_id=original, from_entry_id=delta.json["id"], inputs="In time")
    assert contents(sdk, late.conversation_id)[-3:] == ["Three", "In time", "Answer 5"]


@pytest.mark.requirement("C-070", "C-083")
def test_a_branch_can_be_deleted_without_the_original(sdk: SDK, original: str) -> None:
    entry = sdk.get_history(original).entries[1]
    branch = sdk.restart_stream(conversation_id=original, from_entry_id=entry.id, inputs="New")[0].conversation_id
    sdk.delete(branch)

    assert contents(sdk, original) == ["One", "Answer 1", "Two", "Answer 2"]
    assert contents(sdk, sdk.restart(conversation_id=original, from_entry_id=entry.id, inputs="N").conversation_id) == [
        *("One", "Answer 1"),
        *("N", "Answer 4"),
    ]


@pytest.mark.requirement("C-083")
def test_a_streamed_restart_announces_the_new_conversation(sdk: SDK, model: Script, original: str) -> None:
    entry = sdk.get_history(original).entries[1]
    model.say("Fi", "ne.")
    started, *deltas, done = sdk.restart_stream(conversation_id=original, from_entry_id=entry.id, inputs="New")

    assert started.type == "conversation.response.started"
    assert started.conversation_id != original
    assert "".join(delta.content for delta in deltas) == "Fine."
    assert done.type == "conversation.response.done"
    assert contents(sdk, started.conversation_id) == ["One", "Answer 1", "New", "Fine."]
