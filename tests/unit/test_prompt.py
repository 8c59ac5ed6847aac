"""Entries become chat messages: each kind, what belongs together, and what every model server can read (D7)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from causerie.engine.prompt import (
    Call,
    assistant_message,
    function_tools,
    messages,
    prefix_message,
    render,
    text_of,
    tool_message,
)
from causerie.types.base import UNSET
from causerie.types.content import (
    DocumentURLChunk,
    ImageURL,
    ImageURLChunk,
    TextChunk,
    ThinkChunk,
    ToolFileChunk,
    ToolReferenceChunk,
)
from causerie.types.entries import (
    AgentHandoffEntry,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)
from causerie.types.tools import Function

HANDOFF = AgentHandoffEntry(
    id="handoff_1", previous_agent_id="ag_1", previous_agent_name="Ann", next_agent_id="ag_2", next_agent_name="Bob"
)
HM = ThinkChunk(thinking=[TextChunk(text="H"), TextChunk(text="m.")])


def user(content: Any) -> MessageInputEntry:
    """A message of the user's."""
    return MessageInputEntry(role="user", content=content)


def said(content: Any) -> MessageOutputEntry:
    """A message of the model's."""
    return MessageOutputEntry(content=content)


def called(id_: str, arguments: Any = "{}", name: str = "f") -> FunctionCallEntry:
    """A call."""
    return FunctionCallEntry(tool_call_id=id_, name=name, arguments=arguments)


def answered(id_: str, result: str = "fine") -> FunctionResultEntry:
    """The result of a call."""
    return FunctionResultEntry(tool_call_id=id_, result=result)


def executed(id_: str = "tool_exec_12345", info: Any = UNSET, **more: Any) -> ToolExecutionEntry:
    """A tool that a server ran."""
    return ToolExecutionEntry(**({"id": id_, "name": "code_interpreter", "arguments": "{}", "info": info} | more))


def rendered(*entries: Entry, ids: dict[str, str] | None = None) -> list[Any]:
    """Render entries; return the messages."""
    groups = render(entries, ids or {})
    assert sum(group.covers for group in groups) == len(entries)
    found: list[Any] = json.loads(b"[" + b",".join(group.prompt for group in groups) + b"]")
    return found


def asks(*calls: tuple[str, str]) -> list[dict[str, Any]]:
    """Return `tool_calls` of a function f."""
    return [{"id": id_, "type": "function", "function": {"name": "f", "arguments": given}} for id_, given in calls]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (user("Hello"), {"role": "user", "content": "Hello"}),
        (user([TextChunk(text="Hel"), TextChunk(text="lo")]), {"role": "user", "content": "Hello"}),
        (MessageInputEntry(role="assistant", content="Hi"), {"role": "assistant", "content": "Hi"}),
        (said("Hi"), {"role": "assistant", "content": "Hi"}),
        (said([HM, TextChunk(text="So.")]), {"role": "assistant", "content": "So.", "reasoning_content": "Hm."}),
        (said([HM]), {"role": "assistant", "content": "", "reasoning_content": "Hm."}),
        (said(""), {"role": "assistant", "content": " "}),
        (answered("callAAAA1", "12"), {"role": "tool", "tool_call_id": "callAAAA1", "content": "12"}),
        (HANDOFF, {"role": "assistant", "content": "[Ann handed over to Bob.]"}),
    ],
)  # fmt: skip
def test_each_kind_of_message(entry: Entry, message: dict[str, Any]) -> None:
    assert rendered(entry) == [message]


def test_images_stay_images_beside_text() -> None:
    content = [
        TextChunk(text="Look:"), ImageURLChunk(image_url="data:image/png;base64,AA=="),
        ImageURLChunk(image_url=ImageURL(url="http://127.0.0.1/a.png", detail="low")),
        ImageURLChunk(image_url=ImageURL(url="http://127.0.0.1/b.png", detail=None)),
    ]  # fmt: skip
    assert rendered(user(content))[0]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "http://127.0.0.1/b.png"}},
    ]


def test_what_is_no_text_is_named() -> None:
    content = [
        TextChunk(text="See "),
        ToolReferenceChunk(tool="web_search", title="A page", url="http://127.0.0.1/"),
        ToolReferenceChunk(tool="web_search", title="A book"),
        ToolFileChunk(tool="image_generation", file_id="file_1", file_name="plot.png"),
        ToolFileChunk(tool="image_generation", file_id="file_2"),
        DocumentURLChunk(document_url="http://127.0.0.1/a.pdf"),
        DocumentURLChunk(document_url="http://127.0.0.1/a.pdf", document_name="Report"),
        ImageURLChunk(image_url="http://127.0.0.1/a.png"),
        HM,
    ]
    expected = "See [A page](http://127.0.0.1/)[A book][plot.png][file_2][http://127.0.0.1/a.pdf][Report][image]"
    assert text_of(content) == expected
    assert text_of("plain") == "plain"
    assert rendered(said(content)) == [{"role": "assistant", "content": expected, "reasoning_content": "Hm."}]


def test_text_and_the_calls_beside_it_are_one_message() -> None:
    assert rendered(user("Go"), said("One moment."), called("callAAAA1"), called("callAAAA2", '{"a": 1}')) == [
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": "One moment.",
         "tool_calls": asks(("callAAAA1", "{}"), ("callAAAA2", '{"a": 1}'))},
    ]  # fmt: skip


def test_text_after_calls_belongs_to_them() -> None:
    found = rendered(called("callAAAA1"), said("b"), called("callAAAA2"), said("c"), answered("callAAAA1"))
    assert [message["role"] for message in found] == ["assistant", "tool"]
    assert found[0]["content"] == "bc"
    assert [call["id"] for call in found[0]["tool_calls"]] == ["callAAAA1", "callAAAA2"]


