"""A conversation at one head: its prompt, its open calls, what may follow, and what a cut leaves behind (D1, D7)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from causerie.engine import history as history_module
from causerie.engine.admission import complete
from causerie.engine.history import OPEN_CALLS, History, Private, check, outward_id, row, rows
from causerie.engine.prompt import Call, Rendered, assistant_message, prefix_message, tool_message
from causerie.errors import BadRequest, InvalidRequest
from causerie.ids import Clock, Ids
from causerie.stores.base import EntryRow
from causerie.types.base import decode, encode
from causerie.types.entries import (
    AgentHandoffEntry,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)

AT = datetime(2025, 3, 1, 12, 0, 0, 1, UTC)
UPSTREAM = {"callAAAA1": "call_of_another_shape", "callAAAA2": "callAAAA2"}


def user(text: str) -> MessageInputEntry:
    """A message of the user's."""
    return MessageInputEntry(role="user", content=text)


def called(id_: str) -> FunctionCallEntry:
    """A call."""
    return FunctionCallEntry(tool_call_id=id_, name="f", arguments="{}")


def answered(id_: str) -> FunctionResultEntry:
    """The result of a call."""
    return FunctionResultEntry(tool_call_id=id_, result="fine")


SAID = MessageOutputEntry(content="Said.")
RAN = ToolExecutionEntry(name="code_interpreter", arguments="{}")
HANDED = AgentHandoffEntry(previous_agent_id="a", previous_agent_name="A", next_agent_id="b", next_agent_name="B")


def asked(*entries: Entry, of: History | None = None) -> list[EntryRow]:
    """Turn what a caller hands in into rows."""
    return rows(complete(list(entries), Ids(), Clock()), of or History())


def turn(after: int, *entries: Entry, covers: int = 0) -> list[EntryRow]:
    """Rows of a turn of the model's: said and called together, so rendered with the last of them."""
    calls = [one for one in entries if isinstance(one, FunctionCallEntry)]
    text = "".join(str(one.content) for one in entries if isinstance(one, MessageOutputEntry))
    prompt = assistant_message(text, [Call(UPSTREAM[one.tool_call_id], one.name, "{}") for one in calls])
    found = []
    for index, entry in enumerate(complete(list(entries), Ids(), Clock())):
        last = index == len(entries) - 1
        private = Private(upstream_id=UPSTREAM.get(getattr(entry, "tool_call_id", "")))
        found.append(row(entry, after + 1 + index, Rendered(prompt, covers or len(entries)) if last else None, private))
    return found


def messages(history: History) -> list[Any]:
    """Return the chat messages that the model is asked with."""
    body = b",".join(part for part in (history.prompt, *history.tail()) if part)
    found: list[Any] = json.loads(b"[" + body + b"]")
    return found


def in_turn() -> list[EntryRow]:
    """A user's message, a turn that says something and calls twice, and both results."""
    begun = [*asked(user("Go")), *turn(1, SAID, called("callAAAA1"), called("callAAAA2"))]
    history = History().extended(begun)
    return [*begun, *asked(answered("callAAAA2"), answered("callAAAA1"), of=history)]


def test_each_kind_of_row_remembers_what_it_is_looked_up_by() -> None:
    entries = [user("a"), SAID, called("callAAAA1"), answered("callAAAA1"), RAN, HANDED]
    found = asked(*entries)
    assert [(one.position, one.kind, one.tool_call_id) for one in found] == [
        (1, "message.input", None), (2, "message.output", None), (3, "function.call", "callAAAA1"),
        (4, "function.result", "callAAAA1"), (5, "tool.execution", None), (6, "agent.handoff", None),
    ]  # fmt: skip
    for one in found:
        assert json.loads(one.body)["id"] == one.id
        assert decode(one.body, Entry) is not None  # type: ignore[arg-type]


