"""Words on calls as a naive observer keeps account of them: what was said, and what has to have come of each call.

It goes through the runs of a conversation one by one and copies. Of the engine it knows what each run was begun with
and how it ended; everything else is read off the history.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from causerie.engine.conversation import ConversationSettings
from causerie.engine.plan import Request
from causerie.stores.base import BEYOND, RunRow
from causerie.types.base import decode
from causerie.types.completion import CompletionArgs

from .living import PEEK, SEND
from .world import open_calls, without_end

Listed = dict[str, Any]
LEAVE, ALLOW, DENY = "leave", "allow", "deny"


class Fate(NamedTuple):
    """What has come of a call, and from which cut on a branch sees it."""

    status: str
    position: int


@dataclass
class Spoken:
    """A request: which calls it allows and denies, by their entries, and what the branch that it makes was told."""

    words: dict[str, bool] = field(default_factory=dict)
    queries: dict[str, str] = field(default_factory=dict)
    base: dict[str, Fate] = field(default_factory=dict)

    @property
    def makers(self) -> list[str]:
        """The tokens of the requests whose runs made the calls: by those the tools go on."""
        return sorted({query.partition(".")[0] for query in self.queries.values()})

    def allows(self, query: str) -> bool:
        """Whether it allows the call with that query."""
        return any(self.queries[entry] == query for entry, allow in self.words.items() if allow)


class Taken(NamedTuple):
    """A run: the token of its request, how it ended, where its outputs begin, and where the next run began."""

    id: str
    token: str
    state: str
    head: int
    place: int
    end: int = BEYOND


def in_order(runs: Sequence[Taken]) -> list[Taken]:
    """Return runs, oldest first, each with its end; what failed left nothing between the others."""
    found, end = list[Taken](), BEYOND
    for run in reversed(runs):
        found.append(run._replace(end=end))
        end = end if run.state == "failed" else run.head
    return found[::-1]


def taken(row: RunRow, settings: ConversationSettings | None = None) -> Taken:
    """Read a run; what a start was asked stands in the settings of its conversation."""
    request = decode(row.request, Request)
    args = request.args or (settings and settings.completion_args) or CompletionArgs()
    return Taken(row.id, f"t{args.random_seed}", row.state, row.head, row.head + request.inputs)


def query_of(call: Listed) -> str:
    """Return what a call asks for, which no other call does."""
    return str(json.loads(call["arguments"])["query"])


def said(calls: Sequence[Listed], choices: Sequence[str]) -> list[Listed]:
    """Return a word for each call that is not left waiting."""
    chosen = [(call, choices[index % len(choices)]) for index, call in enumerate(calls)]
    return [
        {"tool_call_id": call["tool_call_id"], "confirmation": word} for call, word in chosen if word in (ALLOW, DENY)
    ]


def spoken(calls: Sequence[Listed], words: Sequence[Listed]) -> Spoken:
    """Return what words say of calls that wait."""
    found, by_id = Spoken(), {call["tool_call_id"]: call for call in calls}
    for word in words:
        call = by_id[word["tool_call_id"]]
        found.words[call["id"]] = word["confirmation"] == ALLOW
        found.queries[call["id"]] = query_of(call)
    return found


class Account:
    """What has come of the calls of one conversation, run by run, oldest first.

    Attributes:
        fates: of each call that was settled.
        failed: the calls that were allowed to runs that failed: they may have been made.
        tried: those, and the ones that were allowed to runs that were cancelled before they made them.
    """

    def __init__(self, history: Sequence[Listed], base: Mapping[str, Fate]) -> None:
        """Begin with what a branch was told by those that it stands on."""
        self.fates, self._base = dict(base), frozenset(base)
        self.failed, self.tried = set[str](), set[str]()
        self._history = history

    def take(self, run: Taken, ask: Spoken) -> None:
        """Say what has to have come of the words that a run was begun with."""
        number = run.place
        calls = [entry for entry in self._history[: run.head] if entry["id"] in ask.words]
        assert len(calls) == len(ask.words), "a run was begun with words on calls that are not there"
        for call in calls:
            entry, allowed = call["id"], ask.words[call["id"]]
            assert entry not in self.fates, f"a word that comes too late was taken: {call}"
            if run.state == "failed":
                if allowed:
                    self.failed.add(entry)
                    self.tried.add(entry)
                continue
            # What an earlier run has made, or may have, is not taken back by a denial.
            late = entry in self.tried and call["confirmation_status"] == "allowed"
            if not (allowed or late):
                self.fates[entry] = Fate("denied", run.place + 1)
            elif run.state == "done" or (number < run.end and self._executed(number, call)):
                number += 1
                self.fates[entry] = Fate("allowed", number)
            else:
                self.tried.add(entry)

    def told(self, run: Taken, told: Sequence[Listed]) -> int:
        """See that what a run told is what is there, and then what still waits; return where its outputs end."""
        before = {entry["id"] for entry in self._history[: run.place]}
        own = [entry for entry in told if entry["id"] not in before]
        end = run.place + len(own)
        left = open_calls(self.now(run.place)) if run.state == "done" else []
        assert told == [_told(entry) for entry in [*self._history[run.place : end], *left]]
        return end

    def seen(self, cut: int) -> list[Listed]:
        """Return the beginning of the history as a branch sees it that is cut there."""
        return [self._seen(entry, cut) for entry in self._history[:cut]]

    def now(self, upto: int) -> list[Listed]:
        """Return the beginning of the history as it is shown when all was said that was taken."""
        return [self._seen(entry, BEYOND) for entry in self._history[:upto]]

    def check(self, made: Mapping[str, int]) -> None:
        """See that history shows what has to have come of each call, and `made` says how often it was."""
        assert list(self._history) == self.now(len(self._history))
        for call in self._history:
            if call["type"] != "function.call" or call["name"] not in (SEND, PEEK):
                continue
            status, times = call["confirmation_status"], made.get(query_of(call), 0)
            assert times <= 1 or call["name"] == PEEK, f"made {times} times: {call}"
            if status == "denied":
                assert not times, f"made, and shown as denied: {call}"
            elif status == "pending":
                tried = self.tried if call["name"] == PEEK else self.failed
                assert not times or call["id"] in tried, f"made, and it waits again: {call}"
            else:
                place = self.fates[call["id"]].position - 1
                assert self._executed(place, call)
                here = call["id"] not in self._base and self._history[place]["info"]
                assert times or not here, f"not made, and shown as done: {call}"

    def _executed(self, index: int, call: Listed) -> bool:
        one = self._history[index] if index < len(self._history) else {}
        return (one.get("type"), one.get("function")) == ("tool.execution", call["name"]) and (
            one["arguments"] == call["arguments"]
        )

    def _seen(self, entry: Listed, cut: int) -> Listed:
        if not entry.get("confirmation_status"):
            return entry
        fate = self.fates.get(entry["id"])
        return entry | {"confirmation_status": fate.status if fate and fate.position <= cut else "pending"}


def _told(entry: Listed) -> Listed:
    """Return an entry as the run told it that made it."""
    return without_end(entry | ({"confirmation_status": "pending"} if entry.get("confirmation_status") else {}))