def test_what_a_server_ran_and_handed_over_beside_a_call_belongs_to_it() -> None:
    found = rendered(called("callAAAA1"), executed(info={"a": 1}), HANDOFF, answered("callAAAA1"))
    assert [message["role"] for message in found] == ["assistant", "tool", "tool"]
    assert found[0]["content"] == "[Ann handed over to Bob.]"
    assert [call["id"] for call in found[0]["tool_calls"]] == ["callAAAA1", found[1]["tool_call_id"]]
    assert found[2]["tool_call_id"] == "callAAAA1"


def test_messages_without_calls_stay_apart() -> None:
    found = rendered(said("a"), said("b"), user("c"), said("d"))
    assert [message["content"] for message in found] == ["a", "b", "c", "d"]


def test_calls_after_results_are_another_turn() -> None:
    found = rendered(called("callAAAA1"), answered("callAAAA1"), called("callAAAA2"), answered("callAAAA2"))
    assert [message["role"] for message in found] == ["assistant", "tool", "assistant", "tool"]


@pytest.mark.parametrize(
    ("info", "output"),
    [
        ({"result": [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}, "odd"], "code": "6*7"}, "42"),
        ({"result": []}, ""),
        ({"code": "6*7", "code_output": "42"}, '{"code":"6*7","code_output":"42"}'),
        ({}, "(The result was not kept.)"),
        (UNSET, "(The result was not kept.)"),
    ],
)
def test_what_a_server_ran_is_a_call_and_its_result(info: Any, output: str) -> None:
    call, result = rendered(executed(info=info, arguments='{"code": "6*7"}'))
    (asked,) = call["tool_calls"]
    assert asked["function"] == {"name": "code_interpreter", "arguments": '{"code": "6*7"}'}
    assert result == {"role": "tool", "tool_call_id": asked["id"], "content": output}


def test_a_sub_tool_is_called_by_its_own_name() -> None:
    call, _ = rendered(executed(function="search", name="web_search"))
    assert call["tool_calls"][0]["function"]["name"] == "search"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ('{"a": 1}', '{"a": 1}'),
        ({"a": [1, "é"]}, '{"a":[1,"é"]}'),
        ("", "{}"),
        ('{"a": ', '{"arguments":"{\\"a\\": "}'),
        ("[1]", '{"arguments":"[1]"}'),
        ("null", '{"arguments":"null"}'),
        ("[" * 100_000, None),
    ],
)
def test_arguments_are_always_an_object_to_the_model(given: Any, sent: str | None) -> None:
    (message,) = rendered(called("callAAAA1", given))
    arguments = message["tool_calls"][0]["function"]["arguments"]
    assert isinstance(json.loads(arguments), dict)
    assert arguments == sent or sent is None


def test_calls_and_results_go_by_the_id_that_the_upstream_gave() -> None:
    found = rendered(called("callAAAA1"), answered("callAAAA1"), ids={"callAAAA1": "call_of_another_shape"})
    assert found[0]["tool_calls"][0]["id"] == found[1]["tool_call_id"] == "call_of_another_shape"


def test_a_group_knows_how_many_entries_it_stands_for() -> None:
    groups = render([user("a"), said("b"), called("callAAAA1"), answered("callAAAA1"), user("c")], {})
    assert [group.covers for group in groups] == [1, 2, 1, 1]


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("reasoning_content", {"role": "assistant", "content": "So.", "reasoning_content": "Hm."}),
        ("reasoning", {"role": "assistant", "content": "So.", "reasoning": "Hm."}),
        ("content", {"role": "assistant", "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "signature": "signed"},
            {"type": "text", "text": "So."},
        ]}),
    ],
)  # fmt: skip
def test_reasoning_goes_back_in_the_field_that_it_came_in(field: Any, message: dict[str, Any]) -> None:
    assert json.loads(assistant_message("So.", reasoning="Hm.", field=field, signature="signed")) == message


def test_a_thought_alone_is_content_enough() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}]
    assert json.loads(assistant_message("", reasoning="Hm.", field="content"))["content"] == thinking


def test_the_last_signature_counts() -> None:
    one = ThinkChunk(thinking=[TextChunk(text="a")], signature="first")
    two = ThinkChunk(thinking=[TextChunk(text="b")], signature="last")
    three = ThinkChunk(thinking=[TextChunk(text="c")])
    (message,) = rendered(said([one, two, three]))
    assert message == {"role": "assistant", "content": "", "reasoning_content": "abc"}
    assert json.loads(assistant_message("", [Call("a", "f", "{}")]))["content"] == ""


def test_everything_joins_to_one_array() -> None:
    body = messages("Be brief.", [b'{"role":"user","content":"a"}'], [prefix_message("So"), tool_message("c", "d")])
    assert json.loads(body) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "So", "prefix": True},
        {"role": "tool", "tool_call_id": "c", "content": "d"},
    ]
    assert messages(None, []) == b"[]"
    assert messages("", [b"{}"]) == b"[{}]"


def test_tools_are_in_the_order_of_their_names_whatever_order_they_came_in() -> None:
    one = Function(name="b", parameters={"type": "object"}, description="B.")
    other = Function(name="a", parameters={}, strict=True)
    sent = function_tools([one, other])
    assert sent == function_tools([other, one])
    assert sent is not None
    assert json.loads(sent) == [
        {"type": "function", "function": {"name": "a", "description": "", "parameters": {}, "strict": True}},
        {"type": "function", "function": {"name": "b", "description": "B.", "parameters": {"type": "object"}}},
    ]
    assert function_tools([]) is None
