"""The rehearsal model without a script: an echo, and commands that reach every path of an application."""

from __future__ import annotations

import json
from typing import Any

import pytest

from causerie.errors import APIError, BadRequest, RateLimited, UpstreamTimeout, UpstreamUnavailable
from causerie.ids import is_tool_call_id
from causerie.types.completion import CompletionArgs, JsonSchema, ResponseFormat
from causerie.upstreams.base import Delta, FinishDelta, ReasoningDelta, TextDelta, UsageDelta
from causerie.upstreams.rehearsal import Rehearsal
from causerie.upstreams.reply import pieces

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["days"],
}
TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "", "parameters": WEATHER}},
    {"type": "function", "function": {"name": "now", "description": "", "parameters": {}}},
]


@pytest.fixture
def said(run: Any, ask: Any, collect: Any) -> Any:
    """What comes back: text, reasoning, calls as (name, arguments), usage and finish reason."""

    def saying(messages: Any, **members: Any) -> Any:
        batches = run(collect(Rehearsal(), ask(messages, **members)))
        return summed([delta for batch in batches for delta in batch])

    return saying


def summed(deltas: list[Delta]) -> dict[str, Any]:
    found: dict[str, Any] = {"text": "", "reasoning": "", "calls": [], "ids": []}
    for delta in deltas:
        if isinstance(delta, TextDelta):
            found["text"] += delta.text
        elif isinstance(delta, ReasoningDelta):
            found["reasoning"] += delta.text
        elif isinstance(delta, UsageDelta):
            found["usage"] = (delta.prompt_tokens, delta.completion_tokens)
        elif isinstance(delta, FinishDelta):
            found["finish"] = delta.reason
        elif delta.id is not None:
            found["ids"].append(delta.id)
            found["calls"].append((delta.name, delta.arguments))
        else:
            name, arguments = found["calls"][delta.index]
            found["calls"][delta.index] = (name, arguments + delta.arguments)
    return found


def user(text: Any) -> dict[str, Any]:
    return {"role": "user", "content": text}


def called(*names: str) -> dict[str, Any]:
    calls = [
        {"id": f"id{n}", "type": "function", "function": {"name": name, "arguments": "{}"}}
        for n, name in enumerate(names)
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def result(number: int, output: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"id{number}", "content": output}


def test_it_says_that_it_is_a_stand_in_what_it_heard_and_how_often(said: Any) -> None:
    assert said("Hello") | {"usage": None} == {
        "text": "Rehearsal, a stand-in for a model, after 1 user turn. You said: Hello",
        "reasoning": "",
        "calls": [],
        "ids": [],
        "usage": None,
        "finish": "stop",
    }
    later = said(
        [{"role": "system", "content": "Be kind."}, user("a"), {"role": "assistant", "content": "b"}, user("c")]
    )
    assert later["text"] == "Rehearsal, a stand-in for a model, after 2 user turns. You said: c"
    assert said([])["text"].endswith("Nobody has said anything yet.")


def test_it_streams_word_by_word_and_a_plain_answer_is_one_batch(run: Any, ask: Any, collect: Any) -> None:
    streamed = run(collect(Rehearsal(), ask("Hello, you")))
    assert [len(batch) for batch in streamed] == [1] * (len(streamed) - 1) + [2]
    assert [batch[0].text for batch in streamed[-4:-1]] == [" Hello", ",", " you"]
    plain = run(collect(Rehearsal(), ask("Hello, you", stream=False)))
    assert len(plain) == 1
    assert summed(plain[0]) == summed([delta for batch in streamed for delta in batch])


def test_usage_counts_words_in_the_prompt_and_in_the_answer(said: Any) -> None:
    answer = said([{"role": "system", "content": "Be kind."}, user("Hello, you")])
    assert answer["usage"] == (6, len(pieces(answer["text"])))
    picture = user([{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "data:,"}}])
    assert said([picture])["usage"][0] == 257


