"""What laws are tried on: turns of a model as they may come over the wire, and inputs of a caller."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from causerie.errors import RateLimited, UpstreamError, UpstreamTimeout
from causerie.tools.base import ToolResult
from causerie.upstreams.base import CallDelta, Delta, FinishDelta, ReasoningDelta, TextDelta, UsageDelta

from .playing import ASKING, FUNCTIONS, SERVED, Called, Turn

Draw = st.DrawFn

words = st.text(
    st.sampled_from([*'ab \n"\\{}', "é", "\u2028", "\U0001f600", "\u0000"]), min_size=1, max_size=6
)  # fmt: skip
arguments = st.sampled_from(
    ["", "{}", '{"date": "2024-06-06"}', '{"a": [1, {"b": "}"}], "é": ""}', '{"open": ', '{"a": 1}\n', "null", "7"]
)
upstream_ids = st.sampled_from(["callAAAA1", "callAAAA2", "call_of_another_shape", "0", ""])
errors = st.sampled_from([UpstreamError("Broken."), UpstreamTimeout("Silent."), RateLimited("Too much.")])
results = st.lists(
    st.builds(
        ToolResult, output=words, info=st.sampled_from([{}, {"result": [{"type": "text", "text": "42"}]}]),
        tokens=st.none() | st.integers(0, 5), error=st.none() | words,
    ),
    max_size=3,
)  # fmt: skip


@st.composite
def cut(draw: Draw, text: str) -> list[str]:
    """Cut a text into pieces."""
    if not text:
        return []
    places = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=2))) if len(text) > 1 else []
    return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]


@st.composite
def call_pieces(draw: Draw, index: int, called: Called) -> list[Delta]:
    """One call: its id and name in one piece or in two, with or without the first of its arguments."""
    pieces = draw(cut(called.arguments))
    first = pieces.pop(0) if pieces and draw(st.booleans()) else ""
    whole = CallDelta(index, called.id or None, called.name, first)
    head: list[Delta] = [whole]
    if not first and draw(st.booleans()):
        head = [CallDelta(index, called.id or None), CallDelta(index, None, called.name)]
    return [*head, *(CallDelta(index, arguments=piece) for piece in pieces)]


@st.composite
def merged(draw: Draw, lanes: list[list[Delta]]) -> list[Delta]:
    """Merge lanes, each in its own order, as a model server may interleave them."""
    lanes, found = [list(lane) for lane in lanes if lane], list[Delta]()
    while lanes:
        lane = lanes[draw(st.integers(0, len(lanes) - 1))]
        found.append(lane.pop(0))
        lanes = [one for one in lanes if one]
    return found


@st.composite
def batched(draw: Draw, deltas: list[Delta]) -> tuple[tuple[Delta, ...], ...]:
    """Put deltas together as reads of a connection would bring them, empty reads included."""
    found: list[list[Delta]] = [[]]
    for delta in deltas:
        if draw(st.booleans()):
            found.append([])
        found[-1].append(delta)
    return tuple(tuple(batch) for batch in found)


@st.composite
def turns(draw: Draw, *, names: tuple[str, ...] = (*FUNCTIONS, *SERVED), fails: bool = False) -> Turn:
    """One turn of a model: text, reasoning, calls, in any order and any pieces."""
    calls = draw(st.lists(st.builds(Called, upstream_ids, st.sampled_from(names), arguments), max_size=3))
    text = "".join(draw(st.lists(words, max_size=2)))
    reasoning = draw(st.sampled_from(["", "", "Hm.", "So\nbe it"]))
    where = draw(st.sampled_from(["reasoning_content", "reasoning", "content"]))
    thoughts: list[Delta] = [ReasoningDelta(piece, field=where) for piece in draw(cut(reasoning))]
    if thoughts and where == "content" and draw(st.booleans()):
        thoughts.append(ReasoningDelta("", field="content", signature="signed"))
    said: list[Delta] = [TextDelta(piece) for piece in draw(cut(text))]
    asked = [draw(call_pieces(index, called)) for index, called in enumerate(calls)]
    if draw(st.booleans()):  # one after the other, as most do
        deltas = [*thoughts, *said, *(delta for lane in asked for delta in lane)]
    else:
        deltas = draw(merged([thoughts, said, *asked]))
    if draw(st.booleans()):
        deltas += [FinishDelta("tool_calls" if calls else "stop"), UsageDelta(draw(st.integers(0, 9)), 2)]
    batches = draw(batched(deltas))
    if fails:
        batches = batches[: draw(st.integers(0, len(batches)))]
        return Turn(batches=batches, error=draw(errors))
    return Turn(batches=batches, text=text, reasoning=reasoning, calls=tuple(calls))


@st.composite
def scripts(draw: Draw, *, fails: bool = False, asks: bool = False) -> list[Turn]:
    """What a run's model calls come to: turns that only call the server's tools, then one of any kind.

    Args:
        asks: whether the last may call for what the caller has to allow.
    """
    between = draw(st.lists(turns(names=SERVED).filter(lambda turn: turn.goes_on), max_size=2))
    names = (*FUNCTIONS, *SERVED, *(ASKING * 2 if asks else ()))
    return [*between, draw(turns(names=names, fails=fails))]


def user(content: str) -> dict[str, Any]:
    """Return a message of the user's."""
    return {"type": "message.input", "role": "user", "content": content}


