"""The laws of the prompt: it only grows, whoever remembers it, and a history read back is a history to go on from (D7).

That it is valid is seen by the model that plays (`playing.flaws`), each time that it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from .playing import Turn
from .strategies import inputs, results, scripts, words
from .world import Listed, World, answers, call_of, grows, laws, text_of, without_end

Step = tuple[list[Turn], bool, bool]
steps = st.lists(st.tuples(scripts(), st.booleans(), st.booleans()), min_size=1, max_size=4)
"""What each turn of a conversation is: what the model does, whether it streams, whether the server begins anew."""


def heard(prompt: bytes) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Return what a prompt tells: what users said, what the assistant said, what it called."""
    messages = json.loads(prompt)
    users = [_text(message) for message in messages if message["role"] == "user"]
    said = "".join(_text(message) for message in messages if message["role"] == "assistant")
    calls = [call["function"] for message in messages for call in message.get("tool_calls", [])]
    return users, _letters(said), sorted((call["name"], call["arguments"].strip()) for call in calls)


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def told(entries: Sequence[Listed]) -> tuple[list[str], list[str], list[tuple[str, str]]]:
    """Return what entries tell, of all that has only one way to be told."""
    users = [text_of(entry) for entry in entries if entry.get("role") == "user"]
    said = "".join(_spoken(entry) for entry in entries)
    calls = [call_of(entry) for entry in entries if entry["type"] in ("function.call", "tool.execution")]
    return users, _letters(said), sorted((name, _readable(given_).strip()) for name, given_ in calls)


def _letters(said: str) -> list[str]:
    # What stands beside a call may be told before it or after it, and a silent assistant is given a blank.
    return sorted(said.replace(" ", ""))


def _readable(arguments: str) -> str:
    """Return arguments as a model server gets them: always a JSON object."""
    try:
        readable = isinstance(json.loads(arguments or "{}"), dict)
    except ValueError:
        readable = False
    return (
        (arguments or "{}")
        if readable
        else json.dumps({"arguments": arguments}, separators=(",", ":"), ensure_ascii=False)
    )


def _spoken(entry: Listed) -> str:
    if entry["type"] == "agent.handoff":
        return f"[{entry['previous_agent_name']} handed over to {entry['next_agent_name']}.]"
    if entry.get("role") != "assistant":
        return ""
    links = [chunk for chunk in entry["content"] if isinstance(chunk, dict) and chunk["type"] == "tool_reference"]
    return text_of(entry) + "".join(f"[{link['title']}]({link['url']})" for link in links)


@laws(120)
@given(st.none() | words, inputs, steps, results)
def test_the_prompt_only_grows(instructions: str | None, asked: Any, turns: list[Step], found: list[Any]) -> None:
    with World() as world:
        world.toolbox.results = [*found]
        script, stream, _ = turns[0]
        first = world.start({"inputs": asked, "stream": stream, "instructions": instructions}, script)
        prompts = [*first.prompts]
        for number, (script, stream, anew) in enumerate(turns[1:]):
            if anew:
                world.begin_anew()
            body = {"inputs": answers(world.history(first.id)) or f"Go on, {number}.", "stream": stream}
            prompts += world.append(first.id, body, script).prompts
        grows(prompts)


@laws(80)
@given(inputs, scripts(), scripts(), results)
def test_the_prompt_tells_what_history_tells(asked: Any, one: list[Turn], other: list[Turn], found: list[Any]) -> None:
    with World() as world:
        world.toolbox.results = [*found]
        begun = world.start({"inputs": asked}, one)
        world.append(begun.id, {"inputs": answers(begun.outputs) or "Go on."}, other)
        body = {"inputs": answers(world.history(begun.id)) or "And on.", "store": False}
        last = world.append(begun.id, body)
        assert heard(last.prompts[0]) == told([*world.history(begun.id), *_entries(body["inputs"])])


def _entries(asked: Any) -> list[Listed]:
    return [{"type": "message.input", "role": "user", "content": asked}] if isinstance(asked, str) else asked


@laws(120)
@given(st.data(), inputs, scripts(), scripts(), results)
def test_a_restart_asks_what_was_asked(
    data: st.DataObject, asked: Any, one: list[Turn], other: list[Turn], found: list[Any]
) -> None:
    """A branch's prompt is the original's as far as both go, and does not depend on what is in memory."""
    with World() as world:
        world.toolbox.results = [*found]
        begun = world.start({"inputs": asked}, one)
        first_end = len(world.history(begun.id))
        second = world.append(begun.id, {"inputs": answers(begun.outputs) or "Go on."}, other)
        history = world.history(begun.id)
        cut = data.draw(st.integers(1, len(history)), label="cut after")
        kept = history[:cut]
        body = {"from_entry_id": kept[-1]["id"], "inputs": answers(kept) or "Another way."}
        branch = world.restart(begun.id, body, data.draw(scripts(), label="the branch"))
        again = world.restart(begun.id, body)
        assert again.prompts[0] == branch.prompts[0]
        if cut == len(history):
            grows([*second.prompts, *branch.prompts])
        elif cut == first_end:
            grows([*begun.prompts, *branch.prompts])
        warm = world.append(branch.id, {"inputs": answers(world.history(branch.id)) or "On.", "store": False})
        world.begin_anew()
        cold = world.append(branch.id, {"inputs": answers(world.history(branch.id)) or "On.", "store": False})
        grows([*branch.prompts, *warm.prompts])
        assert cold.prompts == warm.prompts


@laws(120)
@given(inputs, scripts(), scripts(), results)
def test_a_history_is_taken_as_inputs_and_reads_the_same(
    asked: Any, one: list[Turn], other: list[Turn], found: list[Any]
) -> None:
    with World() as world:
        world.toolbox.results = [*found]
        begun = world.start({"inputs": asked}, one)
        world.append(begun.id, {"inputs": answers(begun.outputs) or "Go on."}, other)
        history = world.history(begun.id)
        missing = answers(history)
        replayed = world.start({"inputs": history + missing})
        read = world.history(replayed.id)
        assert read[: len(history)] == history
        assert [without_end(entry) for entry in read[len(history) + len(missing) :]] == [
            without_end(entry) for entry in replayed.outputs
        ]
        assert heard(replayed.prompts[0]) == told(history)