def test_a_group_is_rendered_with_its_last_entry() -> None:
    found = asked(user("a"), SAID, called("callAAAA1"), answered("callAAAA1"))
    assert [one.covers for one in found] == [1, 0, 2, 1]
    assert [one.prompt is None for one in found] == [False, True, False, False]


def test_rows_follow_the_history() -> None:
    history = History().extended(asked(user("a"), SAID))
    assert [one.position for one in asked(user("b"), of=history)] == [3]


def test_an_extended_history_is_a_new_one() -> None:
    empty = History()
    one = empty.extended(asked(user("a")))
    other = one.extended(turn(1, called("callAAAA1")))
    assert (empty.head, one.head, other.head) == (0, 1, 2)
    assert (empty.open, one.open) == ({}, {})
    assert empty.prompt == b""
    assert other.prompt.startswith(one.prompt + b",")
    assert one.extended([]) == one


def test_a_call_is_open_until_its_result_comes() -> None:
    whole = in_turn()
    opened = [History().extended(whole[:upto]).open for upto in range(1, 7)]
    assert opened == [
        {}, {}, {"callAAAA1": "call_of_another_shape"},
        {"callAAAA1": "call_of_another_shape", "callAAAA2": "callAAAA2"},
        {"callAAAA1": "call_of_another_shape"}, {},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("last", "runs"),
    [(user("a"), True), (SAID, False), (RAN, False), (HANDED, False)],
    ids=["user", "said", "ran", "handed over"],
)
def test_whether_there_is_something_to_answer(last: Entry, runs: bool) -> None:
    assert History().extended(asked(user("Go"), last)).can_run is runs
    assert not History().can_run


def test_results_are_something_to_answer_once_all_are_there() -> None:
    whole = in_turn()
    assert [History().extended(whole[:upto]).can_run for upto in range(1, 7)] == [
        True, False, False, False, False, True,
    ]  # fmt: skip


def test_the_prompt_is_what_was_rendered_to_the_byte() -> None:
    whole = in_turn()
    history = History().extended(whole)
    assert history.prompt == b",".join(one.prompt for one in whole if one.prompt)
    assert history.tail() == []
    assert [message["role"] for message in messages(history)] == ["user", "assistant", "tool", "tool"]


@pytest.mark.parametrize("upto", range(1, 7))
@pytest.mark.parametrize("step", [1, 2, 6])
def test_how_a_history_is_read_makes_no_difference(upto: int, step: int) -> None:
    whole = in_turn()[:upto]
    at_once, bit_by_bit = History().extended(whole), History()
    for start in range(0, upto, step):
        bit_by_bit = bit_by_bit.extended(whole[start : start + step])
    assert bit_by_bit == at_once
    assert messages(bit_by_bit) == messages(at_once)


def test_a_group_that_a_cut_went_through_is_rendered_anew() -> None:
    cut = History().extended(in_turn()[:3])
    assert [one.kind for one in cut.loose] == ["message.output", "function.call"]
    _, said = messages(cut)
    assert said["content"] == "Said."
    assert [call["id"] for call in said["tool_calls"]] == ["call_of_another_shape"]


@pytest.mark.parametrize("afterwards", [False, True], ids=["as it happens", "read later"])
def test_what_follows_a_cut_finds_the_same_ids(afterwards: bool) -> None:
    cut = History().extended(in_turn()[:3])
    result = asked(answered("callAAAA1"), of=cut)
    more = cut.extended(result)
    if afterwards:
        more = History().extended([*in_turn()[:3], *result])
    asks, answers = messages(more)[1:]
    assert answers["tool_call_id"] == asks["tool_calls"][0]["id"] == "call_of_another_shape"
    assert more.loose == ()
    assert more.prompt.startswith(b",".join([cut.prompt, *cut.tail()]))


def test_an_id_may_come_again_after_its_call_was_answered() -> None:
    once = History().extended(asked(called("callAAAA1"), answered("callAAAA1")))
    check([called("callAAAA1"), answered("callAAAA1")], once)
    again = once.extended(turn(2, called("callAAAA1")))
    assert again.open == {"callAAAA1": "call_of_another_shape"}


