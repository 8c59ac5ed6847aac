"""The events of a run: their frames, their order, their indexes, and that they add up to what is stored."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from tests.support.library import OFFICIAL, reconstitue_entries
from tests.support.raw import Answer, Raw
from tests.support.replies import CallPiece, Content, Reasoning, Step, Text
from tests.support.samples import GET_RATE, GET_TIME, MOMENT, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

FRAME = re.compile(r"event: (?P<event>[a-z.]+)\nid: [0-9a-z._-]+\ndata: (?P<data>\{[^\n]*\})\n\n")
TOOLS = [{"type": "web_search"}, GET_RATE, GET_TIME]
THINK_AND_SEARCH: list[Step] = [
    Reasoning("Hm, "), Reasoning("well."), Text("Let me "), Text("look."),
    CallPiece(0, "callAAAA1", "web_search"), CallPiece(0, arguments='{"query":'), CallPiece(0, arguments='"x"}'),
]  # fmt: skip
CALL_TWICE: list[Step] = [
    Text("Found "), Text("it."), CallPiece(0, "callAAAA2", "get_rate"), CallPiece(0, arguments='{"date":'),
    CallPiece(0, arguments='"x"}'), CallPiece(1, "callAAAA3", "get_time"), CallPiece(1, arguments="{}"),
]  # fmt: skip
IN_CHUNKS: dict[str, list[Step]] = {
    "thoughts in a field": [Reasoning("Hm."), Text("Yes.")],
    "thoughts among the content": [
        Content([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "Yes."}])
    ],
    "text in chunks": [Content([{"type": "text", "text": "Y"}, {"type": "text", "text": "es."}])],
}
KINDS = ["message.output", "tool.execution", "message.output", "function.call", "function.call"]
"""What the two turns above come to."""


@pytest.fixture(scope="module")
def searching(model_server: ScriptedServer) -> Iterator[str]:
    """Run a server that can search, once: stopping one costs more than a test."""
    with serving(upstream=model_server.url, toolsets={"web_search": ScriptedToolset()}) as url:
        yield url


@pytest.fixture(params=["start", "append", "restart", "failed"])
def stream(request: pytest.FixtureRequest, searching: str, model: Script) -> Answer:
    """A stream of each operation with everything in it, and one that failed on the way."""
    raw = Raw(searching)
    first = {"inputs": "One", "model": model.name, "tools": TOOLS}
    path = "/v1/conversations"
    if request.param in ("append", "restart"):
        made = raw.post(path, first).json
        path = f"{path}/{made['conversation_id']}" + ("/restart" if request.param == "restart" else "")
        first = {"inputs": "Two"} | ({"from_entry_id": made["outputs"][0]["id"]} if request.param == "restart" else {})
    model.reply(*THINK_AND_SEARCH)
    if request.param == "failed":
        model.fail(500, "it broke")
    else:
        model.reply(*CALL_TWICE)
    return raw.post(path, first | {"stream": True})


@pytest.fixture
def run(searching: str, model: Script) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The events of a run with everything in it, and the entries that history shows of it."""
    raw = Raw(searching)
    model.reply(*THINK_AND_SEARCH)
    model.reply(*CALL_TWICE)
    events = raw.post("/v1/conversations", {"inputs": "x", "model": model.name, "tools": TOOLS, "stream": True}).events
    return events, raw.get(f"/v1/conversations/{events[0]['conversation_id']}/history").json["entries"][1:]


@pytest.mark.requirement("C-205")
def test_a_frame_is_an_event_line_an_id_line_a_data_line_and_a_blank_one(stream: Answer) -> None:
    text = stream.body.decode()
    frames = list(FRAME.finditer(text))

    assert "".join(frame[0] for frame in frames) == text, "there is nothing between frames, and nothing after the last"
    assert [json.loads(frame["data"])["type"] for frame in frames] == [frame["event"] for frame in frames]
    assert frames[-1]["event"] in ("conversation.response.done", "conversation.response.error")
    assert "[DONE]" not in text


