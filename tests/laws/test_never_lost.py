"""Never lose a turn: whatever is begun, cancelled, deleted, retried, resumed, and whenever the process dies.

Rules draw plain numbers and are carried out as far as they make sense, so that what is drawn does not depend on what
threads do. A process may die before or after any of its writes (`doom`); the next one opens the same file.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from causerie.engine.replay import Events
from causerie.engine.runlog import Cursor
from causerie.errors import BadRequest, CauserieError, Conflict, InvalidRequest, NotFound, UpstreamError
from causerie.types.requests import AppendRequest, ListRequest, RestartRequest, StartRequest, decode_request

from .living import FOR_EVER, KINDS, TOOLS, Died, Nature, Process
from .remembering import Ask, Listed, Remembered, Sent, begins
from .strategies import user
from .world import HERE, answers, laws, without_end

numbers = st.integers(0, 999)
programs = st.lists(st.sampled_from(sorted(KINDS)), max_size=3)
budgets = st.sampled_from([0, 1, 2, 3, 5, FOR_EVER, FOR_EVER])
flags = st.booleans()


class NeverLost(RuleBasedStateMachine):
    """Processes over one file beside an observer who remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="never-lost-"))
        self.nature = Nature()
        self.asks: list[Ask] = []
        self.sents: list[Sent] = []
        self.talks: dict[str, Remembered] = {}
        self.gone: list[str] = []
        self.made = Counter[tuple[str, int, str]]()
        self.live = self.born(adopt=False, keep=True, cache=True)

    # ---- what may happen

    @initialize(program=programs)
    def begin(self, program: list[str]) -> None:
        self.start(program, FOR_EVER, stream=True, keyed=False, cancels=False)

    @rule(program=programs, budget=budgets, stream=flags, keyed=flags, cancels=flags)
    def start(self, program: list[str], budget: int, *, stream: bool, keyed: bool, cancels: bool) -> None:
        ask = self.asked("start", None, [], [], {"model": "m", "tools": TOOLS}, keyed=keyed)
        self.send(ask, program, budget, stream=stream, cancels=cancels)

    @rule(which=numbers, program=programs, budget=budgets, stream=flags, keyed=flags, cancels=flags)
    def append(self, which: int, program: list[str], budget: int, *, stream: bool, keyed: bool, cancels: bool) -> None:
        if talk := self.talk(which):
            ask = self.asked("append", talk.id, [], talk.known, {}, keyed=keyed)
            self.send(ask, program, budget, stream=stream, cancels=cancels)

    @rule(which=numbers, program=programs)
    def append_without_a_trace(self, which: int, program: list[str]) -> None:
        if talk := self.talk(which):
            ask = self.asked("append", talk.id, [], talk.known, {"store": False}, keyed=False)
            self.send(ask, program, FOR_EVER, stream=True, cancels=False)

    @rule(which=numbers, cut=numbers, program=programs, budget=budgets, stream=flags, keyed=flags)
    def restart(self, which: int, cut: int, program: list[str], budget: int, *, stream: bool, keyed: bool) -> None:
        talk = self.talk(which)
        if talk and talk.known:
            kept = talk.known[: cut % len(talk.known) + 1]
            ask = self.asked("restart", talk.id, kept, kept, {"from_entry_id": kept[-1]["id"]}, keyed=keyed)
            self.send(ask, program, budget, stream=stream, cancels=False)

    @rule(which=numbers, stream=flags, budget=budgets)
    def retry(self, which: int, stream: bool, budget: int) -> None:
        """Send a request again under its key."""
        keyed = [ask for ask in self.asks if ask.key]
        if keyed:
            self.nature.budget[keyed[which % len(keyed)].token] += budget
            self.send(keyed[which % len(keyed)], None, 0, stream=stream, cancels=False)

    @rule(which=numbers, steps=budgets)
    def advance(self, which: int, steps: int) -> None:
        """Let the model, or a tool, go on."""
        if self.asks:
            self.live.advance(self.asks[-1 - which % min(len(self.asks), 4)].token, steps)

    @rule(which=numbers)
    def leave(self, which: int) -> None:
        """Hang up."""
        connected = [sent for sent in self.sents if sent.connected and not sent.task.done()]
        if not connected:
            return
        sent = connected[which % len(connected)]
        sent.connected = False
        if sent.reading is not None:
            sent.reading.leave()
        sent.task.cancel()
        if sent.cancels and sent.answerable is not None:
            sent.answerable.cancel()
        self.live.rest()

    @rule(which=numbers, cut=numbers, forgets=flags)
    def resume(self, which: int, cut: int, forgets: bool) -> None:
        """Come back to a stream after any of the events that were read."""
        streams = [sent for sent in self.sents if sent.started and sent.ask.stored]
        if not streams:
            return
        before = streams[-1 - which % min(len(streams), 6)]
        had = [] if forgets else before.events[: cut % (len(before.events) + 1)]
        again = Sent(
            before.ask, stream=True, run_id=before.run_id, conversation_id=before.conversation_id, events=[*had]
        )
        self.sents.append(again)
        place = Cursor.parse(had[-1].cursor) if had else None
        again.task = self.live.spawn(self.followed(again, place, self.live))

    @rule(which=numbers, by_run=flags)
    def cancel(self, which: int, by_run: bool) -> None:
        talk = self.talk(which)
        if talk is None:
            return
        try:
            runs = self.live.do(self.live.engine.list_runs(HERE, talk.id))
            if by_run and runs:
                one = runs[which % len(runs)]
                ended = self.live.do(self.live.engine.cancel_run(HERE, talk.id, one.id))
                assert ended.id == one.id
                assert ended.state in (("cancelled", "done", "failed") if one.state == "running" else (one.state,))
            elif not by_run:
                self.live.do(self.live.engine.cancel(HERE, talk.id))
        except Died:
            return
        if not by_run:
            assert not self.is_busy(talk.id)

    @rule(which=numbers)
    def delete(self, which: int) -> None:
        talk = self.talk(which)
        if talk is None or len(self.talks) < 2:
            return
        try:
            self.live.do(self.live.engine.delete(HERE, talk.id))
        except Died:
            self.again(adopt=False, keep=True, cache=True)
            if talk.id in self.listed():
                return
        del self.talks[talk.id]
        self.gone.append(talk.id)
        for ask in self.asks:
            ask.runs = {run: id_ for run, id_ in ask.runs.items() if id_ != talk.id}
            if ask.where == talk.id:  # its key is free again
                ask.outputs, ask.where = None, ""

    @rule(which=numbers, program=programs, budget=budgets, stream=flags, keyed=flags, order=st.integers(0, 4))
    def all_at_once(
        self, which: int, program: list[str], budget: int, *, stream: bool, keyed: bool, order: int
    ) -> None:
        """An append, its retry, and two who cancel come in the same instant, in one order or another."""
        talk = self.talk(which)
        if talk is None or self.live.holds or self.is_busy(talk.id):
            return
        ask = self.asked("append", talk.id, [], talk.known, {}, keyed=keyed)
        self.nature.programs[ask.token], self.nature.budget[ask.token] = program, budget
        talk.pending.append(ask)
        sents = [Sent(ask, stream), *([Sent(ask, not stream)] if keyed else [])]
        self.sents += sents
        works = [self.carried(sent, self.live) for sent in sents]
        asking = works[: len(sents)]
        for place in (order, order + 2):
            works.insert(place % (len(works) + 1), self.cancelled(talk.id))
        tasks = dict(zip(map(id, works), self.live.together(*works), strict=True))
        for sent, work in zip(sents, asking, strict=True):
            sent.task = tasks[id(work)]
        for sent in sents:
            assert sent.error is None or isinstance(sent.error, UpstreamError), sent.error

    @rule()
    def hold(self) -> None:
        """Let the disk be slow: what is written now waits, and other things happen before it is there."""
        self.live.hold()

    @rule()
    def flow(self) -> None:
        """Let the disk be quick again."""
        self.live.flow()

    @rule(adopt=flags, keep=flags, cache=flags)
    def crash(self, adopt: bool, keep: bool, cache: bool) -> None:
        self.again(adopt=adopt, keep=keep, cache=cache)

    @rule(writes=st.integers(0, 6), heard=flags)
    def doom(self, writes: int, heard: bool) -> None:
        """Let the process die at one of its next writes: before it, or after it and before anybody hears of it."""
        self.live.fuse, self.live.heard = writes, heard

    @rule(adopt=flags, keep=flags)
    def stop(self, adopt: bool, keep: bool) -> None:
        """Stop as a server does that is told to, and begin anew."""
        self.live.fuse = FOR_EVER
        self.live.close()
        self.again(adopt=adopt, keep=keep, cache=True)

    # ---- what has to hold

    @invariant()
    def nothing_is_lost(self) -> None:
        if not self.live.alive:
            self.again(adopt=True, keep=True, cache=True)
        try:
            self.look_around()
        except Died:
            self.again(adopt=True, keep=True, cache=True)
            self.look_around()

    def look_around(self) -> None:
        """See that histories, answers, events, runs and effects tell the same story."""
        listed = self.listed()
        for sent in self.sents:
            self.hear(sent)
        for id_ in listed:
            if id_ not in self.talks:
                self.find(id_)
            for ask in self.talks[id_].look(self.history(id_)):
                self.see_that_it_was_said(ask)
        assert set(self.talks) <= set(listed), "a conversation that somebody was told of is not there"
        for sent in self.sents:
            self.judge(sent)
        self.see_that_nothing_was_done_twice()
        assert self.nature.complaints == []
        # Who has been told everything need not be asked again.
        self.sents = [sent for sent in self.sents if not sent.judged] + [sent for sent in self.sents if sent.judged][
            -8:
        ]

    def hear(self, sent: Sent) -> None:
        """Take in what a client was told of ids, so that it is known what has to be there."""
        if sent.run_id:
            sent.ask.runs[sent.run_id] = sent.conversation_id
        announced = sent.body is not None or sent.started is not None
        if announced and sent.ask.stored and sent.conversation_id not in [*self.talks, *self.gone]:
            self.talks[sent.conversation_id] = Remembered(sent.conversation_id, sent.ask.base, [sent.ask])

    def find(self, id_: str) -> None:
        """A conversation that nobody was told of: somebody must have asked for it."""
        assert id_ not in self.gone, "a deleted conversation is there again"
        history = self.history(id_)
        asked = [
            ask
            for ask in self.asks
            if ask.operation != "append" and ask.outputs is None and history[: len(ask.base)] == ask.base
            and (len(history) == len(ask.base) or begins(history[len(ask.base) :], ask.inputs))
        ]  # fmt: skip
        assert asked, f"nobody asked for {id_}: {history}"
        self.talks[id_] = Remembered(id_, asked[-1].base, asked)

    def judge(self, sent: Sent) -> None:
        """Hold what somebody was told against what is stored."""
        ask = sent.ask
        if sent.judged or not (sent.done or sent.failed):
            return
        sent.judged = True
        if not ask.stored or sent.conversation_id in self.gone:
            return
        state = self.state(sent.run_id, sent.conversation_id)
        if sent.failed:
            assert state in ("failed", "") if sent.error else "failed"
            return
        assert state in ("done", "cancelled")
        assert ask.outputs is not None, f"{ask.token} was answered and is not there"
        assert sent.told() == [without_end(entry) for entry in ask.outputs]
        if sent.body is not None:
            assert ask.bodies.setdefault(sent.run_id, sent.body) == sent.body

    def see_that_nothing_was_done_twice(self) -> None:
        """No key stands for two runs that count, and no call was made twice from one head."""
        for ask in self.asks[-12:]:
            states = [self.state(run, id_) for run, id_ in ask.runs.items()]
            assert len([state for state in states if state in ("running", "done", "cancelled")]) <= 1, ask.token
        while self.nature.effects:
            context, query = self.nature.effects.pop()
            row = self.live.do(self.live.store.run(HERE, context.conversation_id, context.run_id))
            if row is not None:  # else it is of a run that left no trace, or was deleted
                self.made[context.conversation_id, row.head, query] += 1
        assert [call for call, times in self.made.items() if times > 1] == []

    def see_that_it_was_said(self, ask: Ask) -> None:
        """See that what is stored is what the model said, and what tools did."""
        for entry in ask.outputs or []:
            if entry["type"] == "message.output":
                assert any(text.startswith(entry["content"]) for text in self.nature.said[ask.token]), entry
            else:
                assert entry["arguments"].startswith(f'{{"query": "{ask.token}.'), entry

    def teardown(self) -> None:
        try:
            self.come_to_an_end()
        finally:
            if self.live.alive:
                self.live.crash()
            shutil.rmtree(self.folder)

    def come_to_an_end(self) -> None:
        """Let all go on, and see that every conversation is free, and every key still stands for what it stood for."""
        self.live.fuse = FOR_EVER
        self.live.flow()
        for ask in self.asks:
            self.live.advance(ask.token, FOR_EVER)
        waiting = [sent for sent in self.sents if sent.connected and not sent.task.done()]
        assert waiting == [], "somebody waits for ever"
        self.look_around()
        self.again(adopt=True, keep=True, cache=True)
        self.look_around()
        for ask in [ask for ask in self.asks if ask.key and (ask.target is None or ask.target in self.talks)]:
            self.send(ask, None, 0, stream=False, cancels=False)
            self.look_around()
        for talk in list(self.talks.values()):
            assert not self.is_busy(talk.id)
            ask = self.asked("append", talk.id, [], talk.known, {}, keyed=False)
            sent = self.send(ask, [], FOR_EVER, stream=False, cancels=False)
            self.look_around()
            assert sent.body is not None, f"{talk.id} is not free: {sent.error}"

    # ---- how it is done

    def asked(
        self, operation: str, target: str | None, base: list[Listed], before: list[Listed], body: dict[str, Any], *,
        keyed: bool,
    ) -> Ask:  # fmt: skip
        """Make up a request that fits what its conversation was last seen to have."""
        token = f"t{len(self.asks)}"
        inputs = answers(before, f"<{token}>") or [user(f"Go on. <{token}>")]
        ask = Ask(
            token, operation, target, base, inputs,
            {**body, "inputs": inputs, "completion_args": {"random_seed": len(self.asks)}},
            key=f"key {token}" if keyed else None, stored=body.get("store") is not False,
        )  # fmt: skip
        self.asks.append(ask)
        return ask

    def send(self, ask: Ask, program: list[str] | None, budget: int, *, stream: bool, cancels: bool) -> Sent:
        """Send a request, and see that it is refused only where it may be."""
        if program is not None:
            self.nature.programs[ask.token] = program
        self.nature.budget[ask.token] += budget
        talk = self.talks.get(ask.target or "")
        if ask.operation == "append" and ask.stored and ask.outputs is None and talk and ask not in talk.pending:
            talk.pending.append(ask)
        busy = talk is not None and (self.live.holds or self.is_busy(talk.id))
        sent = Sent(ask, stream, cancels)
        self.sents.append(sent)
        if self.live.alive:
            sent.task = self.live.spawn(self.carried(sent, self.live))
        if isinstance(sent.error, Conflict):
            assert busy, sent.error
            assert ask.operation == "append", sent.error
        elif isinstance(sent.error, NotFound):
            assert ask.target in self.gone or sent.conversation_id in self.gone, sent.error
        elif isinstance(sent.error, (BadRequest, InvalidRequest)):
            assert busy or program is None, sent.error  # it fitted what was there when it was made up
        else:
            assert sent.error is None or isinstance(sent.error, UpstreamError), sent.error
        return sent

    async def carried(self, sent: Sent, process: Process) -> None:
        """A client that sends a request and reads its answer."""
        ask, engine = sent.ask, process.engine
        data = json.dumps({**ask.body, "stream": sent.stream}).encode()
        try:
            if ask.operation == "start":
                run = await engine.start(HERE, decode_request(data, StartRequest), ask.key)
            elif ask.operation == "append":
                run = await engine.append(HERE, str(ask.target), decode_request(data, AppendRequest), ask.key)
            else:
                run = await engine.restart(HERE, str(ask.target), decode_request(data, RestartRequest), ask.key)
            sent.run_id, sent.conversation_id, sent.answerable = run.id, run.conversation_id, run
            if sent.stream:
                await self.read(sent, run.reader(), process)
            else:
                body = await run.body()
                sent.body = body if process.alive else None
        except CauserieError as error:
            sent.error = error if process.alive else None

    async def cancelled(self, id_: str) -> None:
        """A client that cancels whatever runs."""
        await self.live.engine.cancel(HERE, id_)

    async def followed(self, sent: Sent, place: Cursor | None, process: Process) -> None:
        """A client that comes back."""
        try:
            reader = await process.engine.follow_run(HERE, sent.conversation_id, sent.run_id, place)
            await self.read(sent, reader, process)
        except NotFound as error:
            assert sent.conversation_id in self.gone, error  # noqa: PT017  # it may as well not be refused

    async def read(self, sent: Sent, reader: Events, process: Process) -> None:
        """Read to the end, or until the process dies."""
        sent.reading = reader
        while not reader.ended:
            batch = await reader.batch()
            if process.alive and sent.connected:
                sent.events += batch

    def born(self, *, adopt: bool, keep: bool, cache: bool) -> Process:
        """Begin a process."""
        return Process(
            self.folder / "chats.db", self.nature, adopt=adopt, keep_seconds=300 if keep else 0,
            cache_bytes=1 << 20 if cache else 0,
        )  # fmt: skip

    def again(self, *, adopt: bool, keep: bool, cache: bool) -> None:
        """Let the process die, and begin the next."""
        self.live.crash()
        for sent in self.sents:
            sent.connected = False
        self.live = self.born(adopt=adopt, keep=keep, cache=cache)

    def talk(self, which: int) -> Remembered | None:
        """Choose a conversation."""
        return list(self.talks.values())[which % len(self.talks)] if self.talks else None

    def is_busy(self, id_: str) -> bool:
        """Whether a run of a conversation has not ended, in memory or in the store."""
        return "running" in [run.state for run in self.live.do(self.live.engine.list_runs(HERE, id_))]

    def state(self, run_id: str, id_: str) -> str:
        """Return the state of a run; empty if there is none."""
        row = self.live.do(self.live.store.run(HERE, id_, run_id))
        return row.state if row else ""

    def listed(self) -> list[str]:
        """Return the ids of all conversations."""
        return [found.id for found in self.live.do(self.live.engine.list(HERE, ListRequest(page_size=1000)))]

    def history(self, id_: str) -> list[Listed]:
        """Return all entries of a conversation."""
        return [json.loads(body) for body in self.live.do(self.live.engine.get_history(HERE, id_))]


TestNeverLost = NeverLost.TestCase
TestNeverLost.settings = laws(20, stateful_step_count=40)
