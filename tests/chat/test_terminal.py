"""A conversation at a terminal: what is seen, what is typed, and what reaches the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.replies import Reasoning, Text, call
from tests.support.samples import GET_RATE, GET_TIME
from tests.support.scripted import Script
from tests.support.terminal import CTRL_C, CTRL_D, Terminal

from .conftest import PROMPT, Stored, Talk

ID = r"conv_[0-9a-f]{32}"


def said(model: Script) -> Sequence[tuple[str, Any]]:
    """Return who said what, as the model was told the last time."""
    return [(message["role"], message["content"]) for message in model.last.messages]


def exchange(terminal: Terminal, text: str, answer: str) -> None:
    """Say something, see the answer, and be asked again."""
    terminal.types(text)
    terminal.sees(answer)
    terminal.sees("tokens in")
    terminal.sees(PROMPT)


def test_an_answer_is_seen_while_it_is_written(talk: Talk, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Text("Rivers\n\n1. The **Seine**\n"), gate, Text("2. The *Loire*\n\n```python\nprint(1)\n```\n"))
        chat = talk("--instructions", "Be brief.")
        chat.sees("/help")
        chat.sees(PROMPT)
        chat.types("Name two rivers.")
        chat.sees("Rivers")
        chat.sees("The Seine")
        gate.open()
        chat.sees("The Loire")
        chat.sees(r"print\(1\)")
        chat.sees(rf"16 tokens in, 3 out, {ID}")
        chat.sees(PROMPT)
        chat.presses(CTRL_D)
        assert chat.leaves() == 0
    assert said(model) == [("system", "Be brief."), ("user", "Name two rivers.")]
    assert "**" not in chat.text
    assert chat.raw.endswith("\n")


def test_blocks_that_are_whole_are_printed_once(talk: Talk, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Text("First.\n\nSecond."), gate, Text("\n\nThird."))
        chat = talk()
        chat.sees(PROMPT)
        chat.types("Go.")
        chat.sees("Second.")
        gate.open()
        chat.sees("Third.")
        chat.sees("tokens in")
    assert chat.text.count("First.") == 1
    assert re.search(r"First\..*Second\..*Third\.", chat.text, re.DOTALL)


def test_thinking_is_dim_and_a_call_is_a_line(talk: Talk, model: Script, stored: Stored) -> None:
    conversation = stored(inputs="Hello.", tools=[GET_RATE, GET_TIME])
    model.reply(
        Reasoning("Let me see"), Reasoning(" the rate."), *call("get_rate", {"date": "2024"}, call_id="callAAAA1")
    )
    chat = talk("--conversation", conversation)
    chat.sees("2 entries so far")
    chat.sees("Hello.")
    chat.sees(PROMPT)
    chat.types("Which rate?")
    chat.sees("Let me see the rate.")
    chat.sees(r'● get_rate\(\{"date": "2024"\}\)')
    chat.sees(r'result of get_rate\(\{"date": "2024"\}\): ')
    chat.types("2.5%")
    chat.sees("Answer 3")
    assert "\x1b[2;3mLet me see the rate." in chat.raw
    assert model.last.messages[-1] == {"role": "tool", "tool_call_id": "callAAAA1", "content": "2.5%"}


def test_calls_can_be_left_open_and_answered_later(talk: Talk, model: Script, stored: Stored) -> None:
    model.calls(("get_rate", {"date": "2024"}), ("get_time", {}))
    conversation = stored(inputs="Which?", tools=[GET_RATE, GET_TIME])
    chat = talk("--conversation", conversation)
    chat.sees(r"result of get_rate.*: ")
    chat.types("one")
    chat.sees(r"result of get_time.*: ")
    chat.presses(CTRL_C)
    chat.sees("left open")
    chat.sees(PROMPT)
    chat.types("Never mind.")
    chat.sees("error: Not the same number of function calls")
    chat.sees(PROMPT)
    chat.types("/results")
    for result in ("one", "two"):
        chat.sees("result of .*: ")
        chat.types(result)
    chat.sees("Answer 2")
    assert [message["content"] for message in model.last.messages[-2:]] == ["one", "two"]


def test_a_stored_conversation_goes_on(talk: Talk, model: Script, stored: Stored) -> None:
    conversation = stored(inputs="One", instructions="Be brief.")
    chat = talk("--conversation", conversation)
    chat.sees(rf"{conversation}, with {model.name}, 2 entries so far")
    chat.sees("1 +you +One")
    chat.sees(rf"2 +{model.name} +Answer 1")
    exchange(chat, "Two", "Answer 2")
    chat.types("/quit")
    assert chat.leaves() == 0
    assert said(model) == [("system", "Be brief."), ("user", "One"), ("assistant", "Answer 1"), ("user", "Two")]


def test_conversations_are_listed_and_opened(talk: Talk, model: Script) -> None:
    first = talk()
    first.sees(PROMPT)
    exchange(first, "Where does the Seine begin, and where does it end?", "Answer 1")
    exchange(first, "/new And the Loire?", "Answer 2")
    first.types("/list")
    first.sees(rf"1 +{ID} .* {model.name} +And the Loire\?")
    first.sees(rf"2 +{ID} .* {model.name} +Where does the Seine")
    first.types("/open 2")
    first.sees("2 entries so far")
    first.sees(PROMPT)
    exchange(first, "Thanks.", "Answer 3")
    assert [content for _, content in said(model)][1:] == ["Answer 1", "Thanks."]
    first.types("/open 99")
    first.sees("error: There is no number '99': conversations go from 1 to")


def test_a_conversation_branches_after_an_entry_or_instead_of_it(talk: Talk, model: Script) -> None:
    chat = talk()
    chat.sees(PROMPT)
    exchange(chat, "One", "Answer 1")
    exchange(chat, "Two", "Answer 2")
    chat.types("/restart")
    chat.sees("3 +you +Two")
    chat.sees("branch at which entry")
    chat.types("2")
    chat.sees("and say .*: ")
    chat.types("Three")
    chat.sees("Answer 3")
    chat.sees(ID)
    chat.sees(PROMPT)
    assert said(model) == [("user", "One"), ("assistant", "Answer 1"), ("user", "Three")]
    exchange(chat, "/restart 3 Drei", "Answer 4")
    assert said(model) == [("user", "One"), ("assistant", "Answer 1"), ("user", "Drei")]
    exchange(chat, "/restart 2", "Answer 5")
    assert said(model) == [("user", "One")]
    exchange(chat, "/restart 1 Uno", "Answer 6")
    assert said(model) == [("user", "Uno")]
    chat.types("/restart 7")
    chat.sees("error: There is no number '7': entries go from 1 to 2")


@pytest.mark.parametrize("key", [CTRL_C, CTRL_D])
def test_a_branch_can_be_thought_better_of(talk: Talk, model: Script, key: str) -> None:
    chat = talk()
    chat.sees(PROMPT)
    exchange(chat, "One", "Answer 1")
    chat.types("/restart")
    chat.sees("branch at which entry")
    chat.presses(key)
    chat.sees("no branch; the conversation is where it was")
    chat.sees(PROMPT)
    exchange(chat, "Two", "Answer 2")
    assert said(model)[0] == ("user", "One")


def test_an_answer_is_tried_again(talk: Talk, model: Script) -> None:
    chat = talk()
    chat.sees(PROMPT)
    exchange(chat, "One", "Answer 1")
    exchange(chat, "/retry", "Answer 2")
    assert said(model) == [("user", "One")]
    chat.types("/history")
    chat.sees(r"1 +you +One")
    chat.sees("2 .* Answer 2")


def test_after_an_error_the_same_is_asked_once_more(talk: Talk, model: Script) -> None:
    chat = talk()
    chat.sees(PROMPT)
    exchange(chat, "One", "Answer 1")
    model.fail(503, "warming up")
    chat.types("Two")
    chat.sees(r"error: .*warming up")
    chat.sees(PROMPT)
    exchange(chat, "/retry", "Answer 3")
    assert said(model) == [("user", "One"), ("assistant", "Answer 1"), ("user", "Two")]


def test_ctrl_c_ends_the_answer_and_keeps_what_was_said(talk: Talk, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Text("Seven is"), gate, Text(" a prime."))
        chat = talk()
        chat.sees(PROMPT)
        chat.types("What is seven?")
        chat.sees("Seven is")
        chat.presses(CTRL_C)
        chat.sees("cancelled; what was said is kept")
        chat.sees(PROMPT)
        assert model.last.abandoned.wait(10)
    exchange(chat, "Go on.", "Answer 2")
    assert said(model) == [("user", "What is seven?"), ("assistant", "Seven is"), ("user", "Go on.")]
    chat.presses(CTRL_C)
    chat.sees("Ctrl-C once more")
    chat.sees(PROMPT)
    chat.presses(CTRL_C)
    assert chat.leaves() == 0


def test_ctrl_c_before_the_first_word(talk: Talk, model: Script) -> None:
    with model.gate() as gate:
        model.say("Never.", before=gate)
        chat = talk()
        chat.sees(PROMPT)
        chat.types("One")
        gate.wait_reached()
        chat.presses(CTRL_C)
        chat.sees("cancelled")
        chat.sees(PROMPT)
    exchange(chat, "Two", "Answer 2")
    assert said(model)[-1] == ("user", "Two")


def test_a_model_cannot_command_the_terminal(talk: Talk, model: Script) -> None:
    model.say("a\x1b]0;owned\x07b\x1b[2Jc")
    chat = talk()
    chat.sees(PROMPT)
    chat.types("Hello.")
    chat.sees(r"a\]0;ownedb\[2Jc")
    assert "\x1b]0;" not in chat.raw
    assert "\x1b[2J" not in chat.raw


def test_several_lines_are_one_message_and_slashes_can_be_said(talk: Talk, model: Script) -> None:
    chat = talk()
    chat.sees(PROMPT)
    chat.types("One\\")
    chat.sees("… ")
    exchange(chat, "two", "Answer 1")
    assert said(model) == [("user", "One\ntwo")]
    exchange(chat, "//etc is a directory", "Answer 2")
    assert said(model)[-1] == ("user", "/etc is a directory")
    chat.types("/etc")
    chat.sees(r"error: There is no /etc; /help lists what there is\. To say it, write //etc\.")
    chat.sees(PROMPT)
    chat.types("/help")
    chat.sees("/restart")
    chat.sees("Ctrl-C")


@pytest.mark.parametrize("where", ["over HTTP"], indirect=True)
def test_a_server_that_is_not_there_is_an_error_and_no_end(talk: Talk) -> None:
    chat = talk("--url", "http://127.0.0.1:9")
    chat.sees(PROMPT)
    chat.types("Hello?")
    chat.sees("error: POST http://127.0.0.1:9/v1/conversations was not answered")
    chat.sees(PROMPT)
    chat.presses(CTRL_D)
    assert chat.leaves() == 0
    assert "Traceback" not in chat.text


def test_without_colours_where_none_are_wanted(talk: Talk, model: Script) -> None:
    model.say("Some `code` and **weight**.")
    chat = talk(NO_COLOR="1")
    chat.sees(PROMPT)
    chat.types("/nothing")
    chat.sees("error")
    chat.sees(PROMPT)
    exchange(chat, "Hello.", "Some code")
    assert re.findall(r"\x1b\[(?:[0-9;]*;)?(?:3[0-8]|4[0-8]|9[0-7])(?:;[0-9;]*)?m", chat.raw) == []


def test_a_simple_terminal_gets_lines(talk: Talk, model: Script) -> None:
    model.say("Some ", "**weight**.")
    chat = talk(TERM="dumb")
    chat.sees(PROMPT)
    exchange(chat, "Hello.", r"Some \*\*weight\*\*\.")
    assert "\x1b[3" not in chat.raw
    assert "\x1b[?25l" not in chat.raw