def test_images_are_acknowledged(said: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    assert said([user([{"type": "text", "text": "Look"}, image])])["text"].endswith(
        "You said: Look With it came 1 image."
    )
    assert said([user([image, image])])["text"].endswith("With it came 2 images.")


@pytest.mark.parametrize(
    ("message", "calls", "text"),
    [
        ('/call get_weather {"city": "Paris"}', [("get_weather", '{"city": "Paris"}')], ""),
        ("/call now", [("now", "{}")], ""),
        ("/call get_weather", [("get_weather", '{"days":1}')], ""),
        (
            '/call get_weather {"city":"/call now"}\n/call now {} and tell me',
            [("get_weather", '{"city":"/call now"}'), ("now", "{}")],
            "and tell me",
        ),
        ("/call now /call now", [("now", "{}"), ("now", "{}")], ""),
    ],
)
def test_a_function_is_called_on_command(said: Any, message: str, calls: Any, text: str) -> None:
    answer = said(message, tools=TOOLS)
    assert (answer["calls"], answer["text"], answer["finish"]) == (calls, text, "tool_calls")
    assert len(set(answer["ids"])) == len(calls)
    assert all(is_tool_call_id(id_) for id_ in answer["ids"])
    assert said(message, tools=TOOLS, stream=False) == answer


@pytest.mark.parametrize(
    ("message", "members", "text"),
    [
        ("/call nope", {"tools": TOOLS}, "There is no function nope to call; offered: get_weather, now."),
        ("/call now", {}, "There is no function now to call; offered: none at all."),
        ("/call", {"tools": TOOLS}, "Say which one"),
        ('/call now {"a"', {"tools": TOOLS}, "The arguments of now are no JSON"),
        ("/call now", {"tools": TOOLS, "args": CompletionArgs(tool_choice="none")}, "tool_choice is none"),
    ],
)
def test_what_cannot_be_called_is_said(said: Any, message: str, members: Any, text: str) -> None:
    answer = said(message, **members)
    assert (answer["calls"], answer["finish"]) == ([], "stop")
    assert text in answer["text"]


@pytest.mark.parametrize("choice", ["any", "required"])
def test_a_call_that_is_required_is_made_with_the_least_arguments(said: Any, choice: Any) -> None:
    args = CompletionArgs(tool_choice=choice)
    assert said("Hello", tools=TOOLS, args=args)["calls"] == [("get_weather", '{"days":1}')]
    assert said("Hello", args=args)["calls"] == []
    again = said([user("Hello"), called("now"), result(0, "noon")], tools=TOOLS, args=args)
    assert (again["calls"], again["finish"]) == ([], "stop")


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_no_call_is_made_unasked(said: Any, choice: Any) -> None:
    assert said("Hello", tools=TOOLS, args=CompletionArgs(tool_choice=choice))["calls"] == []


def test_results_are_told(said: Any) -> None:
    messages = [user("/call both"), called("now", "get_weather"), result(0, "noon"), result(1, "sunny")]
    assert said(messages, tools=TOOLS)["text"].endswith("now returned: noon\nget_weather returned: sunny")
    named = {"role": "tool", "name": "f", "tool_call_id": "other", "content": [{"type": "text", "text": "x"}]}
    assert said([user("a"), named])["text"].endswith("f returned: x")
    assert said([*messages, user("thanks")])["text"].endswith("You said: thanks")


def test_the_same_request_has_the_same_answer_and_a_longer_one_other_ids(said: Any) -> None:
    first = said("/call now", tools=TOOLS)
    assert said("/call now", tools=TOOLS) == first
    assert said([user("a"), user("/call now")], tools=TOOLS)["ids"] != first["ids"]


def test_it_thinks_first_on_command(said: Any) -> None:
    answer = said("/think about it")
    assert answer["reasoning"] == "Rehearsing a thought. The user wants me to consider: about it"
    assert answer["text"].endswith("You said: about it")


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        ("/error 429 slow down", RateLimited, "slow down"),
        ("/error 503", UpstreamUnavailable, "an error was rehearsed"),
        ("/error 504 late", UpstreamTimeout, "late"),
        ("/error 400 too long", BadRequest, "too long"),
    ],
)
def test_it_fails_on_command(said: Any, message: str, kind: type[APIError], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        said(message)
    assert "upstream rehearsal" in caught.value.message
    if kind is RateLimited:
        assert caught.value.headers == {"Retry-After": "1"}


def test_a_failure_that_is_none_is_explained(said: Any) -> None:
    assert "a status from 400 to 599" in said("/error 200 fine")["text"]
    assert "/call NAME" in said("/help")["text"]


def test_max_tokens_cuts(said: Any) -> None:
    assert said("Hello", args=CompletionArgs(max_tokens=3)) | {"ids": []} == {
        "text": "Rehearsal, a",
        "reasoning": "",
        "calls": [],
        "ids": [],
        "usage": (1, 3),
        "finish": "length",
    }
    assert said("Hello", args=CompletionArgs(max_tokens=0))["text"] == ""
    thought = said("/think deeply", args=CompletionArgs(max_tokens=2))
    assert (thought["reasoning"], thought["text"], thought["finish"]) == ("Rehearsing a", "", "length")
    call = said("/call now\n/call now", tools=TOOLS, args=CompletionArgs(max_tokens=4))
    assert (call["calls"], call["finish"]) == ([("now", "{}")], "length")
    assert said("Hello", args=CompletionArgs(max_tokens=100))["finish"] == "stop"


@pytest.mark.parametrize("stop", ["model", ["zzz", "after", "model"]])
def test_stop_cuts_before_the_word(said: Any, stop: Any) -> None:
    answer = said("Hello", args=CompletionArgs(stop=stop))
    assert (answer["text"], answer["finish"]) == ("Rehearsal, a stand-in for a ", "stop")


def test_a_prefix_is_continued(said: Any) -> None:
    messages = [user("Hello"), {"role": "assistant", "content": "The answer", "prefix": True}]
    answer = said(messages, prefix="The answer")
    assert answer["text"].startswith("The answer Rehearsal, a stand-in")
    assert answer["text"].endswith("after 1 user turn. You said: Hello")
    assert answer["usage"] == (1, len(pieces(answer["text"])) - 2)


def test_json_is_answered_where_it_is_wanted(said: Any) -> None:
    any_json = CompletionArgs(response_format=ResponseFormat(type="json_object"))
    assert json.loads(said("Hello", args=any_json)["text"]) == {"rehearsal": True, "turn": 1, "user": "Hello"}
    null = CompletionArgs(response_format=ResponseFormat(type="json_schema", json_schema=None))
    assert json.loads(said("Hello", args=null)["text"])["rehearsal"] is True
    schema = ResponseFormat(type="json_schema", json_schema=JsonSchema(name="w", schema=WEATHER))
    for messages in ("Hello", [user("a"), called("now"), result(0, "noon")]):
        assert said(messages, args=CompletionArgs(response_format=schema))["text"] == '{"days":1}'


def test_a_schema_beyond_it_is_refused(said: Any) -> None:
    schema = ResponseFormat(type="json_schema", json_schema=JsonSchema(name="w", schema={"not": {}}))
    with pytest.raises(BadRequest, match="instance of the schema 'w': 'not' at") as caught:
        said("Hello", args=CompletionArgs(response_format=schema))
    assert caught.value.code == 3230


@pytest.mark.parametrize("messages", [b"nonsense", b"{}", b'[{"role":7}]', b"[" * 100_000])
def test_messages_that_are_none_are_refused(said: Any, messages: bytes) -> None:
    with pytest.raises(BadRequest, match="cannot read the messages"):
        said(messages)


def test_any_model_is_answered_and_one_is_listed(said: Any, run: Any) -> None:
    assert said("Hello", model="mistral-large-latest")["finish"] == "stop"
    assert run(Rehearsal().models()) == ["rehearsal"]


@pytest.mark.parametrize("text", ["", "  a  b\n", "naïve 中文 ☕️ — x", "a" * 100, "\n\n"])
def test_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert all(pieces(text))
