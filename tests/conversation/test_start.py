"""start and start_stream: what a conversation begins with, what of it is kept, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.samples import FOREIGN_HISTORY, GET_RATE, GET_TIME, result, user
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json

VOLATILE = {"id", "created_at", "completed_at"}


def lasting(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return entries without what differs from run to run."""
    return [{key: value for key, value in entry.items() if key not in VOLATILE} for entry in entries]


@pytest.mark.requirement("C-018")
def test_a_string_becomes_one_user_message(sdk: SDK, model: Script) -> None:
    model.say("Hello.")
    response = sdk.start(inputs="Good morning")

    history = sdk.get_history(response.conversation_id)
    question, answer = history.entries
    assert (question.type, question.role, question.content) == ("message.input", "user", "Good morning")
    assert (answer.type, answer.content) == ("message.output", "Hello.")
    assert model.last.messages == [{"role": "user", "content": "Good morning"}]


@pytest.mark.requirement("C-019")
def test_typed_entries_are_stored_and_sent_in_their_order(sdk: SDK, model: Script) -> None:
    said = [user("One"), {"type": "message.output", "content": "Two"}, user("Three")]
    response = sdk.start(inputs=said)

    entries = sdk.get_history(response.conversation_id).entries
    assert [(entry.type, entry.content) for entry in entries] == [
        ("message.input", "One"),
        ("message.output", "Two"),
        ("message.input", "Three"),
        ("message.output", "Answer 1"),
    ]
    assert model.last.messages == [
        {"role": "user", "content": "One"},
        {"role": "assistant", "content": "Two"},
        {"role": "user", "content": "Three"},
    ]


@pytest.mark.requirement("C-020")
def test_entries_without_a_type_are_known_by_their_fields(raw: Raw, model: Script) -> None:
    inputs = [
        {"role": "user", "content": "Which rate?"},
        {"tool_call_id": "a1B2c3D4e", "name": "get_rate", "arguments": "{}"},
        {"tool_call_id": "a1B2c3D4e", "result": "2.5%"},
        {"role": "assistant", "content": "2.5%."},
        {"role": "user", "content": [{"text": "And now?"}]},
    ]
    answer = raw.post("/v1/conversations", {"inputs": inputs, "model": model.name})

    assert answer.status == 200, answer.json
    entries = raw.get(f"/v1/conversations/{answer.json['conversation_id']}/history").json["entries"]
    assert [entry["type"] for entry in entries] == [
        "message.input",
        "function.call",
        "function.result",
        "message.input",
        "message.input",
        "message.output",
    ]
    assert [message["role"] for message in model.last.messages] == ["user", "assistant", "tool", "assistant", "user"]


@pytest.mark.requirement("C-021")
@pytest.mark.parametrize("inputs", [[], ""], ids=["no entries", "no text"])
def test_empty_inputs_are_refused(sdk: SDK, model: Script, inputs: list[object] | str) -> None:
    with sdk.refuses(422) as refusal:
        sdk.start(inputs=inputs)

    assert refusal.loc[:2] == ["body", "inputs"]
    assert model.requests == []


@pytest.mark.requirement("C-021")
@pytest.mark.parametrize("body", [{}, {"inputs": None}, {"inputs": 5}], ids=["missing", "null", "a number"])
def test_missing_inputs_are_refused(raw: Raw, model: Script, body: dict[str, Any]) -> None:
    answer = raw.post("/v1/conversations", body | {"model": model.name})

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "inputs"]
    assert model.requests == []


@pytest.mark.requirement("C-022")
def test_a_model_makes_a_model_conversation(sdk: SDK, raw: Raw, model: Script) -> None:
    response = sdk.start(inputs="Hello", model=model.name)

    entity = sdk.get(response.conversation_id)
    assert type(entity).__name__ == "ModelConversation"
    assert (entity.object, entity.id, entity.model) == ("conversation", response.conversation_id, model.name)
    assert "agent_id" not in raw.get(f"/v1/conversations/{response.conversation_id}").json
    assert [output.model for output in response.outputs] == [model.name]
    assert model.last.json["model"] == model.name


@pytest.mark.requirement("C-025")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("names", [{}, {"model": None, "agent_id": None}], ids=["absent", "null"])
def test_neither_model_nor_agent_is_refused(raw: Raw, names: dict[str, None], stream: bool) -> None:
    answer = raw.post("/v1/conversations", {"inputs": "Hello", "stream": stream} | names)

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "model"]


@pytest.mark.requirement("C-025")
def test_a_server_with_a_default_model_needs_none_named(
    serve: Callable[..., str], connect: Callable[[str], SDK], model: Script
) -> None:
    sdk = connect(serve(model=model.name))
    response = sdk.start(inputs="Hello", model=None)

    assert sdk.get(response.conversation_id).model == model.name
    assert model.last.json["model"] == model.name


