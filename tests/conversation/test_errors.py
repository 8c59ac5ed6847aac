"""Requests that cannot be answered as asked: each refusal has its status and its object, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.library import OFFICIAL, errors
from tests.support.raw import Raw
from tests.support.replies import Text
from tests.support.samples import GET_RATE, user
from tests.support.scripted import Script
from tests.support.sdk import SDK

START: dict[str, Any] = {"inputs": "Hello"}
TOO_LONG = "This model's maximum context length is 4096 tokens. However, your messages resulted in 9001 tokens."


def as_before(raw: Raw, model: Script, refuse: Callable[[str], None]) -> None:
    """Have `refuse` do something to a conversation; see that nothing came of it, and that the conversation goes on."""
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json["conversation_id"]
    path = f"/v1/conversations/{made}"
    before = raw.get(path).body, raw.get(f"{path}/history").body
    refuse(path)
    assert (raw.get(path).body, raw.get(f"{path}/history").body) == before
    assert raw.post(path, {"inputs": "Three"}).status == 200
    assert [message["content"] for message in model.last.messages] == ["One", "Answer 1", "Three"]


@pytest.mark.requirement("C-227")
@pytest.mark.parametrize("body", [b"{", b"", b"inputs=hi", b'{"inputs": "hi",}', b"[1", b"{'inputs': 'hi'}", b"\xff"])
def test_malformed_json_is_refused_as_json(raw: Raw, model: Script, body: bytes) -> None:
    made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json["conversation_id"]
    listed = raw.get("/v1/conversations?page_size=1").body
    for path in ("", f"/{made}", f"/{made}/restart"):
        answer = raw.post(f"/v1/conversations{path}", body)
        assert answer.status == 400, answer.body
        assert answer.headers["content-type"] == "application/json"
        assert answer.json["object"] == "Error"
        assert answer.json["message"]
    assert raw.get("/v1/conversations?page_size=1").body == listed
    assert len(model.requests) == 1


@pytest.mark.requirement("C-228")
@pytest.mark.parametrize("code", ["context_length_exceeded", 400, None])
def test_a_context_that_is_too_long_is_a_400(raw: Raw, model: Script, code: str | int | None) -> None:
    def too_long(path: str) -> None:
        model.fail(400, TOO_LONG, code=code)
        plain = raw.post(path, {"inputs": "Two"})
        assert (plain.status, plain.json["object"]) == (400, "Error")
        assert TOO_LONG in plain.json["message"]
        model.fail(400, TOO_LONG, code=code)
        failed = raw.post(path, {"inputs": "Two", "stream": True}).events[-1]
        assert (failed["type"], failed["code"]) == ("conversation.response.error", 400)
        assert TOO_LONG in failed["message"]

    as_before(raw, model, too_long)


@pytest.mark.requirement("C-228")
def test_the_sdk_is_told_that_the_context_is_too_long(sdk: SDK, model: Script) -> None:
    model.fail(400, TOO_LONG)
    with sdk.refuses(400) as refusal:
        sdk.start(**START)
    model.fail(400, TOO_LONG)
    failed = sdk.start_stream(**START)[-1]

    assert TOO_LONG in refusal.message
    assert (failed.type, failed.code) == ("conversation.response.error", 400)
    assert TOO_LONG in failed.message


@pytest.mark.requirement("C-231")
def test_what_is_not_found_is_an_error_object(sdk: SDK) -> None:
    unknown, entry = "conv_00000000000000000000000000000000", "msg_00000000000000000000000000000000"
    made = sdk.start(**START).conversation_id
    for call in (
        lambda: sdk.get(unknown), lambda: sdk.delete(unknown), lambda: sdk.get_history(unknown),
        lambda: sdk.get_messages(unknown), lambda: sdk.append(conversation_id=unknown, inputs="Two"),
        lambda: sdk.append_stream(conversation_id=unknown, inputs="Two"),
        lambda: sdk.restart(conversation_id=unknown, from_entry_id=entry, inputs="Two"),
        lambda: sdk.restart_stream(conversation_id=unknown, from_entry_id=entry, inputs="Two"),
        lambda: sdk.restart(conversation_id=made, from_entry_id=entry, inputs="Two"),
    ):  # fmt: skip
        with sdk.refuses(404) as refusal:
            call()
        assert refusal.body.keys() == {"object", "message", "type", "code"}
        assert (refusal.body["object"], refusal.body["type"]) == ("Error", "invalid_request_error")
        assert refusal.code == 3404
        assert unknown in refusal.message or entry in refusal.message


@pytest.mark.requirement("C-231")
@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v2/conversations", "/v1/conversations/", "/v1/conversations/x/y"]
)
def test_an_unknown_path_is_an_error_object_too(raw: Raw, path: str) -> None:
    for method in ("GET", "POST", "DELETE"):
        answer = raw.request(method, path, {} if method == "POST" else None)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/json")
        assert (answer.json["object"], answer.json["code"]) == ("Error", 3404)


@pytest.mark.requirement("C-231")
def test_an_empty_id_is_no_id(serve: Callable[..., str], connect: Callable[[str], SDK], model: Script) -> None:
    sdk = connect(serve(model=model.name))
    for call in (
        lambda: sdk.append(conversation_id="", inputs="Two"),
        lambda: sdk.append_stream(conversation_id="", inputs="Two"),
        lambda: sdk.get(""), lambda: sdk.delete(""), lambda: sdk.get_history(""),
        lambda: sdk.restart(conversation_id="", from_entry_id="x", inputs="Two"),
    ):  # fmt: skip
        with sdk.refuses(404):
            call()
    assert sdk.list() == []
    assert model.requests == []


@pytest.mark.requirement("C-232")
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/conversations", {"GET", "POST"}), ("/v1/conversations/x", {"GET", "POST", "DELETE"}),
        ("/v1/conversations/x/history", {"GET"}), ("/v1/conversations/x/messages", {"GET"}),
        ("/v1/conversations/x/restart", {"POST"}), ("/v1/models", {"GET"}), ("/v1/models/x", {"GET"}),
        ("/health", {"GET"}), ("/openapi.json", {"GET"}),
    ],
)  # fmt: skip
def test_a_method_that_a_path_does_not_take_is_a_405(raw: Raw, path: str, allowed: set[str]) -> None:
    for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND"):
        if method not in allowed:
            answer = raw.request(method, path, {"inputs": "x"})
            assert answer.status == 405, (method, answer.body)
            assert answer.headers["content-type"] == "application/json"
            assert (answer.json["object"], answer.json["code"]) == ("Error", 3405)
            assert {one.strip() for one in answer.headers["allow"].split(",")} - {"HEAD", "OPTIONS"} == allowed


@pytest.mark.requirement("C-233")
def test_a_busy_conversation_is_a_409_that_names_the_run(sdk: SDK, raw: Raw, model: Script) -> None:
    first = sdk.start(inputs="One")
    path = f"/v1/conversations/{first.conversation_id}"
    with model.gate() as gate:
        model.reply(Text("Se"), gate, Text("ven."))
        with raw.stream(path, {"inputs": "Two", "stream": True}) as stream:
            started, delta = stream.frame(), stream.frame()
            assert started is not None
            assert delta is not None
            run, announced = started.json["run_id"], delta.json["id"]
            told = [
                lambda: sdk.append(conversation_id=first.conversation_id, inputs="Three"),
                lambda: sdk.append_stream(conversation_id=first.conversation_id, inputs="Three"),
                lambda: sdk.restart(conversation_id=first.conversation_id, from_entry_id=announced, inputs="Three"),
            ]
            for call in told:
                with sdk.refuses(409) as refusal:
                    call()
                assert refusal.body.keys() == {"object", "message", "type", "code"}
                assert (refusal.body["object"], refusal.body["type"]) == ("Error", "invalid_request_error")
                assert refusal.code == 3409
                assert run in refusal.message
            # What is committed can be read, and stood on, all the while.
            assert len(sdk.get_history(first.conversation_id).entries) == 2
            kept = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[0].id}
            assert sdk.restart(**kept, inputs="Aside").outputs[0].content == "Answer 3"
            gate.open()
            assert [frame.event for frame in stream.frames()][-1] == "conversation.response.done"
    assert sdk.append(conversation_id=first.conversation_id, inputs="Three").outputs[0].content == "Answer 4"


@pytest.mark.requirement("C-234")
def test_a_refused_field_is_the_sdks_validation_error(sdk: SDK) -> None:
    with pytest.raises(errors.HTTPValidationError) as caught:
        sdk.start(inputs=[user("One"), {"type": "function.result", "tool_call_id": "zzzzzzzzz", "result": "x"}])

    (detail,) = caught.value.data.detail or []
    assert detail.loc == ["body", "inputs", 1, "tool_call_id"]
    assert "zzzzzzzzz" in detail.msg
    assert isinstance(detail.type, str)
    assert caught.value.status_code == 422
    assert not sdk.over_http or caught.value.headers["content-type"] == "application/json"


@pytest.mark.client  # which has to be able to read it
@pytest.mark.requirement("C-234", "C-235")
@pytest.mark.parametrize(
    ("wrong", "loc"),
    [
        ({"inputs": None}, ["inputs"]), ({"inputs": [5]}, ["inputs", 0]), ({"surprise": 1}, ["surprise"]),
        ({"inputs": [user("x"), {"role": "user"}]}, ["inputs", 1, "content"]),
        ({"inputs": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, ["inputs", 0, "content", 0, "text"]),
        ({"inputs": [user("x") | {"created_at": "yesterday"}]}, ["inputs", 0, "created_at"]),
        ({"completion_args": {"temperature": 5}}, ["completion_args", "temperature"]),
        ({"completion_args": {"stop": ["a", 1]}}, ["completion_args", "stop", 1]),
        ({"tools": [GET_RATE, {"type": "function", "function": {"name": "f", "parameters": []}}]},
         ["tools", 1, "function", "parameters"]),
        ({"tools": {}}, ["tools"]), ({"metadata": []}, ["metadata"]), ({"store": "yes"}, ["store"]),
        ({"stream": "yes"}, ["stream"]), ({"name": 5}, ["name"]), ({"handoff_execution": "x"}, ["handoff_execution"]),
        ({"guardrails": [{"moderation_llm_v2": {"action": "warn"}}]}, ["guardrails", 0, "moderation_llm_v2", "action"]),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_refusal_points_at_the_field(raw: Raw, model: Script, wrong: dict[str, Any], loc: list[str | int]) -> None:
    answer = raw.post("/v1/conversations", START | {"model": model.name} | wrong)

    assert (answer.status, answer.headers["content-type"]) == (422, "application/json")
    (detail,) = answer.json["detail"]
    assert detail["loc"] == ["body", *loc]
    assert detail.keys() >= {"type", "loc", "msg", "input"}
    assert all(isinstance(detail[name], str) and detail[name] for name in ("type", "msg"))
    assert (answer.json["object"], answer.json["code"]) == ("Error", 3001)
    if OFFICIAL:
        data = errors.HTTPValidationErrorData.model_validate_json(answer.body)
        assert [one.loc for one in data.detail or []] == [detail["loc"]]
