"""What a model may mix in one turn: text and calls in any order, functions and server tools together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.replies import CallPiece, Text, call
from tests.support.samples import GET_RATE, GET_TIME, check_calls, result, user
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json
from tests.support.toolset import ScriptedToolset


@pytest.mark.requirement("C-042")
@pytest.mark.parametrize("turn", [("get_rate", "web_search"), ("web_search", "get_rate"), ("get_rate", "get_time")])
def test_a_turn_of_ours_can_be_replayed_elsewhere(
    serve: Callable[..., str], connect: Callable[[str], SDK], model: Script, turn: tuple[str, str]
) -> None:
    sdk = connect(serve(toolsets={"web_search": ScriptedToolset()}))
    model.reply(Text("Let me see."), *call(turn[0], {}, call_id="aaaaaaaa1"),
                *call(turn[1], {}, call_id="aaaaaaaa2", index=1), Text("One moment."))  # fmt: skip
    tools = [{"type": "web_search"}, GET_RATE, GET_TIME]
    made = sdk.start(inputs="Hello", tools=tools)
    waiting = [output.tool_call_id for output in made.outputs if output.type == "function.call"]
    sdk.append(conversation_id=made.conversation_id, inputs=[result(one, "1") for one in waiting])
    check_calls(model.last.messages)

    history = as_json(sdk.get_history(made.conversation_id))["entries"]
    sdk.start(inputs=[*history, user("And now?")], tools=tools)
    check_calls(model.last.messages)


@pytest.mark.requirement("C-212", "C-222")
def test_text_between_the_pieces_of_a_call_does_not_make_the_stream_turn_back(sdk: SDK, model: Script) -> None:
    model.reply(CallPiece(0, "aaaaaaaa1", "get_rate", '{"date"'), Text("Hm."), CallPiece(0, arguments=': "x"}'))
    started, *events, done = sdk.start_stream(inputs="Hello", tools=[GET_RATE])

    assert done.type == "conversation.response.done"
    indexes = [event.output_index for event in events]
    assert indexes == sorted(indexes)
    kept = {entry.id: entry for entry in sdk.get_history(started.conversation_id).entries[1:]}
    pieces = {event.id: event.type for event in events}
    assert list(pieces) == list(kept)
    for entry_id, entry in kept.items():
        streamed = [event for event in events if event.id == entry_id]
        if entry.type == "function.call":
            assert "".join(event.arguments for event in streamed) == entry.arguments == '{"date": "x"}'
        else:
            assert "".join(event.content for event in streamed) == entry.content == "Hm."