@st.composite
def answered_calls(draw: Draw) -> list[dict[str, Any]]:
    """A group from elsewhere: a message or none, calls, perhaps what else that turn did, and all their results."""
    ids = draw(
        st.lists(st.sampled_from(["callBBBB1", "callBBBB2", "odd id", "c"]), min_size=1, max_size=3, unique=True)
    )
    group: list[dict[str, Any]] = [
        {"type": "function.call", "tool_call_id": id_, "name": "get_rate", "arguments": draw(arguments)} for id_ in ids
    ]
    beside = draw(st.lists(st.sampled_from([said("Beside."), executed("2+2"), handed_over()]), max_size=2))
    for entry in beside:
        group.insert(draw(st.integers(0, len(group))), entry)
    answers = [
        {"type": "function.result", "tool_call_id": id_, "result": draw(words)} for id_ in draw(st.permutations(ids))
    ]
    return [*group, *answers]


def said(text: str) -> dict[str, Any]:
    """Return what a model said elsewhere."""
    return {"type": "message.output", "content": text, "model": "another"}


def executed(arguments_: str) -> dict[str, Any]:
    """Return what a server ran elsewhere."""
    result = {"result": [{"type": "text", "text": "4"}]}
    return {"type": "tool.execution", "name": "code_interpreter", "arguments": arguments_, "info": result}


def handed_over() -> dict[str, Any]:
    """Return a handoff that was made elsewhere."""
    names = {"previous_agent_name": "Ann", "next_agent_name": "Bob"}
    return {"type": "agent.handoff", "previous_agent_id": "ag_1", "next_agent_id": "ag_2", **names}


thought = {
    "type": "message.output",
    "content": [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "closed": True, "signature": "signed"},
        {"type": "text", "text": "So."},
        {"type": "tool_reference", "tool": "web_search", "title": "A page", "url": "http://127.0.0.1/"},
    ],
}
"""A message of chunks."""


@st.composite
def foreign(draw: Draw) -> list[dict[str, Any]]:
    """Inputs that are whole in themselves and end with something that a model can answer."""
    single = st.sampled_from([said("Before."), executed("1"), handed_over(), thought, user("First.")]).map(
        lambda e: [e]
    )
    parts = draw(st.lists(single | answered_calls(), max_size=3))
    return [entry for part in [*parts, [user(draw(words))]] for entry in part]


inputs: st.SearchStrategy[Any] = words | foreign()
"""Inputs of a caller who has no call to answer."""
