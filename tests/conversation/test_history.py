"""get_history and get_messages: what was said, in order, and nothing that was not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.replies import Hangup, Text
from tests.support.samples import FOREIGN_HISTORY, GET_RATE, MOMENT, result, user
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json
from tests.support.toolset import ScriptedToolset


@pytest.mark.requirement("C-096")
def test_history_has_all_kinds_of_entry_in_order(sdk: SDK, raw: Raw, model: Script) -> None:
    model.call("get_rate", {"date": "x"})
    first = sdk.start(inputs=FOREIGN_HISTORY, tools=[GET_RATE])
    sdk.append(conversation_id=first.conversation_id, inputs=[result(first.outputs[0].tool_call_id, "2.5%")])

    entries = sdk.get_history(first.conversation_id).entries
    assert [entry.type for entry in entries] == [
        *(entry["type"] for entry in FOREIGN_HISTORY),
        "function.call",
        "function.result",
        "message.output",
    ]
    shown = raw.get(f"/v1/conversations/{first.conversation_id}/history").json["entries"]
    assert len({entry["id"] for entry in shown}) == len(shown)
    assert [entry["object"] for entry in shown] == ["entry"] * len(shown)
    moments = [entry["created_at"] for entry in shown]
    assert all(MOMENT.fullmatch(moment) for moment in moments)
    assert moments == sorted(moments)


@pytest.mark.requirement("C-096")
def test_outputs_are_in_history_exactly_as_they_were_answered(serve: Callable[..., str], model: Script) -> None:
    raw = Raw(serve(toolsets={"web_search": ScriptedToolset()}))
    model.call("web_search", {"query": "rates"})
    model.call("get_rate", {"date": "x"})
    start = {"inputs": "Which rate?", "model": model.name, "tools": [{"type": "web_search"}, GET_RATE]}
    first = raw.post("/v1/conversations", start).json
    path = f"/v1/conversations/{first['conversation_id']}"
    second = raw.post(path, {"inputs": [result(first["outputs"][-1]["tool_call_id"], "2.5%")]}).json

    entries = raw.get(f"{path}/history").json["entries"]
    assert [entry["type"] for entry in first["outputs"]] == ["tool.execution", "function.call"]
    assert entries[1:3] == first["outputs"]
    assert entries[4:] == second["outputs"]


@pytest.mark.requirement("C-097")
def test_entries_that_came_without_an_id_get_one(sdk: SDK, model: Script) -> None:
    model.call("get_rate", {"date": "x"})
    first = sdk.start(inputs=[user("Hello"), user("Which rate?")], tools=[GET_RATE])
    told = result(first.outputs[0].tool_call_id, "2.5%")
    sdk.append(conversation_id=first.conversation_id, inputs=[told, user("Be brief.")])

    entries = as_json(sdk.get_history(first.conversation_id))["entries"]
    assert [entry["id"].rpartition("_")[0] for entry in entries] == ["msg", "msg", "fc", "fr", "msg", "msg"]
    assert len({entry["id"] for entry in entries}) == 6
    assert all(entry["created_at"] for entry in entries)


@pytest.mark.requirement("C-097")
def test_an_id_of_the_callers_is_kept_and_must_be_its_own(sdk: SDK, raw: Raw, model: Script) -> None:
    first = sdk.start(inputs=[user("Hello") | {"id": "msg_mine"}])
    assert sdk.get_history(first.conversation_id).entries[0].id == "msg_mine"

    with sdk.refuses(422) as refusal:
        sdk.append(conversation_id=first.conversation_id, inputs=[user("More"), user("More") | {"id": "msg_mine"}])
    assert refusal.loc == ["body", "inputs", 1, "id"]
    twice = {"inputs": [user("A") | {"id": "msg_a"}, user("B") | {"id": "msg_a"}], "model": model.name}
    answer = raw.post("/v1/conversations", twice)
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "inputs", 1, "id"])
    cut = {"conversation_id": first.conversation_id, "from_entry_id": "msg_mine"}
    branch = sdk.restart(**cut, inputs="Again")
    assert sdk.get_history(branch.conversation_id).entries[0].id == "msg_mine"
    with sdk.refuses(422):
        sdk.restart(**cut, inputs=[user("Again") | {"id": "msg_mine"}])
    # What comes after the cut is not in the branch: its id is free there.
    beyond = first.outputs[0].id
    other = sdk.restart(**cut, inputs=[user("Again") | {"id": beyond}])
    assert [entry.id for entry in sdk.get_history(other.conversation_id).entries[:2]] == ["msg_mine", beyond]


@pytest.mark.requirement("C-098")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("how", ["refused", "broken off", "after a tool"])
def test_a_failed_append_leaves_history_as_it_was(
    serve: Callable[..., str], connect: Callable[[str], SDK], model: Script, how: str, streamed: bool
) -> None:
    sdk = connect(serve(toolsets={"web_search": ScriptedToolset()}))
    made = sdk.start(inputs="Hello", tools=[{"type": "web_search"}]).conversation_id
    before = (as_json(sdk.get(made)), as_json(sdk.get_history(made)))
    if how == "broken off":
        model.reply(Text("Half of an ans"), Hangup())
    elif how == "after a tool":
        model.call("web_search", {"query": "x"})
    model.fail(500)
    if streamed:
        last = sdk.append_stream(conversation_id=made, inputs="More")[-1]
        assert (last.type, last.code) == ("conversation.response.error", 502)
    else:
        with sdk.refuses(502):
            sdk.append(conversation_id=made, inputs="More")

    assert (as_json(sdk.get(made)), as_json(sdk.get_history(made))) == before
    assert [message.content for message in sdk.get_messages(made).messages] == ["Hello", "Answer 1"]


@pytest.mark.requirement("C-098")
def test_a_conversation_goes_on_after_a_failure_as_if_nothing_had_been(sdk: SDK, model: Script) -> None:
    made = sdk.start(inputs="One").conversation_id
    model.fail(500)
    with sdk.refuses(502):
        sdk.append(conversation_id=made, inputs="Two")
    sdk.append(conversation_id=made, inputs="Two again")

    assert [message["content"] for message in model.last.messages] == ["One", "Answer 1", "Two again"]
    assert len(sdk.get_history(made).entries) == 4


@pytest.mark.requirement("C-098")
def test_a_conversation_whose_start_failed_does_not_exist(sdk: SDK, model: Script) -> None:
    label = {"of": f"failed start {model.name}"}
    model.fail(500)
    with sdk.refuses(502):
        sdk.start(inputs="Hello", metadata=label)

    assert sdk.list(metadata=label) == []


@pytest.mark.requirement("C-098", "C-099", "C-101")
def test_a_conversation_that_was_announced_exists_although_its_start_failed(sdk: SDK, model: Script) -> None:
    model.fail(500)
    started, failed = sdk.start_stream(inputs="Hello", name="kept")
    made = started.conversation_id

    assert (failed.type, failed.code) == ("conversation.response.error", 502)
    history, messages = sdk.get_history(made), sdk.get_messages(made)
    assert as_json(history) == {"object": "conversation.history", "conversation_id": made, "entries": []}
    assert as_json(messages) == {"object": "conversation.messages", "conversation_id": made, "messages": []}
    assert sdk.get(made).name == "kept"
    sdk.append(conversation_id=made, inputs="Hello again")
    assert [entry.content for entry in sdk.get_history(made).entries] == ["Hello again", "Answer 2"]


@pytest.mark.requirement("C-098")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_branch_whose_restart_failed(sdk: SDK, model: Script, streamed: bool) -> None:
    label = {"of": f"failed restart {model.name}"}
    first = sdk.start(inputs="One", metadata=label)
    cut: dict[str, Any] = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[0].id}
    model.fail(500)
    if streamed:
        made = sdk.restart_stream(**cut, inputs="Two")[0].conversation_id
        # It was announced, so it exists: with what was kept, and without what failed.
        assert [entry.content for entry in sdk.get_history(made).entries] == ["One", "Answer 1"]
    else:
        with sdk.refuses(502):
            sdk.restart(**cut, inputs="Two")
        assert len(sdk.list(metadata=label)) == 1


@pytest.mark.requirement("C-099", "C-101")
def test_history_and_messages_are_objects_of_their_kind(raw: Raw, model: Script) -> None:
    made = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name}).json["conversation_id"]
    history = raw.get(f"/v1/conversations/{made}/history").json
    messages = raw.get(f"/v1/conversations/{made}/messages").json

    assert history.keys() == {"object", "conversation_id", "entries"}
    assert (history["object"], history["conversation_id"]) == ("conversation.history", made)
    assert messages.keys() == {"object", "conversation_id", "messages"}
    assert (messages["object"], messages["conversation_id"]) == ("conversation.messages", made)


@pytest.mark.requirement("C-100")
def test_messages_are_the_messages_of_the_history(sdk: SDK, model: Script) -> None:
    model.call("get_rate", {"date": "x"})
    first = sdk.start(inputs=FOREIGN_HISTORY, tools=[GET_RATE])
    sdk.append(conversation_id=first.conversation_id, inputs=[result(first.outputs[0].tool_call_id, "2.5%")])

    entries = as_json(sdk.get_history(first.conversation_id))["entries"]
    messages = as_json(sdk.get_messages(first.conversation_id))["messages"]
    assert messages == [entry for entry in entries if entry["type"].startswith("message.")]
    assert [message["content"] for message in messages] == ["Which rate?", "2.5%.", "And today?", "Answer 2"]


@pytest.mark.requirement("C-100")
def test_messages_of_a_branch_include_those_that_were_kept(sdk: SDK) -> None:
    first = sdk.start(inputs="One")
    branch = sdk.restart(conversation_id=first.conversation_id, from_entry_id=first.outputs[0].id, inputs="Two")

    messages = sdk.get_messages(branch.conversation_id).messages
    assert [(message.type, message.content) for message in messages] == [
        ("message.input", "One"),
        ("message.output", "Answer 1"),
        ("message.input", "Two"),
        ("message.output", "Answer 2"),
    ]
