"""Bytes become requests: what is wrong is pointed at, what has a plain shape needs no type (PROTOCOL §3, §4, §9)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causerie.errors import BadRequest, InvalidRequest
from causerie.types.agents import (
    AgentPagesRequest,
    DeleteAliasRequest,
    GetAgentRequest,
    ListAgentsRequest,
    ListVersionsRequest,
    SetAliasRequest,
)
from causerie.types.base import UNSET
from causerie.types.content import ImageURLChunk, TextChunk, ThinkChunk, ToolFileChunk, ToolReferenceChunk
from causerie.types.entries import (
    AgentHandoffEntry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)
from causerie.types.requests import (
    MAX_DEPTH,
    AppendRequest,
    ListRequest,
    RestartRequest,
    StartRequest,
    decode_query,
    decode_request,
)
from causerie.types.tools import ConnectorTool, DocumentLibraryTool, FunctionTool, ToolCallConfirmation

HANDOFF = {"previous_agent_id": "a", "previous_agent_name": "A", "next_agent_id": "b", "next_agent_name": "B"}


def start(**body: Any) -> StartRequest:
    """Decode a start."""
    return decode_request(json.dumps(body).encode(), StartRequest)


def refusal(body: Any, kind: Any = StartRequest) -> InvalidRequest:
    """Return what a body is refused with."""
    with pytest.raises(InvalidRequest) as found:
        decode_request(json.dumps(body).encode(), kind)
    return found.value


def test_text_is_enough() -> None:
    assert start(inputs="Hello", model="m") == StartRequest(inputs="Hello", model="m")


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"role": "user", "content": "a"}, MessageInputEntry),
        ({"role": "assistant", "content": "a", "prefix": True}, MessageInputEntry),
        ({"role": "assistant", "content": "a", "model": "m"}, MessageOutputEntry),
        ({"role": "assistant", "content": "a", "agent_id": "ag_1"}, MessageOutputEntry),
        ({"tool_call_id": "callAAAA1", "result": "a"}, FunctionResultEntry),
        ({"tool_call_id": "callAAAA1", "name": "f", "arguments": "{}"}, FunctionCallEntry),
        ({"tool_call_id": "callAAAA1", "name": "f", "arguments": {"a": 1}}, FunctionCallEntry),
        (HANDOFF, AgentHandoffEntry),
        ({"name": "web_search", "arguments": "{}"}, ToolExecutionEntry),
    ],
)
def test_an_entry_without_a_type_is_known_by_its_fields(entry: dict[str, Any], kind: type) -> None:
    (found,) = start(inputs=[entry]).inputs
    assert type(found) is kind
    tagged = entry | {"type": kind.__struct_config__.tag}  # type: ignore[attr-defined]
    assert start(inputs=[tagged]).inputs == [found]


@pytest.mark.parametrize(
    ("chunk", "kind"),
    [
        ({"text": "a"}, TextChunk),
        ({"image_url": "http://127.0.0.1/a.png"}, ImageURLChunk),
        ({"image_url": {"url": "http://127.0.0.1/a.png", "detail": "low"}}, ImageURLChunk),
        ({"tool": "web_search", "title": "A page"}, ToolReferenceChunk),
        ({"tool": "code_interpreter", "file_id": "file_1"}, ToolFileChunk),
        ({"thinking": [{"text": "Hm."}]}, ThinkChunk),
    ],
)
def test_a_chunk_without_a_type_is_known_by_its_fields(chunk: dict[str, Any], kind: type) -> None:
    (entry,) = start(inputs=[{"role": "assistant", "content": [chunk], "model": "m"}]).inputs
    assert isinstance(entry, MessageOutputEntry)
    assert [type(one) for one in entry.content] == [kind]
    assert start(inputs=[{"type": "message.output", "content": [chunk]}]).inputs[0].content == entry.content  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        ({"function": {"name": "f", "parameters": {}}}, FunctionTool),
        ({"connector_id": "c"}, ConnectorTool),
        ({"library_ids": ["l"]}, DocumentLibraryTool),
    ],
)
def test_a_tool_without_a_type_is_known_by_its_fields(tool: dict[str, Any], kind: type) -> None:
    (found,) = start(inputs="a", tools=[tool]).tools or []
    assert type(found) is kind


def test_typed_and_untyped_entries_may_stand_together() -> None:
    found = start(
        inputs=[{"role": "user", "content": "a"}, {"type": "message.output", "content": [{"text": "b"}]}]
    ).inputs
    assert [type(entry) for entry in found] == [MessageInputEntry, MessageOutputEntry]


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        ({"model": "m"}, ["inputs"], "missing"),
        ({"inputs": "a", "mood": "good"}, ["mood"], "extra_forbidden"),
        ({"inputs": 5}, ["inputs"], "value_error"),
        ({"inputs": "a", "stream": "yes"}, ["stream"], "value_error"),
        ({"inputs": "a", "completion_args": {"temperature": 2}}, ["completion_args", "temperature"], "value_error"),
        ({"inputs": "a", "completion_args": {"tempo": 2}}, ["completion_args", "tempo"], "extra_forbidden"),
        ({"inputs": "a", "tools": [{"type": "web_search", "x": 1}]}, ["tools", 0, "x"], "extra_forbidden"),
        ({"inputs": "a", "tools": [{"type": "time_travel"}]}, ["tools", 0, "type"], "value_error"),
        ({"inputs": "a", "tools": [{"type": "document_library", "library_ids": []}]}, ["tools", 0, "library_ids"],
         "value_error"),
        ({"inputs": [{"type": "message.input", "role": "user"}]}, ["inputs", 0, "content"], "missing"),
        ({"inputs": [{"role": "user"}]}, ["inputs", 0, "content"], "missing"),
        ({"inputs": [{"role": "system", "content": "a"}]}, ["inputs", 0, "role"], "value_error"),
        ({"inputs": [{"role": "user", "content": "a", "mood": 1}]}, ["inputs", 0, "mood"], "extra_forbidden"),
        ({"inputs": [{"role": "user", "content": [{"text": "a"}, {"text": 5}]}]}, ["inputs", 0, "content", 1, "text"],
         "value_error"),
        ({"inputs": [{"type": "message.input", "role": "user", "content": "a", "created_at": "soon"}]},
         ["inputs", 0, "created_at"], "value_error"),
        ({"inputs": "a", "handoff_execution": "never"}, ["handoff_execution"], "value_error"),
    ],
)  # fmt: skip
def test_a_refusal_points_at_the_field(body: dict[str, Any], loc: list[Any], kind: str) -> None:
    found = refusal(body)
    assert found.loc == ("body", *loc)
    assert found.kind == kind
    assert found.detail[0]["msg"]
    assert found.detail[0]["loc"] == ["body", *loc]


def test_a_refusal_shows_what_was_given_where_that_is_short() -> None:
    assert refusal({"inputs": "a", "name": 5}).given == 5
    assert refusal({"inputs": {"role": "user"}}).given is None


@pytest.mark.parametrize("body", [[], "text", 5, None])
def test_a_body_that_is_no_object_is_refused(body: Any) -> None:
    assert refusal(body).loc == ("body",)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"inputs": "a"} more', "not JSON"),
        (b'{"inputs": NaN}', "not JSON"),
        (b'{"inputs": "\xff"}', "UTF-8"),
        (b'{"inputs": "\\ud800"}', "surrogate"),
        (b'{"inputs": "\\udc00\\ud800"}', "surrogate"),
        (b'{"inputs": [{"role": "user", "content": "\\ud83d"}]}', "surrogate"),
    ],
)
def test_what_is_not_json_is_a_bad_request_that_says_why(data: bytes, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        decode_request(data, StartRequest)


def test_whole_pairs_are_characters() -> None:
    assert decode_request(b'{"inputs": "\\ud83d\\ude00"}', StartRequest).inputs == "\U0001f600"


def nested(depth: int, inner: str = "") -> bytes:
    """A body whose deepest list is at `depth`."""
    return b'{"inputs": "a", "metadata": {"a": %b%b%b}}' % (b"[" * (depth - 2), inner.encode(), b"]" * (depth - 2))


@pytest.mark.parametrize("inner", ["", '"[[["', '"\\"]]]"'])
def test_nesting_has_a_limit(inner: str) -> None:
    assert decode_request(nested(MAX_DEPTH, inner), StartRequest).inputs == "a"
    with pytest.raises(BadRequest, match=f"more than {MAX_DEPTH} levels"):
        decode_request(nested(MAX_DEPTH + 1, inner), StartRequest)


@pytest.mark.parametrize("data", [b"[" * 5_000, b'{"a":' * 5_000, nested(5_000), b"[" * 5_000 + b"]" * 5_000])
def test_very_deep_nesting_is_a_bad_request_too(data: bytes) -> None:
    with pytest.raises(BadRequest):
        decode_request(data, StartRequest)


def test_many_brackets_side_by_side_are_not_deep() -> None:
    wide = {"inputs": "a", "metadata": {"a": [[]] * 10_000, "b": [{}] * 10_000, "c": "[" * 10_000}}
    assert start(**wide).metadata == wide["metadata"]


def test_absent_and_null_are_told_apart_where_it_matters() -> None:
    absent = decode_request(b'{"from_entry_id": "msg_1"}', RestartRequest)
    null = decode_request(b'{"from_entry_id": "msg_1", "metadata": null, "guardrails": null}', RestartRequest)
    assert (absent.metadata, absent.guardrails, absent.agent_version) == (UNSET, UNSET, UNSET)
    assert (null.metadata, null.guardrails) == (None, None)


def test_null_means_the_same_as_absent_elsewhere() -> None:
    fields = [name for name in StartRequest.__struct_fields__ if name != "inputs"]
    assert start(inputs="a", **dict.fromkeys(fields)) == start(inputs="a")
    fields = list(AppendRequest.__struct_fields__)
    assert decode_request(json.dumps(dict.fromkeys(fields)).encode(), AppendRequest) == AppendRequest()


@pytest.mark.parametrize("field", ["tools", "instructions", "model", "guardrails", "metadata", "name", "agent_id"])
def test_an_append_does_not_take_what_belongs_to_the_conversation(field: str) -> None:
    found = refusal({"inputs": "a", field: None}, AppendRequest)
    assert (found.loc, found.kind) == (("body", field), "extra_forbidden")


def test_confirmations_are_decoded() -> None:
    body = {"inputs": [], "tool_confirmations": [{"tool_call_id": "callAAAA1", "confirmation": "deny"}]}
    found = decode_request(json.dumps(body).encode(), AppendRequest)
    assert found.tool_confirmations == [ToolCallConfirmation(tool_call_id="callAAAA1", confirmation="deny")]
    wrong = {"tool_confirmations": [{"tool_call_id": "callAAAA1", "confirmation": "maybe"}]}
    assert refusal(wrong, AppendRequest).loc == ("body", "tool_confirmations", 0, "confirmation")


def asked(kind: type[Any], **query: Any) -> Any:
    """Decode a query."""
    return decode_query(query, kind)


@pytest.mark.parametrize("page", ["-1", str(10**9 + 1), str(10**30), "many", "", "1.5", "null", -1])
def test_a_page_has_bounds(page: Any) -> None:
    for kind in (ListRequest, ListAgentsRequest, ListVersionsRequest):
        with pytest.raises(InvalidRequest) as refused:
            asked(kind, page=page)
        assert refused.value.loc == ("query", "page")


@pytest.mark.parametrize("size", ["-1", "0", "1001", str(10**30), "all"])
def test_the_size_of_a_page_has_bounds(size: str) -> None:
    for kind in (ListRequest, ListAgentsRequest, AgentPagesRequest, ListVersionsRequest):
        with pytest.raises(InvalidRequest) as refused:
            asked(kind, page_size=size)
        assert refused.value.loc == ("query", "page_size")


def test_a_page_inside_of_the_bounds_can_be_asked_for() -> None:
    assert asked(ListRequest, page=str(10**9), page_size="1000") == ListRequest(page=10**9, page_size=1000)
    assert asked(ListAgentsRequest, page_size="1").page_size == 1
    assert asked(ListVersionsRequest, page_size="100").page_size == 100
    with pytest.raises(InvalidRequest):
        asked(ListVersionsRequest, page_size="101")


def test_what_has_no_bounds_is_text_to_the_letter() -> None:
    for text in ("null", "true", "7", "", "é"):
        assert asked(ListAgentsRequest, name=text).name == text
        assert asked(GetAgentRequest, agent_version=text).agent_version == text


def test_a_flag_is_true_or_false() -> None:
    assert [asked(ListAgentsRequest, deployment_chat=text).deployment_chat for text in ("true", "False", "1", "0")] == [
        True, False, True, False,
    ]  # fmt: skip
    with pytest.raises(InvalidRequest) as refused:
        asked(ListAgentsRequest, deployment_chat="perhaps")
    assert refused.value.loc == ("query", "deployment_chat")


@pytest.mark.parametrize("alias", ["a", "prod", "a-b_c9", "a" * 64])
def test_an_alias_begins_with_a_letter(alias: str) -> None:
    assert asked(SetAliasRequest, alias=alias, version="3") == SetAliasRequest(alias=alias, version=3)
    assert asked(DeleteAliasRequest, alias=alias).alias == alias


@pytest.mark.parametrize("alias", ["", "1", "9a", "A", "a_", "a-", "_a", "a b", "a\n", "\na", "é", "a" * 65])
def test_no_other_text_is_an_alias(alias: str) -> None:
    for kind in (SetAliasRequest, DeleteAliasRequest):
        with pytest.raises(InvalidRequest) as refused:
            asked(kind, alias=alias, **({"version": "0"} if kind is SetAliasRequest else {}))
        assert refused.value.loc == ("query", "alias")


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=30).map(str.encode))
def test_no_bytes_at_all_break_it(data: bytes) -> None:
    with pytest.raises((BadRequest, InvalidRequest), match=r"\w"):
        decode_request(data, StartRequest)