def test_a_prefix_waits_for_its_answer() -> None:
    begin = MessageInputEntry(role="assistant", content="So", prefix=True)
    given = asked(user("Go"), begin)
    assert given[1].prompt is None
    history = History().extended(given)
    assert history.prefix == "So"
    assert history.tail() == [prefix_message("So")]
    assert history.can_run

    after = history.extended(turn(2, MessageOutputEntry(content="So be it."), covers=2))
    assert after.prefix is None
    assert [message["content"] for message in messages(after)] == ["Go", "So be it."]


def test_a_prefix_that_is_not_last_is_a_message_like_any_other() -> None:
    begin = MessageInputEntry(role="assistant", content="So", prefix=True)
    history = History().extended(asked(begin, user("Go")))
    assert history.prefix is None
    assert messages(history) == [{"role": "assistant", "content": "So"}, {"role": "user", "content": "Go"}]


def test_a_prefix_that_was_left_unanswered_is_what_the_assistant_said() -> None:
    begin = MessageInputEntry(role="assistant", content="So", prefix=True)
    history = History().extended(asked(user("Go"), begin))
    after = history.extended(asked(user("Well?"), of=history))
    assert after.prefix is None
    assert [message["content"] for message in messages(after)] == ["Go", "So", "Well?"]


def test_a_cut_inside_of_the_answer_to_a_prefix_says_the_beginning_once() -> None:
    begin = MessageInputEntry(role="assistant", content="So", prefix=True)
    whole = [
        *asked(user("Go"), begin),
        *turn(2, MessageOutputEntry(content="So be it."), called("callAAAA1"), covers=3),
    ]
    cut = History().extended(whole[:3])
    assert [message["content"] for message in messages(cut)] == ["Go", "So be it."]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [user("a")],
        [user("a"), SAID, user("b")],
        [called("callAAAA1"), answered("callAAAA1")],
        [called("callAAAA1"), SAID, RAN, HANDED, called("callAAAA2"), answered("callAAAA2"), answered("callAAAA1")],
        [called("callAAAA1"), answered("callAAAA1"), called("callAAAA1"), answered("callAAAA1"), user("a")],
        [SAID, RAN, HANDED],
    ],
)
def test_what_is_whole_may_come(entries: list[Entry]) -> None:
    check(entries, History())


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ([called("callAAAA1")], "callAAAA1"),
        ([called("callAAAA1"), user("a"), answered("callAAAA1")], "callAAAA1"),
        ([called("callAAAA1"), called("callAAAA2"), answered("callAAAA2")], "callAAAA1"),
        ([called("callAAAA1"), called("callAAAA2"), answered("callAAAA1"), SAID, answered("callAAAA2")], "callAAAA2"),
        ([called("callAAAA1"), called("callAAAA2"), answered("callAAAA1"), called("callAAAA3")], "callAAAA2"),
    ],
)
def test_a_call_without_its_result_is_refused(entries: list[Entry], named: str) -> None:
    with pytest.raises(BadRequest, match=f"{OPEN_CALLS}.*{named}"):
        check(entries, History())