@pytest.mark.requirement("C-026")
def test_an_unknown_model_is_a_400_and_leaves_nothing(sdk: SDK) -> None:
    label = {"of": f"unknown model {sdk.mode}"}
    with sdk.refuses(400) as refusal:
        sdk.start(inputs="Hello", model="no-such-model", metadata=label)

    assert (refusal.body["object"], refusal.code) == ("Error", 3003)
    assert "no-such-model" in refusal.message
    assert sdk.list(metadata=label) == []


@pytest.mark.requirement("C-026")
def test_an_unknown_model_ends_a_stream_with_400(sdk: SDK) -> None:
    started, failed = sdk.start_stream(inputs="Hello", model="no-such-model")

    assert started.type == "conversation.response.started"
    assert (failed.type, failed.code) == ("conversation.response.error", 400)
    assert "no-such-model" in failed.message


@pytest.mark.requirement("C-031")
def test_instructions_lead_every_prompt_and_are_shown(sdk: SDK, model: Script) -> None:
    response = sdk.start(inputs="One", instructions="Answer with one word. Ünïcode 🙂")
    sdk.append(conversation_id=response.conversation_id, inputs="Two")

    assert sdk.get(response.conversation_id).instructions == "Answer with one word. Ünïcode 🙂"
    for request in model.requests:
        systems = [message for message in request.messages if message["role"] == "system"]
        assert systems == [request.messages[0]] == [{"role": "system", "content": "Answer with one word. Ünïcode 🙂"}]
    assert "system" not in [getattr(e, "role", None) for e in sdk.get_history(response.conversation_id).entries]


@pytest.mark.requirement("C-032")
def test_tools_of_the_start_are_offered_again_on_append(sdk: SDK, model: Script) -> None:
    response = sdk.start(inputs="Hello", tools=[GET_TIME, GET_RATE])
    model.call("get_rate", {"date": "2024-06-06"})
    called = sdk.append(conversation_id=response.conversation_id, inputs="Which rate?")

    sdk.start(inputs="Hello", tools=[GET_RATE, GET_TIME])

    first, second, reordered = model.requests
    # The order is part of the model's prefix, so it is always the same.
    assert first.tools == second.tools == reordered.tools
    assert sorted(tool["function"]["name"] for tool in first.tools) == ["get_rate", "get_time"]
    assert [(output.type, output.name) for output in called.outputs] == [("function.call", "get_rate")]
    offered = next(tool["function"] for tool in first.tools if tool["function"]["name"] == "get_rate")
    assert offered["parameters"] == GET_RATE["function"]["parameters"]
    assert offered["description"] == GET_RATE["function"]["description"]


@pytest.mark.requirement("C-033")
def test_completion_args_hold_for_later_turns_and_are_shown(sdk: SDK, model: Script) -> None:
    args = {"temperature": 0.25, "top_p": 0.5, "max_tokens": 77, "stop": ["END"]}
    response = sdk.start(inputs="Hello", completion_args=args)
    sdk.append(conversation_id=response.conversation_id, inputs="More")

    shown = as_json(sdk.get(response.conversation_id))["completion_args"]
    assert {name: shown[name] for name in args} == args
    for request in model.requests:
        assert {name: request.json[name] for name in args} == args


@pytest.mark.requirement("C-035")
def test_name_and_description_are_kept(sdk: SDK) -> None:
    response = sdk.start(inputs="Hello", name="Zinsen — täglich", description="Rates 🙂\nof every day")

    entity = sdk.get(response.conversation_id)
    assert (entity.name, entity.description) == ("Zinsen — täglich", "Rates 🙂\nof every day")
    sdk.append(conversation_id=response.conversation_id, inputs="More")
    assert sdk.get(response.conversation_id).name == "Zinsen — täglich"


@pytest.mark.requirement("C-036")
def test_metadata_is_kept_as_it_is(sdk: SDK) -> None:
    metadata = {"z": 1, "a": {"deep": [1, 2.5, None, True, "ü"]}, "empty": {}, "": "no name"}
    response = sdk.start(inputs="Hello", metadata=metadata)

    shown = sdk.get(response.conversation_id).metadata
    assert shown == metadata
    assert list(shown) == list(metadata)