@pytest.mark.requirement("C-205")
def test_text_with_line_breaks_stays_in_its_frame(sdk: SDK, raw: Raw, model: Script) -> None:
    text = "a\nb\r\nc\r\n\ndata: x\nevent: y\n\n\u2028\u2029\x85\x00\ufeff🙂"
    for _ in range(2):
        model.say(text, text)
    deltas = sdk.start_stream(inputs="Hello")[1:-1]
    answer = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name, "stream": True})

    assert [delta.content for delta in deltas] == [text, text]
    assert len(FRAME.findall(answer.body.decode())) == len(answer.frames) == 4


@pytest.mark.requirement("C-207", "C-208")
def test_every_event_has_a_time_and_the_first_is_the_start(stream: Answer) -> None:
    events = stream.events
    times = [event["created_at"] for event in events]

    assert all(MOMENT.fullmatch(time) for time in times)
    assert times == sorted(times)
    kinds = [event["type"] for event in events]
    assert kinds[0] == "conversation.response.started"
    assert kinds.count("conversation.response.started") == 1
    assert events[0]["conversation_id"].startswith("conv_")


@pytest.mark.requirement("C-220", "C-221")
def test_a_stream_ends_once_with_usage_or_an_error(stream: Answer) -> None:
    *before, last = stream.events
    ends = {"conversation.response.done", "conversation.response.error"}

    assert not ends & {event["type"] for event in before}
    if last["type"] == "conversation.response.done":
        assert last["usage"].keys() >= {"prompt_tokens", "completion_tokens", "total_tokens"}
    else:
        assert last.keys() == {"type", "created_at", "message", "code"}
        assert type(last["code"]) is int
        assert last["code"] == 502
        assert "it broke" in last["message"]


@pytest.mark.requirement("C-221")
def test_the_sdk_reads_the_error_as_an_event(sdk: SDK, model: Script) -> None:
    model.reply(Text("Let "), Content([{"type": "text", "text": 5}]))
    started, delta, failed = sdk.start_stream(inputs="Hello")

    assert (started.type, delta.content) == ("conversation.response.started", "Let ")
    assert type(failed).__name__ == "ResponseErrorEvent"
    assert (failed.type, failed.code) == ("conversation.response.error", 502)
    assert failed.message


@pytest.mark.requirement("C-209")
def test_pieces_of_text_leave_as_they_come(sdk: SDK, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Text("Sev"), gate, Text("e"), Text("n."))
        with sdk.opened("start_stream", inputs="What is 3+4?") as stream:
            started, first = stream.next(), stream.next()
            gate.wait_reached()
            gate.open()
            *rest, done = stream.rest()

    assert (started.type, done.type) == ("conversation.response.started", "conversation.response.done")
    assert [delta.content for delta in (first, *rest)] == ["Sev", "e", "n."]
    assert {(d.type, d.role, d.model, d.output_index, d.content_index) for d in (first, *rest)} == {
        ("message.output.delta", "assistant", model.name, 0, 0)
    }


@pytest.mark.requirement("C-210")
@pytest.mark.parametrize("steps", IN_CHUNKS.values(), ids=IN_CHUNKS)
def test_content_is_a_string_or_one_chunk_and_never_a_list(raw: Raw, model: Script, steps: list[Step]) -> None:
    model.reply(*steps)
    answer = raw.post("/v1/conversations", {"inputs": "Well?", "model": model.name, "stream": True})

    contents = [event["content"] for event in answer.events[1:-1]]
    chunks = [(content["type"], content["thinking"]) for content in contents if not isinstance(content, str)]
    assert "".join(content for content in contents if isinstance(content, str)) == "Yes."
    thoughts = [] if steps == IN_CHUNKS["text in chunks"] else [("thinking", [{"type": "text", "text": "Hm."}])]
    assert chunks == thoughts


@pytest.mark.requirement("C-211")
def test_each_chunk_of_a_message_has_an_index_of_its_own(sdk: SDK, model: Script) -> None:
    model.reply(
        Reasoning("a"), Reasoning("b"), Text("c"), Text("d"), Reasoning("e"), Text("f"), Reasoning("g"), Reasoning("h")
    )
    started, *deltas, _ = sdk.start_stream(inputs="Well?")

    assert [delta.content_index for delta in deltas] == [0, 0, 1, 1, 2, 3, 4, 4]
    assert {(delta.output_index, delta.id) for delta in deltas} == {(0, deltas[0].id)}
    chunks = as_json(sdk.get_history(started.conversation_id).entries[1])["content"]
    assert [chunk.get("text") or chunk["thinking"][0]["text"] for chunk in chunks] == ["ab", "cd", "e", "f", "gh"]