@pytest.mark.parametrize(
    ("entries", "index", "said"),
    [
        ([answered("callAAAA1")], 0, "none is open"),
        ([called("callAAAA1"), answered("callAAAA2")], 1, "open are: callAAAA1"),
        ([called("callAAAA1"), answered("callAAAA1"), answered("callAAAA1")], 2, "none is open"),
        ([called("callAAAA1"), called("callAAAA1")], 1, "open already"),
    ],
)
def test_a_result_or_call_that_does_not_fit_is_pointed_at(entries: list[Entry], index: int, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refusal:
        check(entries, History())
    assert refusal.value.loc == ("body", "inputs", index, "tool_call_id")


def test_open_calls_take_nothing_but_their_results() -> None:
    history = History().extended(turn(1, called("callAAAA1"), called("callAAAA2")))
    check([answered("callAAAA2"), answered("callAAAA1"), user("a")], history)
    for entry in (user("a"), SAID, RAN, HANDED, called("callAAAA3")):
        with pytest.raises(BadRequest, match=OPEN_CALLS):
            check([entry, answered("callAAAA1"), answered("callAAAA2")], history)
    with pytest.raises(BadRequest, match="callAAAA2"):
        check([answered("callAAAA1")], history)


@pytest.mark.parametrize(
    ("given", "taken", "expected"),
    [
        ("callAAAA1", set(), "callAAAA1"),
        ("callAAAA1", {"callAAAA1"}, None),
        ("call_of_another_shape", set(), None),
        ("", set(), None),
        (None, set(), None),
    ],
)
def test_an_id_goes_outwards_if_it_can(given: str | None, taken: set[str], expected: str | None) -> None:
    assert outward_id(given, taken) == expected


def test_what_only_the_engine_needs_is_written_only_where_there_is_something() -> None:
    entry = complete([user("a")], Ids(), Clock())[0]
    assert row(entry, 1, None).private is None
    assert row(entry, 1, None, Private()).private is None
    private = row(entry, 1, None, Private(upstream_id="x")).private
    assert private == encode({"upstream_id": "x"})
    assert history_module.decode(private, Private).upstream_id == "x"
    assert tool_message("x", "y") == b'{"role":"tool","tool_call_id":"x","content":"y"}'


def handed(position: int, to: str = "b", *, ours: bool = True) -> EntryRow:
    """The row of a handoff: one that the server made, or one that a caller told of."""
    entry = AgentHandoffEntry(
        id=f"handoff_{position}", created_at=AT, completed_at=AT, previous_agent_id="a", previous_agent_name="A",
        next_agent_id=to, next_agent_name=to.upper(),
    )  # fmt: skip
    said = assistant_message("", [Call("call_1", "handoff_to_b", "{}")]) + b"," + tool_message("call_1", "Done.")
    return row(entry, position, Rendered(said, 1), Private(epoch=0, event=1, output_index=0) if ours else None)


def test_the_last_handoff_of_the_servers_says_who_acts() -> None:
    begun = History().extended(asked(user("Go")))
    assert (begun.agent, begun.handoff) == (None, None)
    once = begun.extended([handed(2)])
    assert once.agent == "b"
    assert once.handoff is not None
    assert once.handoff.id == "handoff_2"
    assert once.can_run
    twice = once.extended([handed(3, "c")])
    assert twice.agent == "c"
    on = twice.extended(asked(user("On"), of=twice))
    assert (on.agent, on.handoff) == ("c", None)
    assert on.extended([handed(5, "d", ours=False)]).agent == "c", "what a caller tells of is text"
    assert begun.agent is None, "nothing that was there has changed"


def test_a_handoff_that_a_caller_tells_of_hands_over_nothing() -> None:
    told = History().extended(asked(user("Go"), HANDED))
    assert (told.agent, told.handoff, told.can_run) == (None, None, False)


@pytest.mark.parametrize(
    ("before", "roles"),
    [
        ([handed(2)], ["user", "assistant", "tool", "assistant", "user", "user"]),
        (asked(HANDED, of=History(head=1)), ["user", "assistant", "user", "user"]),
        (asked(RAN, of=History(head=1)), ["user", "assistant", "tool", "assistant", "user", "user"]),
        ([], ["user", "user", "user"]),
    ],
    ids=["handoff", "told handoff", "execution", "nothing"],
)
def test_a_user_never_speaks_right_after_a_result(before: list[EntryRow], roles: list[str]) -> None:
    history = History().extended([*asked(user("Go")), *before])
    more = history.extended(asked(user("On"), user("And on"), of=history))
    assert [message["role"] for message in json.loads(b"[" + more.prompt + b"]")] == roles
    assert more.prompt.startswith(history.prompt + b",")