@pytest.mark.requirement("C-037")
@pytest.mark.parametrize(
    "metadata",
    [["a"], "a", 5, True, {f"key {n}": n for n in range(65)}, {"long": "x" * 16384}, {"ü": "ü" * 8200}],
    ids=["list", "text", "number", "bool", "65 keys", "over 16 KiB", "over 16 KiB in UTF-8"],
)
def test_metadata_that_is_no_modest_object_is_refused(raw: Raw, model: Script, metadata: object) -> None:
    answer = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name, "metadata": metadata})

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "metadata"]
    assert model.requests == []


@pytest.mark.requirement("C-036", "C-037")
@pytest.mark.parametrize("metadata", [{}, {f"key {n}": n for n in range(64)}, {"long": "x" * 16000}])
def test_metadata_up_to_its_limits_is_accepted(sdk: SDK, metadata: dict[str, object]) -> None:
    response = sdk.start(inputs="Hello", metadata=metadata)
    assert sdk.get(response.conversation_id).metadata == metadata


@pytest.mark.requirement("C-038")
@pytest.mark.parametrize("store", [{}, {"store": None}, {"store": True}], ids=["absent", "null", "true"])
def test_a_conversation_is_stored_unless_told_otherwise(sdk: SDK, store: dict[str, bool | None]) -> None:
    response = sdk.start(inputs="Hello", **store)

    assert sdk.get(response.conversation_id).id == response.conversation_id
    assert len(sdk.get_history(response.conversation_id).entries) == 2


@pytest.mark.requirement("C-039")
@pytest.mark.parametrize("streamed", [False, True])
def test_store_false_answers_and_leaves_no_trace(sdk: SDK, model: Script, streamed: bool) -> None:
    model.say("Gone.")
    label = {"of": f"store false {model.name}"}
    if streamed:
        started, delta, done = sdk.start_stream(inputs="Hello", store=False, metadata=label)
        assert (delta.content, done.type) == ("Gone.", "conversation.response.done")
        made, entry = started.conversation_id, delta.id
    else:
        response = sdk.start(inputs="Hello", store=False, metadata=label)
        assert [output.content for output in response.outputs] == ["Gone."]
        made, entry = response.conversation_id, response.outputs[0].id
    assert made.startswith("conv_")

    for call in (sdk.get, sdk.get_history, sdk.get_messages, sdk.delete):
        with sdk.refuses(404):
            call(made)
    with sdk.refuses(404):
        sdk.append(conversation_id=made, inputs="More")
    with sdk.refuses(404):
        sdk.restart(conversation_id=made, from_entry_id=entry, inputs="More")
    assert sdk.list(metadata=label) == []
    assert len(model.requests) == 1


@pytest.mark.requirement("C-040")
@pytest.mark.parametrize("where", ["server", "client", None])
def test_handoff_execution_takes_its_values(sdk: SDK, where: str | None) -> None:
    response = sdk.start(inputs="Hello", handoff_execution=where)
    assert [output.content for output in response.outputs] == ["Answer 1"]


@pytest.mark.requirement("C-040")
@pytest.mark.parametrize("where", ["both", "", 1, True])
def test_another_handoff_execution_is_refused(raw: Raw, model: Script, where: object) -> None:
    answer = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name, "handoff_execution": where})
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "handoff_execution"]


@pytest.mark.requirement("C-041")
@pytest.mark.parametrize("field", ["seed", "temperature", "from_entry_id", "tool_confirmations", "Inputs"])
def test_an_unknown_field_is_refused_by_name(raw: Raw, model: Script, field: str) -> None:
    answer = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name, field: "x"})

    assert answer.status == 422
    (detail,) = answer.json["detail"]
    assert (detail["type"], detail["loc"]) == ("extra_forbidden", ["body", field])
    assert answer.json["code"] == 3001
    assert model.requests == []


@pytest.mark.requirement("C-042")
def test_a_foreign_history_is_replayed(sdk: SDK, model: Script) -> None:
    response = sdk.start(inputs=FOREIGN_HISTORY)

    entries = as_json(sdk.get_history(response.conversation_id))["entries"]
    kept = [{key: entry.get(key) for key in given} for entry, given in zip(entries, FOREIGN_HISTORY, strict=False)]
    assert kept == FOREIGN_HISTORY
    assert [entry["content"] for entry in entries[7:]] == ["Answer 1"]
    asked, called, told, answered, *between, again = model.last.messages
    assert asked == {"role": "user", "content": "Which rate?"}
    assert [(call["id"], call["function"]) for call in called["tool_calls"]] == [
        ("a1B2c3D4e", {"name": "get_rate", "arguments": '{"date": "2024-06-06"}'})
    ]
    assert (told["role"], told["tool_call_id"], told["content"]) == ("tool", "a1B2c3D4e", '{"rate": "2.5%"}')
    assert answered == {"role": "assistant", "content": "2.5%."}
    assert again == {"role": "user", "content": "And today?"}
    assert "rate elsewhere" in str(between), "the model should know what was searched for"
    assert "news" in str(between), "the model should know of the handoff"


