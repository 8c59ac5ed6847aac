"""list, get and delete: what there is, what it looks like, and how it goes away."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.raw import Raw
from tests.support.replies import PATIENCE, Text
from tests.support.samples import GET_RATE
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json

SENTINEL = '"~?~unset~?~sentinel~?~"'


@pytest.fixture
def alone(serve: Callable[..., str], connect: Callable[[str], SDK]) -> SDK:
    """The SDK on a server where nothing else is listed."""
    return connect(serve())


def ids(conversations: list[Any]) -> list[str]:
    """Return the ids of what was listed."""
    return [conversation.id for conversation in conversations]


@pytest.mark.requirement("C-084")
def test_the_list_is_a_bare_array_of_entities(sdk: SDK, raw: Raw, model: Script) -> None:
    label = {"of": f"bare array {model.name}"}
    made = sdk.start(inputs="Hello", metadata=label, name="n", instructions="Be brief.", tools=[GET_RATE])

    (listed,) = sdk.list(metadata=label)
    assert type(listed).__name__ == "ModelConversation"
    answer = raw.get(f"/v1/conversations?metadata={quote(json.dumps(label))}")
    assert answer.json == [raw.get(f"/v1/conversations/{made.conversation_id}").json]


@pytest.mark.requirement("C-085")
def test_the_newest_comes_first_whatever_was_appended_since(alone: SDK) -> None:
    made = [alone.start(inputs=f"Number {number}").conversation_id for number in range(4)]
    alone.append(conversation_id=made[0], inputs="More")

    assert ids(alone.list()) == made[::-1]


@pytest.mark.requirement("C-086", "C-087")
def test_pages_count_from_zero(alone: SDK) -> None:
    made = [alone.start(inputs=f"Number {number}").conversation_id for number in range(5)][::-1]

    pages = [ids(alone.list(page=page, page_size=2)) for page in range(4)]
    assert pages == [made[:2], made[2:4], made[4:], []]
    assert ids(alone.list(page=0, page_size=5)) == made
    assert alone.list(page=1, page_size=5) == []
    assert alone.list(page=10**6, page_size=1000) == []


@pytest.mark.requirement("C-086")
def test_a_page_holds_a_hundred_unless_told_otherwise(serve: Callable[..., str], model: Script) -> None:
    raw = Raw(serve())
    start = {"inputs": "Hello", "model": model.name}
    made = [raw.post("/v1/conversations", start).json["conversation_id"] for _ in range(101)][::-1]

    listed = {query: [one["id"] for one in raw.get(f"/v1/conversations{query}").json] for query in ("", "?page=1")}
    assert listed == {"": made[:100], "?page=1": made[100:]}
    assert len(raw.get("/v1/conversations?page_size=1000").json) == 101


@pytest.mark.requirement("C-088")
@pytest.mark.parametrize(
    ("name", "value"),
    [("page", -1), ("page", "x"), ("page", ""), ("page", 1.5), ("page", 10**30), ("page_size", 0), ("page_size", -1),
     ("page_size", 1001), ("page_size", "all"), ("page_size", 10**30)],
)  # fmt: skip
def test_pages_and_sizes_out_of_range_are_refused(raw: Raw, name: str, value: object) -> None:
    answer = raw.get(f"/v1/conversations?{name}={value}")

    assert answer.status == 422
    (detail,) = answer.json["detail"]
    assert detail["loc"] == ["query", name]
    assert answer.json["code"] == 3001


@pytest.mark.requirement("C-088")
def test_pages_out_of_range_are_refused_through_the_sdk(sdk: SDK) -> None:
    for query in ({"page": -1}, {"page_size": 0}, {"page_size": 1001}):
        with sdk.refuses(422) as refusal:
            sdk.list(**query)
        assert refusal.loc[-1] in query


@pytest.mark.requirement("C-089")
def test_metadata_narrows_the_list_to_what_has_every_pair(alone: SDK) -> None:
    kept: list[dict[str, Any]] = [
        {"team": "a", "n": 1},
        {"team": "a", "n": 2, "deep": {"x": [1, {"y": None}]}},
        {"team": "ü & ö=1", "n": "1"},
        {},
    ]
    made = [alone.start(inputs="Hello", metadata=metadata).conversation_id for metadata in kept]
    made.append(alone.start(inputs="Hello").conversation_id)

    def found(**metadata: Any) -> list[int]:
        return sorted(made.index(one) for one in ids(alone.list(metadata=metadata)))

    assert found(team="a") == [0, 1]
    assert found(team="a", n=1) == [0]
    assert found(n="1") == [2]
    assert found(team="ü & ö=1") == [2]
    assert found(deep={"x": [1, {"y": None}]}) == [1]
    assert found(deep={"x": [1]}) == []
    assert found(team="b") == []
    assert found(missing=None) == []
    assert found() == [0, 1, 2, 3, 4]
    assert ids(alone.list(metadata={"team": "a"}, page=1, page_size=1)) == [made[0]]


@pytest.mark.requirement("C-090")
def test_the_sdk_lists_without_metadata(sdk: SDK) -> None:
    made = sdk.start(inputs="Hello", metadata={"of": "no filter"}).conversation_id
    assert made in ids(sdk.list(page_size=1000))


@pytest.mark.requirement("C-090")
@pytest.mark.parametrize("metadata", [SENTINEL, '"x"', "[1]", "5", "null", "true"])
def test_metadata_that_is_no_object_does_not_filter(raw: Raw, model: Script, metadata: str) -> None:
    made = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name}).json["conversation_id"]
    answer = raw.get(f"/v1/conversations?page_size=1&metadata={quote(metadata)}")

    assert answer.status == 200
    assert [one["id"] for one in answer.json] == [made]


@pytest.mark.requirement("C-091")
def test_the_entity_shows_all_that_was_set(sdk: SDK, model: Script) -> None:
    settings = {
        "instructions": "Be brief.",
        "tools": [GET_RATE],
        "completion_args": {"temperature": 0.25, "stop": "END", "response_format": {"type": "json_object"}},
        "name": "Rates",
        "description": "Of every day",
        "metadata": {"team": "a"},
    }
    model.say("{}")
    response = sdk.start(inputs="Hello", **settings)

    entity = as_json(sdk.get(response.conversation_id))
    args = entity.pop("completion_args")
    assert {name: args[name] for name in ("temperature", "stop")} == {"temperature": 0.25, "stop": "END"}
    assert args["response_format"]["type"] == "json_object"
    assert {name: entity[name] for name in settings if name in entity} == {
        name: value for name, value in settings.items() if name != "completion_args"
    }
    assert (entity["object"], entity["id"]) == ("conversation", response.conversation_id)
    assert entity["model"] == model.name
    assert entity["created_at"] <= entity["updated_at"]


@pytest.mark.requirement("C-093")
def test_what_does_not_exist_cannot_be_got(sdk: SDK) -> None:
    for operation in (sdk.get, sdk.get_history, sdk.get_messages):
        with sdk.refuses(404) as refusal:
            operation("conv_00000000000000000000000000000000")
        assert refusal.body.keys() == {"object", "message", "type", "code"}
        assert (refusal.body["object"], refusal.body["type"]) == ("Error", "invalid_request_error")
        assert refusal.code == 3404
        assert refusal.message.startswith("Conversation not found")


@pytest.mark.requirement("C-094")
def test_a_deleted_conversation_is_gone_from_everywhere(sdk: SDK, model: Script) -> None:
    label = {"of": f"deleted {model.name}"}
    kept = sdk.start(inputs="Kept", metadata=label).conversation_id
    first = sdk.start(inputs="Hello", metadata=label)
    made = first.conversation_id

    assert sdk.delete(made) is None
    for operation in (sdk.get, sdk.get_history, sdk.get_messages):
        with sdk.refuses(404):
            operation(made)
    with sdk.refuses(404):
        sdk.append(conversation_id=made, inputs="More")
    with sdk.refuses(404):
        sdk.restart(conversation_id=made, from_entry_id=first.outputs[0].id, inputs="More")
    assert ids(sdk.list(metadata=label)) == [kept]
    assert len(model.requests) == 2


@pytest.mark.requirement("C-094")
def test_who_waits_for_a_conversation_that_is_deleted_is_told(
    sdk: SDK, model: Script, meanwhile: Callable[..., Future[Any]]
) -> None:
    made = sdk.start(inputs="Hello").conversation_id
    with model.gate() as gate:
        model.say("More", before=gate)
        waiting = meanwhile(sdk.append, conversation_id=made, inputs="More")
        gate.wait_reached()
        sdk.delete(made)
        with sdk.refuses(404) as refusal:
            waiting.result(PATIENCE)
    assert made in refusal.message


@pytest.mark.requirement("C-084")
def test_a_conversation_is_listed_once_its_id_is_known(
    sdk: SDK, model: Script, meanwhile: Callable[..., Future[Any]]
) -> None:
    label = {"of": f"not yet known {model.name}"}
    with model.gate() as gate:
        model.say("Hello.", before=gate)
        starting = meanwhile(sdk.start, inputs="Hello", metadata=label)
        gate.wait_reached()
        assert sdk.list(metadata=label) == []
        with model.gate() as second:
            model.say("Hello.", before=second)
            with sdk.opened("start_stream", inputs="Hello", metadata=label) as stream:
                announced = stream.next().conversation_id
                assert ids(sdk.list(metadata=label)) == [announced]
                assert sdk.get_history(announced).entries == []
                second.open()
                assert stream.rest()[-1].type == "conversation.response.done"
    started = starting.result(PATIENCE).conversation_id
    assert sorted(ids(sdk.list(metadata=label))) == sorted([announced, started])


@pytest.mark.requirement("C-094")
def test_deleting_a_conversation_in_use_ends_its_run(sdk: SDK, model: Script) -> None:
    made = sdk.start(inputs="Hello").conversation_id
    with model.gate() as gate:
        model.reply(Text("Mo"), gate, Text("re"))
        with sdk.opened("append_stream", conversation_id=made, inputs="More") as stream:
            assert stream.next().type == "conversation.response.started"
            gate.wait_reached()
            sdk.delete(made)
            assert model.last.abandoned.wait(PATIENCE), "the model should not go on for a deleted conversation"
            assert stream.rest()[-1].type == "conversation.response.error"
    with sdk.refuses(404):
        sdk.get_history(made)


@pytest.mark.requirement("C-095")
def test_what_is_deleted_cannot_be_deleted_again(sdk: SDK) -> None:
    made = sdk.start(inputs="Hello").conversation_id
    sdk.delete(made)
    for unknown in (made, "conv_that_never_was"):
        with sdk.refuses(404) as refusal:
            sdk.delete(unknown)
        assert refusal.code == 3404
