"""Any sequence of operations reads the same as a naive model that copies lists: the law of the log (D1, D2, D6).

The naive model keeps for each conversation a list of entries. A start makes one, an append extends one, a restart
copies the beginning of one, a delete drops one; a failed run, a refused request and ``store=false`` change nothing.
A word on a call changes it from the place of what came of it on: a beginning that is cut before has it as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from causerie.errors import APIError, BadRequest, InvalidRequest, NotFound

from .playing import Turn
from .strategies import inputs, results, scripts, user, words
from .world import Listed, Told, World, answers, asking, grows, laws, open_calls

streams = st.booleans()
kept_or_not = st.sampled_from([None, True, False])


def confirmation(call: Listed, *, allow: bool = True) -> Listed:
    """Return a word on a call."""
    return {"tool_call_id": call["tool_call_id"], "confirmation": "allow" if allow else "deny"}


def shape(entry: Any) -> Any:
    """Return what a caller said, without what a server fills in."""
    filled = ("object", "id", "created_at", "completed_at", "prefix")
    if isinstance(entry, str):
        return user(entry)
    return {key: value for key, value in entry.items() if key not in filled and (key, value) != ("role", "assistant")}


class Copying(RuleBasedStateMachine):
    """The engine beside the naive model."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.lists: dict[str, list[Listed]] = {}
        self.gone: list[str] = []
        self.prompts: dict[str, bytes] = {}
        self.made = set[tuple[str, str]]()  # calls that a failed run has made: they can only be allowed any more
        self.said: dict[str, dict[str, int]] = {}  # for each conversation: where the word on a call stands

    def teardown(self) -> None:
        self.world.close()

    @initialize(script=scripts(asks=True), stream=streams)
    def begin(self, script: list[Turn], stream: bool) -> None:
        self.start("Hello", script, stream, None, found=[])

    @rule(asked=inputs, script=scripts(asks=True), stream=streams, store=kept_or_not, found=results)
    def start(self, asked: Any, script: list[Turn], stream: bool, store: bool | None, found: list[Any]) -> None:
        self.world.toolbox.results = [*found]
        told = self.world.start({"inputs": asked, "stream": stream, "store": store}, script)
        if store is False:
            self.gone.append(told.id)
        else:
            self.extend(told, [], asked)

    @rule(asked=inputs, script=scripts(fails=True), stream=streams)
    def start_in_vain(self, asked: Any, script: list[Turn], stream: bool) -> None:
        told = self.world.start({"inputs": asked, "stream": stream}, script)
        assert told.error is script[-1].error
        if stream:
            self.lists[told.id] = []  # its id had left already
        else:
            self.gone.append(told.id)

    @rule(data=st.data(), asked=inputs, script=scripts(asks=True), stream=streams, store=kept_or_not, found=results)
    def append(self, data: Any, asked: Any, script: list[Turn], stream: bool, store: Any, found: list[Any]) -> None:
        self.world.toolbox.results = [*found]
        id_, entries = self.pick(data)
        body = {"inputs": asked, "stream": stream} | ({} if store is None else {"store": store})
        if open_calls(entries):
            self.refused(BadRequest, lambda: self.world.append(id_, body))
            return
        told = self.world.append(id_, body, script)
        if store is not False:
            self.extend(told, entries, asked)

    @rule(data=st.data(), script=scripts(asks=True), stream=streams, text=words)
    def answer(self, data: Any, script: list[Turn], stream: bool, text: str) -> None:
        """Answer the calls of a conversation that waits; all, some, or with one too many."""
        waiting = [id_ for id_ in self.lists if answers(self.lists[id_]) and not asking(self.lists[id_])]
        if not waiting:
            return
        id_ = data.draw(st.sampled_from(waiting), label="conversation")
        whole = data.draw(st.permutations(answers(self.lists[id_], text)), label="results")
        some = whole[: data.draw(st.integers(1, len(whole)), label="how many")]
        self.refused(InvalidRequest, lambda: self.world.append(id_, {"inputs": [*whole, whole[0]]}))
        if len(some) < len(whole):
            self.refused(BadRequest, lambda: self.world.append(id_, {"inputs": some}))
            self.refused(BadRequest, lambda: self.world.append(id_, {"inputs": [*some, user("And?")]}))
            return
        more = data.draw(st.sampled_from([[], [user("And more.")]]), label="more")
        told = self.world.append(id_, {"inputs": [*whole, *more], "stream": stream}, script)
        self.extend(told, self.lists[id_], [*whole, *more])

    @rule(data=st.data(), script=scripts(asks=True), stream=streams, text=words, found=results, store=kept_or_not)
    def settle(
        self, data: Any, script: list[Turn], stream: bool, text: str, found: list[Any], store: bool | None
    ) -> None:
        """Allow and deny calls that wait, all or some, with the results of the others or without."""
        waiting = [id_ for id_ in self.lists if asking(self.lists[id_])]
        if not waiting:
            return
        id_ = data.draw(st.sampled_from(waiting), label="conversation")
        entries = self.lists[id_]
        calls = data.draw(st.permutations(asking(entries)), label="calls")
        calls = calls[: data.draw(st.integers(1, len(calls)), label="how many")]
        said = [confirmation(call, allow=data.draw(st.booleans(), label="allow")) for call in calls]
        given = answers(entries, text) if data.draw(st.booleans(), label="answer") else []
        body = {"inputs": given, "tool_confirmations": said, "stream": stream} | (
            {} if store is None else {"store": store}
        )
        self.refused(InvalidRequest, lambda: self.world.append(id_, body | {"tool_confirmations": [*said, said[0]]}))
        self.refused(BadRequest, lambda: self.world.append(id_, body | {"inputs": [*given, user("And?")]}))
        self.world.toolbox.results = [*found]
        ended = {one["tool_call_id"] for one in (*said, *given)}
        left = [call for call in open_calls(entries) if call["tool_call_id"] not in ended]
        late = set() if store is False else self.made
        allowed = [
            call for call in asking(entries)
            if call in calls and (confirmation(call) in said or (id_, call["id"]) in late)
        ]  # fmt: skip
        told = self.world.append(id_, body, [] if left else script, [*allowed, *left])
        if store is False:
            return
        place = len(entries) + len(given)
        self.said[id_] = self.said.get(id_, {}) | {call["id"]: place + 1 for call in calls}
        self.said[id_] |= {call["id"]: place + number for number, call in enumerate(allowed, 1)}
        words_ = {call["id"]: "allowed" if call in allowed else "denied" for call in calls}
        shown = [one | ({"confirmation_status": words_[one["id"]]} if one["id"] in words_ else {}) for one in entries]
        self.extend(told, shown, given, left)

    @rule(data=st.data(), script=scripts(fails=True), stream=streams)
    def append_in_vain(self, data: Any, script: list[Turn], stream: bool) -> None:
        id_, entries = self.pick(data)
        said = [confirmation(call, allow=data.draw(st.booleans(), label="allow")) for call in asking(entries)]
        body = {"inputs": answers(entries) or ([] if said else "Go on."), "tool_confirmations": said, "stream": stream}
        told = self.world.append(id_, body, script)
        assert told.error is script[-1].error
        self.made |= {(id_, call["id"]) for call in asking(entries) if confirmation(call) in said}

    @rule(data=st.data(), script=scripts(asks=True), stream=streams, text=words)
    def put_words_in_its_mouth(self, data: Any, script: list[Turn], stream: bool, text: str) -> None:
        """Have the model begin its answer with given words."""
        id_, entries = self.pick(data)
        if open_calls(entries):
            return
        asked = [user("Say."), {"type": "message.input", "role": "assistant", "content": text, "prefix": True}]
        self.extend(self.world.append(id_, {"inputs": asked, "stream": stream}, script), entries, asked)

    @rule(data=st.data(), script=scripts(asks=True), stream=streams, store=kept_or_not, bare=st.booleans())
    def restart(self, data: Any, script: list[Turn], stream: bool, store: Any, bare: bool) -> None:
        id_, kept = self.cut(data)
        if not kept:
            return
        body: dict[str, Any] = {"from_entry_id": kept[-1]["id"], "stream": stream}
        body |= {} if store is None else {"store": store}
        asked = [] if bare else answers(kept) or "Another way."
        left = [] if not asking(kept) else open_calls(kept) if bare else asking(kept)
        if (left and isinstance(asked, str)) or (bare and answers(kept) and not left):
            self.refused(BadRequest, lambda: self.world.restart(id_, body | ({"inputs": asked} if asked else {})))
        elif bare and not left and kept[-1]["type"] not in ("message.input", "function.result"):
            self.refused(InvalidRequest, lambda: self.world.restart(id_, body))
        else:
            told = self.world.restart(id_, body | ({"inputs": asked} if asked else {}), [] if left else script, left)
            assert told.id not in self.lists
            if store is False:
                self.gone.append(told.id)
            else:
                self.branch(id_, told.id, len(kept))
                self.extend(told, kept, asked, left)

    @rule(data=st.data(), script=scripts(fails=True), stream=streams)
    def restart_in_vain(self, data: Any, script: list[Turn], stream: bool) -> None:
        id_, kept = self.cut(data)
        if not kept or asking(kept):
            return
        asked = answers(kept) or "Another way."
        told = self.world.restart(id_, {"from_entry_id": kept[-1]["id"], "inputs": asked, "stream": stream}, script)
        assert told.error is script[-1].error
        if stream:
            self.branch(id_, told.id, len(kept))
            self.lists[told.id] = kept
        else:
            self.gone.append(told.id)

    @rule(data=st.data())
    def say_something_twice(self, data: Any) -> None:
        """Give an entry an id that the conversation has."""
        id_, entries = self.pick(data)
        if entries and not open_calls(entries):
            taken = data.draw(st.sampled_from(entries), label="taken")["id"]
            self.refused(InvalidRequest, lambda: self.world.append(id_, {"inputs": [user("Again.") | {"id": taken}]}))

    @precondition(lambda self: len(self.lists) > 1)
    @rule(data=st.data())
    def delete(self, data: Any) -> None:
        id_, _ = self.pick(data)
        self.world.delete(id_)
        del self.lists[id_]
        self.gone.append(id_)

    @rule(cache_bytes=st.sampled_from([0, 5_000, 1 << 20]))
    def begin_anew(self, cache_bytes: int) -> None:
        self.world.begin_anew(cache_bytes)

    @invariant()
    def everything_reads_the_same(self) -> None:
        for id_, entries in self.lists.items():
            assert self.world.history(id_) == entries
            assert self.world.messages(id_) == [one for one in entries if one["type"].startswith("message.")]
        assert self.world.listed() == sorted(self.lists, reverse=True)
        for id_ in self.gone[-3:]:
            self.refused(NotFound, lambda id_=id_: self.world.history(id_))
            self.refused(NotFound, lambda id_=id_: self.world.append(id_, {"inputs": "Anybody there?"}))

    def pick(self, data: Any) -> tuple[str, list[Listed]]:
        """Choose a conversation."""
        id_ = data.draw(st.sampled_from(sorted(self.lists)), label="conversation")
        return id_, self.lists[id_]

    def cut(self, data: Any) -> tuple[str, list[Listed]]:
        """Choose a conversation and copy its beginning."""
        id_, entries = self.pick(data)
        kept = entries[: data.draw(st.integers(1, len(entries)), label="cut after")] if entries else []
        unsaid = {entry for entry, place in self.said.get(id_, {}).items() if place > len(kept)}
        return id_, [one | ({"confirmation_status": "pending"} if one["id"] in unsaid else {}) for one in kept]

    def branch(self, id_: str, branch: str, kept: int) -> None:
        """Copy where words stand."""
        self.said[branch] = {entry: place for entry, place in self.said.get(id_, {}).items() if place <= kept}

    def extend(self, told: Told, before: Sequence[Listed], asked: Any, left: Sequence[Listed] = ()) -> None:
        """Put what was asked and what came of it behind a copy of what was there; `left` is told again after that."""
        assert told.error is None
        read = self.world.history(told.id)
        given = [asked] if isinstance(asked, str) else asked
        end = len(before) + len(given)
        assert read[: len(before)] == before
        assert [shape(entry) for entry in read[len(before) : end]] == [shape(entry) for entry in given]
        assert [*read[end:], *left] == told.outputs
        assert len({entry["id"] for entry in read}) == len(read)
        self.lists[told.id] = read
        grows([self.prompts[told.id], *told.prompts] if told.id in self.prompts else told.prompts)
        self.prompts.pop(told.id, None)
        if told.prompts:
            self.prompts[told.id] = told.prompts[-1]

    def refused(self, kind: type[APIError], call: Any) -> None:
        """See that a request is refused before anything of it reaches a model."""
        asked = len(self.world.model.requests)
        try:
            call()
        except kind:
            assert len(self.world.model.requests) == asked
        else:
            raise AssertionError(f"was not refused with {kind.__name__}")


TestCopying = Copying.TestCase
TestCopying.settings = laws(60, stateful_step_count=30)