@pytest.mark.requirement("C-212", "C-213")
def test_entries_are_numbered_from_0_and_never_come_back(
    run: tuple[list[dict[str, Any]], list[dict[str, Any]]],
) -> None:
    (_, *events, _), entries = run
    groups = [(index, list(group)) for index, group in groupby(events, key=lambda event: event["output_index"])]

    assert [index for index, _ in groups] == list(range(5))
    assert [entry["type"] for entry in entries] == KINDS
    for (_, group), entry in zip(groups, entries, strict=True):
        assert {event["id"] for event in group} == {entry["id"]}
        assert {event["type"].rpartition(".")[0] for event in group} == {entry["type"]}
        assert group[0]["created_at"] == entry["created_at"]


@pytest.mark.requirement("C-213")
@pytest.mark.parametrize("operation", ["append_stream", "restart_stream"])
def test_ids_of_later_turns_are_those_of_history_too(sdk: SDK, operation: str) -> None:
    first = sdk.start(inputs="One")
    more = {"from_entry_id": first.outputs[0].id} if operation == "restart_stream" else {}
    started, delta, _ = getattr(sdk, operation)(conversation_id=first.conversation_id, inputs="Two", **more)

    entry = sdk.get_history(started.conversation_id).entries[-1]
    assert (entry.id, entry.content) == (delta.id, delta.content) == (delta.id, "Answer 2")


