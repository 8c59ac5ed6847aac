"""What has to be true of agents that hand over and of words on calls, whatever happened: see `relay`.

Everything is read through the engine once all has come to its end; what was said and heard before was kept.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from causerie.engine.conversation import settings_of
from causerie.engine.replay import Answerable
from causerie.engine.runlog import Cursor, Numbered
from causerie.errors import BadRequest, Conflict, InvalidRequest, NotFound
from causerie.types.base import encode
from causerie.types.events import OUTPUT_EVENTS, Event, ResponseDoneEvent
from causerie.types.fold import collect
from causerie.types.requests import ListRequest

from .living import ASK, FOR_EVER, PEEK, SEND, Died, Nature, Process
from .remembering import valid
from .spoken import Account, Spoken, Taken, in_order, taken
from .world import HERE, grows, stopped_clock, text_of, without_end

Listed = dict[str, Any]
INPUTS = ("message.input", "function.result")
REFUSED = (Conflict, BadRequest, InvalidRequest, NotFound)


class Asked(NamedTuple):
    """One call of the model."""

    agent: str
    prompt: bytes
    tools: bytes | None


class Heard(NamedTuple):
    """What a caller was told of a run."""

    run: list[Answerable]
    events: list[Numbered]


class Observed:
    """A process, and all that is known of what it and those before it were asked.

    Attributes:
        agents: their ids; `graph` says whom each can hand over to.
        asked: every call of the model, by the request that it is for and the turn.
        spoken: what each request says of calls.
    """

    live: Process
    nature: Nature
    agents: list[str]
    graph: dict[str, list[str]]
    asked: dict[tuple[str, int], list[Asked]]
    heard: list[Heard]
    spoken: dict[str, Spoken]

    def crash(self, *, adopt: bool) -> None:
        """Kill the process; the next one opens the file."""
        raise NotImplementedError

    def finish(self) -> None:
        """Let everything come to its end, and see that the laws hold."""
        self.crash(adopt=True)
        for token in self.nature.programs:
            self.live.advance(token, FOR_EVER)
        assert self.nature.complaints == []
        for (token, turn), same in self.asked.items():
            assert len(set(same)) == 1, f"whoever carries {token}.{turn} on has to ask the same"
        made = self._made()
        listed = self.live.do(self.live.engine.list(HERE, ListRequest(page_size=1000)))
        for one in listed:
            self._judge(one.id, str(one.agent_id), made[one.id])  # type: ignore[union-attr]
        for heard in self.heard:
            _in_order([event for _, event in heard.events])
        for number, heard in enumerate(self.heard):
            if heard.run and heard.run[0].conversation_id in {one.id for one in listed}:
                for cut in sorted({number * 7 % (len(heard.events) + 1), len(heard.events) - 1}):
                    self._resume(heard, cut)

    def _judge(self, conversation: str, agent: str, made: Counter[str]) -> None:
        history = self._history(conversation)
        assert valid(history) == []
        self._check_agents(history, agent)
        shown = self.live.do(self.live.engine.list_runs(HERE, conversation))
        assert {run.state for run in shown} <= {"done", "failed", "cancelled"}, "every run ends"
        for run in shown:
            assert run.error is None or "setting max_" in run.error.message or run.error.message == "It broke."
            assert run.bounds.handoffs <= run.bounds.max_handoffs
        runs = self._runs(conversation)
        account = Account(history, self.spoken[runs[0].token].base)
        end = runs[0].head
        for one in runs:
            account.take(one, self.spoken[one.token])
            if one.state != "failed":
                assert one.head == end, "each run begins where the one before it ended"
                end = account.told(one, self._told(conversation, one.id))
        assert end == len(history)
        account.check(made)
        self._check_prompts(history, [one.token for one in runs if one.state != "failed"])

    def _made(self) -> dict[str, Counter[str]]:
        """Count the calls that were made of tools that ask first; see that each was allowed to the run that made it."""
        made = defaultdict[str, Counter[str]](Counter)
        for context, _, query in self.nature.allowed:
            made[context.conversation_id][query] += 1
            row = self.live.do(self.live.store.run(HERE, context.conversation_id, context.run_id))
            if row is not None:
                assert self.spoken.get(taken(row).token, Spoken()).allows(query), f"nobody allowed {query}"
        return made

    def _account(self, conversation: str, history: list[Listed]) -> Account | None:
        """Return what has come of each call by now; None if the process died of being asked."""
        runs = self._runs(conversation)
        if not runs:
            return None
        account = Account(history, self.spoken[runs[0].token].base)
        for run in runs:
            if run.state != "running":
                account.take(run, self.spoken[run.token])
        return account

    def _runs(self, conversation: str) -> list[Taken]:
        """Return the runs of a conversation, oldest first."""
        one = self._try(self.live.store.load(HERE, conversation))
        rows = self._try(self.live.store.runs(HERE, conversation, limit=1000)) if one else None
        return in_order([taken(row, settings_of(one)) for row in reversed(rows or ())])

    def _told(self, conversation: str, run_id: str, cursor: Cursor | None = None, had: Sequence[Event] = ()) -> Any:
        """Read a run's events from somewhere on; return what all of them fold to."""

        async def read() -> list[Event]:
            following = await self.live.engine.follow_run(HERE, conversation, run_id, cursor)
            found = list[Event]()
            while not following.ended:
                found += [numbered.event for numbered in await following.batch()]
            return found

        events = self.live.do(read())
        _in_order(events)
        return [without_end(json.loads(encode(entry))) for entry in collect([*had, *events], stopped_clock).outputs]

    def _resume(self, heard: Heard, cut: int) -> None:
        """See that whoever comes back anywhere is told what those were told who had nothing."""
        conversation, run_id = heard.run[0].conversation_id, heard.run[0].id
        row = self.live.do(self.live.store.run(HERE, conversation, run_id))
        if row is None or row.state == "failed" or cut < 1:
            return
        had = heard.events[:cut]
        place, events = Cursor.parse(had[-1].cursor), [event for _, event in had]
        assert self._told(conversation, run_id, place, events) == self._told(conversation, run_id)

    def _check_agents(self, history: Sequence[Listed], agent: str) -> None:
        """See that each output came from whoever acted there, and that nobody handed over but to whom it may."""
        for entry in history:
            if entry["type"] == "agent.handoff":
                assert entry["previous_agent_id"] == agent
                assert entry["next_agent_id"] in self.graph[agent]
                agent = entry["next_agent_id"]
            elif entry["type"] not in INPUTS:
                assert entry["agent_id"] == agent
                assert entry["model"] == f"m{self.agents.index(agent)}"
                own = entry["type"] == "tool.execution" or entry.get("name", ASK) in (ASK, SEND, PEEK)
                assert own, "nobody else's function"

    def _check_prompts(self, history: Sequence[Listed], tokens: Sequence[str]) -> None:
        """See that what each agent was asked in this conversation only grew."""
        by_agent = defaultdict[str, list[bytes]](list)
        told = " ".join(text_of(entry) for entry in history)
        for token in tokens:
            turns = sorted(turn for one, turn in self.asked if one == token)
            # A run that was cancelled may have left less than it was told; then nothing goes on from there.
            for turn in (turn for turn in turns if all(f"{token}.{before} " in told for before in range(turn))):
                first = self.asked[token, turn][0]
                by_agent[first.agent].append(first.prompt)
        for prompts in by_agent.values():
            grows(prompts)

    def _history(self, conversation: str) -> list[Listed]:
        return [json.loads(body) for body in self._try(self.live.engine.get_history(HERE, conversation)) or ()]

    def _try(self, work: Any) -> Any:
        """Do something, or come to life again where the process died of it."""
        try:
            return self.live.do(work)
        except Died:
            self.crash(adopt=True)
        except REFUSED:
            pass
        return None


def _in_order(events: Sequence[Event]) -> None:
    indexes = [event.output_index for event in events if isinstance(event, OUTPUT_EVENTS)]
    assert indexes == sorted(indexes), "output_index never goes back"
    places = {(event.output_index, event.id) for event in events if isinstance(event, OUTPUT_EVENTS)}
    assert len(places) == len({index for index, _ in places}) == len({entry_id for _, entry_id in places})
    if events and isinstance(events[-1], ResponseDoneEvent):
        collect(events, stopped_clock)
