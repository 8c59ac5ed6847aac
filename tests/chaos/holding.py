"""People who hold conversations while the server dies under them, and remember everything that they were told."""

from __future__ import annotations

import asyncio
import json
import random
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .asking import ASK, TOOLS, Question, question, result_of
from .book import Book
from .calling import Caller, Operation, Stuck
from .story import Answered, Story, comparable, entries_of

LONGEST_TALK = 9


@dataclass
class Talk:
    """A conversation as its holder knows it.

    Attributes:
        told: every entry, in order: bytes where they are known, else what has to be in it.
        runs: the ids of its runs, empty where the holder was not told (JSON).
        stored: the entries as they were read in the end; from then on not a byte may change.
    """

    id: str
    told: list[bytes | dict[str, Any]] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)
    told_failed: list[str] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)

    def take(self, inputs: list[dict[str, Any]], answer: Answered) -> None:
        """Remember what was said and answered."""
        self.told += inputs
        self.told += answer.exact if answer.exact is not None else answer.folded or []
        self.runs.append(answer.run_id)


class Holder:
    """Holds one conversation after another."""

    def __init__(self, name: str, caller: Caller, book: Book, dice: random.Random, over: Callable[[], bool]) -> None:
        """Go on until `over`; `dice` decides what is asked, and how."""
        self._name, self._caller, self._book, self._dice, self._over = name, caller, book, dice, over
        self._asked = 0
        self.talks: list[Talk] = []

    async def hold(self) -> None:
        """Hold conversations until the storm is over; the last one is brought to an end."""
        while not self._over():
            try:
                await self._talk()
            except Stuck:
                self._book.count("conversations given up")
            except Exception:
                # What was answered cannot even be read: a breach like any other, and the storm goes on.
                self._book.blame("events", f"{self._name} was answered nonsense: {traceback.format_exc()}")
                self._book.count("conversations given up")

    async def _talk(self) -> None:
        asked = self._question(may_fail=False)
        body = {"inputs": asked.text, "tools": TOOLS}
        talk = await self._turn(None, "/v1/conversations", body, [_said(asked)], asked.tag)
        for _ in range(self._dice.randint(1, LONGEST_TALK)):
            if self._over() and not talk.open_calls:
                break
            talk = await self._next(talk)
        while talk.open_calls:
            talk = await self._next(talk)

    async def _next(self, talk: _Going) -> _Going:
        if calls := talk.open_calls:
            self._dice.shuffle(calls)
            results = [
                {"type": "function.result", "tool_call_id": id_, "result": result_of(call)} for id_, call in calls
            ]
            return await self._append(talk, results, results, talk.tag)
        if self._dice.random() < 0.12 and (branch := await self._branch(talk)):
            return branch
        asked = self._question(may_fail=True)
        return await self._append(talk, asked.text, [_said(asked)], asked.tag)

    async def _append(self, talk: _Going, inputs: Any, given: list[dict[str, Any]], tag: str) -> _Going:
        return await self._turn(talk, f"/v1/conversations/{talk.talk.id}", {"inputs": inputs}, given, tag)

    async def _branch(self, talk: _Going) -> _Going | None:
        """Restart from some entry, and leave the original as it is."""
        path = f"/v1/conversations/{talk.talk.id}"
        entries = entries_of(await self._caller.get(f"{path}/history"))
        asked = {index: _question_of(entry) for index, entry in enumerate(entries)}
        places = [
            index for index, entry in enumerate(entries)
            if json.loads(entry)["type"] == "message.output" or ((one := asked[index]) and one.is_only_text)
        ]  # fmt: skip
        place = self._dice.choice(places)
        branch = Talk("", told=[*entries[: place + 1]])
        body: dict[str, Any] = {"from_entry_id": json.loads(entries[place])["id"]}
        again, given = asked[place], list[dict[str, Any]]()
        tag = again.tag if again else ""
        if again is None:
            new = self._question(may_fail=False)
            body["inputs"], given, tag = new.text, [_said(new)], new.tag
        return await self._turn(_Going(branch), f"{path}/restart", body, given, tag)

    async def _turn(
        self, going: _Going | None, path: str, body: dict[str, Any], given: list[dict[str, Any]], tag: str
    ) -> _Going:
        operation = Operation(path, body, key=f"{self._name}-{self._asked}-{self._dice.getrandbits(32):x}", tag=tag)
        self._asked += 1
        stream = self._dice.random() < 0.7
        self._caller.told_failed.clear()
        self._book.began(tag)
        try:
            answer = await self._carried_out(operation, stream=stream)
        finally:
            self._book.ended(tag)
        self._book.count("operations acknowledged")
        talk = going.talk if going else Talk("")
        if not talk.id:
            talk.id = answer.conversation_id
            self.talks.append(talk)
        elif talk.id != answer.conversation_id:
            self._book.blame("doubled", f"{tag}: {talk.id} was answered by {answer.conversation_id}")
        talk.take(given, answer)
        talk.told_failed += self._caller.told_failed
        await self._look_back(operation, answer)
        return _Going(talk, tag, _open_calls(answer))

    async def _carried_out(self, operation: Operation, *, stream: bool) -> Answered:
        """Send an operation once, or, as an impatient client does, twice at the same time."""
        if self._dice.random() > 0.1:
            return await self._caller.carry_out(operation, stream=stream)
        self._book.count("operations sent twice at once")
        first, second = await asyncio.gather(
            self._caller.carry_out(operation, stream=stream),
            self._caller.carry_out(operation, stream=self._dice.random() < 0.5),
        )
        self._agree(operation, first, second)
        return first

    async def _look_back(self, operation: Operation, answer: Answered) -> None:
        """Ask for what was answered once more, in the other ways there are."""
        chance = self._dice.random()
        if chance < 0.1:
            self._book.count("answers asked for again")
            again = await self._caller.carry_out(operation, stream=chance < 0.05)
            self._agree(operation, answer, again)
        elif chance < 0.25 and answer.story is not None:
            self._book.count("runs read again from some place")
            length = self._dice.randint(0, len(answer.story.events) - 1)
            story = answer.story.cut(length) if length else Story(answer.conversation_id, answer.run_id)
            again = self._caller.finished(await self._caller.follow(story))
            self._agree(operation, answer, again, f"after {length} of {answer.story}: {story}")

    def _agree(self, operation: Operation, one: Answered, other: Answered, note: str = "") -> None:
        if one.conversation_id != other.conversation_id or (one.run_id and other.run_id and one.run_id != other.run_id):
            self._book.blame("doubled", f"{operation.tag}: {one} and {other}")
        elif one.exact is not None and other.exact is not None:
            if one.exact != other.exact:
                self._book.blame("lost", f"{operation.tag} was answered in two ways: {one} and {other}")
        elif [comparable(entry) for entry in one.outputs] != [comparable(entry) for entry in other.outputs]:
            self._book.blame("events", f"{operation.tag}: {one.outputs} and {other.outputs} {note}")

    def _question(self, *, may_fail: bool) -> Question:
        self._asked += 1
        return question(self._dice, f"{self._name}.{self._asked}", may_fail=may_fail)


@dataclass
class _Going:
    """A conversation, the question that it is at, and the calls that wait for its holder."""

    talk: Talk
    tag: str = ""
    open_calls: list[tuple[str, str]] = field(default_factory=list)


def _said(asked: Question) -> dict[str, Any]:
    return {"type": "message.input", "role": "user", "content": asked.text}


def _open_calls(answer: Answered) -> list[tuple[str, str]]:
    return [
        (entry["tool_call_id"], json.loads(entry["arguments"])["call"])
        for entry in answer.outputs
        if entry["type"] == "function.call" and entry["name"] == ASK
    ]


def _question_of(entry: bytes) -> Question | None:
    parsed = json.loads(entry)
    return Question.read(parsed["content"]) if parsed["type"] == "message.input" else None