@pytest.mark.requirement("C-217", "C-218")
def test_each_piece_of_a_call_repeats_its_name_and_ids(run: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    events, entries = run
    pieces = [event for event in events if event["type"] == "function.call.delta"]
    calls = [entry for entry in entries if entry["type"] == "function.call"]

    assert [[piece["arguments"] for piece in pieces if piece["id"] == call["id"]] for call in calls] == [
        ['{"date":', '"x"}'],
        ["{}"],
    ]
    assert len({call["output_index"] for call in pieces}) == len(calls) == 2
    for piece in pieces:
        (call,) = (one for one in calls if one["id"] == piece["id"])
        assert [piece[name] for name in ("name", "tool_call_id", "model")] == [
            call[name] for name in ("name", "tool_call_id", "model")
        ]


@pytest.mark.requirement("C-218")
def test_a_call_leaves_before_the_next_begins(sdk: SDK, model: Script) -> None:
    with model.gate() as gate:
        model.reply(*CALL_TWICE[2:5], gate, *CALL_TWICE[5:])
        with sdk.opened("start_stream", inputs="Which rate?", tools=[GET_RATE, GET_TIME]) as stream:
            _, *pieces = stream.next(), stream.next(), stream.next()
            gate.wait_reached()
            gate.open()
            *rest, _ = stream.rest()

    assert [(piece.name, piece.output_index) for piece in pieces] == [("get_rate", 0)] * 2
    assert [(piece.name, piece.output_index) for piece in rest] == [("get_time", 1)]


def rebuilt(events: list[Any]) -> list[Any]:
    """Let the SDK put entries together, as its own run loop does: by output_index, the first event being the kind."""
    tracker: dict[int, list[Any]] = defaultdict(list)
    for event in events:
        if hasattr(event, "output_index"):
            tracker[event.output_index].append(event)
    return reconstitue_entries(tracker)


PLAIN: dict[str, list[Step]] = {
    "text": [Text("Sev"), Text("e"), Text(""), Text("n.")],
    "one piece": [Text("Seven.")],
    "nothing": [],
    "half characters": [Text("a\ud83d"), Text("\ude42b"), Text("\ud83d"), Text("\ude42")],
    "a lone half": [Text("a\ud83d"), Text("b")],
    "a call": [CallPiece(0, "callAAAA1", "get_rate"), *(CallPiece(0, arguments=one) for one in '{"date": "ü"}')],
    "half characters in a call": [CallPiece(0, "c", "get_rate"), CallPiece(0, arguments='{"date":"\ud83d'),
                                  CallPiece(0, arguments='\ude42"}')],
    "a call without arguments": [CallPiece(0, "callAAAA1", "get_time")],
    "text and two calls": CALL_TWICE,
    "text after a call": [*CALL_TWICE[2:5], Text("There."), *CALL_TWICE[5:]],
    "interleaved calls": [CALL_TWICE[at] for at in (2, 5, 3, 6, 4)],
}  # fmt: skip


@pytest.mark.skipif(not OFFICIAL, reason="it is the official SDK that rebuilds")
@pytest.mark.requirement("C-222")
@pytest.mark.parametrize("steps", PLAIN.values(), ids=PLAIN)
def test_the_sdk_rebuilds_what_is_stored(sdk: SDK, model: Script, steps: list[Step]) -> None:
    model.reply(*steps)
    events = sdk.start_stream(inputs="Well?", tools=[GET_RATE, GET_TIME])
    history = as_json(sdk.get_history(events[0].conversation_id))["entries"][1:]

    assert events[-1].type == "conversation.response.done"
    shown = [{key: value for key, value in entry.items() if value is not None} for entry in as_json(rebuilt(events))]
    stored = [{key: entry.get(key) for key in mine} for mine, entry in zip(shown, history, strict=True)]
    assert shown == stored
    assert "\ud83d" not in json.dumps(history, ensure_ascii=False)


@pytest.mark.requirement("C-222")
@pytest.mark.parametrize("steps", PLAIN.values(), ids=PLAIN)
def test_a_stream_stores_what_a_plain_answer_stores(sdk: SDK, model: Script, steps: list[Step]) -> None:
    for _ in range(2):
        model.reply(*steps)
    tools = [GET_RATE, GET_TIME]
    streamed = sdk.start_stream(inputs="Well?", tools=tools)[0].conversation_id
    plain = sdk.start(inputs="Well?", tools=tools).conversation_id

    def lasting(made: str) -> list[tuple[Any, ...]]:
        entries = as_json(sdk.get_history(made))["entries"][1:]
        found = [tuple(entry.get(key) for key in ("type", "content", "name", "arguments")) for entry in entries]
        return sorted(found, key=lambda one: one[0], reverse=True)  # a plain answer has its text before its calls

    assert lasting(streamed) == lasting(plain)


@pytest.mark.requirement("C-223")
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning", "content"])
def test_thinking_comes_before_the_text_it_leads_to(sdk: SDK, model: Script, field: str) -> None:
    if field == "content":
        chunks = [{"type": "thinking", "thinking": [{"type": "text", "text": text}]} for text in ("Hm, ", "well.")]
        model.reply(*(Content([chunk]) for chunk in chunks), Text("Sev"), Text("en."))
    else:
        model.reply(Reasoning("Hm, ", field), Reasoning("well.", field), Text("Sev"), Text("en."))
    started, *deltas, _ = sdk.start_stream(inputs="What is 3+4?")

    thoughts, texts = deltas[:2], deltas[2:]
    assert [thought.content.type for thought in thoughts] == ["thinking", "thinking"]
    assert "".join(part.text for thought in thoughts for part in thought.content.thinking) == "Hm, well."
    assert [text.content for text in texts] == ["Sev", "en."]
    assert [delta.content_index for delta in deltas] == [0, 0, 1, 1]
    thought, text = as_json(sdk.get_history(started.conversation_id).entries[1])["content"]
    assert (thought["thinking"], text["text"]) == ([{"type": "text", "text": "Hm, well."}], "Seven.")


@pytest.mark.requirement("C-209", "C-223")
def test_a_call_after_thoughts_has_a_message_before_it(sdk: SDK, model: Script) -> None:
    model.reply(Reasoning("Hm."), *CALL_TWICE[2:5])
    events = sdk.start_stream(inputs="Which rate?", tools=[GET_RATE])
    assert [event.output_index for event in events[1:-1]] == [0, 1, 1]
    kinds = [entry.type for entry in sdk.get_history(events[0].conversation_id).entries]
    assert kinds == ["message.input", "message.output", "function.call"]
    sdk.append(conversation_id=events[0].conversation_id, inputs=[result("callAAAA2", "2.5%")])
    assert "Hm." in str(model.last.messages[1])