@pytest.mark.requirement("C-042")
def test_what_history_returns_is_accepted_as_input(raw: Raw, model: Script) -> None:
    model.call("get_rate", {"date": "x"})
    start = {"inputs": FOREIGN_HISTORY, "model": model.name, "tools": [GET_RATE]}
    first = raw.post("/v1/conversations", start).json
    path = f"/v1/conversations/{first['conversation_id']}"
    raw.post(path, {"inputs": [result(first["outputs"][0]["tool_call_id"], "2.5%")]})
    history = raw.get(f"{path}/history").json["entries"]
    again = raw.post("/v1/conversations", start | {"inputs": [*history, user("Again")]})

    assert again.status == 200, again.json
    replayed = raw.get(f"/v1/conversations/{again.json['conversation_id']}/history").json["entries"]
    assert lasting(replayed[: len(history)]) == lasting(history)
    assert [entry["id"] for entry in replayed[: len(history)]] == [entry["id"] for entry in history]


@pytest.mark.requirement("C-043")
def test_an_assistant_may_have_spoken_in_the_inputs(sdk: SDK, model: Script) -> None:
    spoken = {"type": "message.input", "role": "assistant", "content": "Ask me."}
    response = sdk.start(inputs=[user("Hello"), spoken, user("Which rate?")])

    entry = sdk.get_history(response.conversation_id).entries[1]
    assert (entry.type, entry.role, entry.content) == ("message.input", "assistant", "Ask me.")
    assert model.last.messages[1] == {"role": "assistant", "content": "Ask me."}


@pytest.mark.requirement("C-044")
@pytest.mark.parametrize("answer", ["The rate is 2.5%.", "2.5%."], ids=["repeated by the model", "left to us"])
@pytest.mark.parametrize("streamed", [False, True])
def test_an_answer_begins_with_the_prefix_once(sdk: SDK, model: Script, answer: str, streamed: bool) -> None:
    model.say(answer[:2], answer[2:])
    inputs = [user("Which rate?"), {"role": "assistant", "content": "The rate is ", "prefix": True}]
    if streamed:
        events = sdk.start_stream(inputs=inputs)
        text, made = "".join(event.content for event in events[1:-1]), events[0].conversation_id
    else:
        response = sdk.start(inputs=inputs)
        text, made = response.outputs[0].content, response.conversation_id

    assert text == "The rate is 2.5%."
    assert sdk.get_history(made).entries[-1].content == text
    last = model.last.messages[-1]
    assert (last["role"], last["content"]) == ("assistant", "The rate is ")


@pytest.mark.requirement("C-045")
def test_the_response_has_all_its_members(raw: Raw, model: Script) -> None:
    response = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name}).json

    assert response.keys() == {"object", "conversation_id", "outputs", "usage", "guardrails"}
    assert response["object"] == "conversation.response"
    assert response["guardrails"] is None
    assert response["usage"] == {"prompt_tokens": 16, "completion_tokens": 3, "total_tokens": 19}
    (output,) = response["outputs"]
    assert output.keys() >= {"object", "type", "id", "created_at", "completed_at", "model", "role", "content"}


@pytest.mark.requirement("C-046")
def test_outputs_never_echo_inputs(sdk: SDK) -> None:
    first = sdk.start(inputs=FOREIGN_HISTORY)
    second = sdk.append(conversation_id=first.conversation_id, inputs=[user("More"), user("And more")])

    assert [[output.content for output in response.outputs] for response in (first, second)] == [
        ["Answer 1"],
        ["Answer 2"],
    ]


@pytest.mark.requirement("C-047")
def test_a_streamed_start_stores_what_a_plain_one_stores(sdk: SDK, model: Script) -> None:
    settings = {"inputs": FOREIGN_HISTORY, "instructions": "Be brief.", "name": "n", "metadata": {"a": 1}}
    model.say("Hel", "lo.")
    model.say("Hel", "lo.")
    started, *_, done = sdk.start_stream(**settings)
    plain = sdk.start(**settings)

    assert done.type == "conversation.response.done"
    made = (started.conversation_id, plain.conversation_id)
    streamed_entries, plain_entries = (lasting(as_json(sdk.get_history(one))["entries"]) for one in made)
    assert streamed_entries == plain_entries
    streamed_entity, plain_entity = (lasting([as_json(sdk.get(one))])[0] | {"updated_at": None} for one in made)
    assert streamed_entity == plain_entity
    assert model.requests[0].messages_bytes == model.requests[1].messages_bytes
