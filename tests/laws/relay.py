"""Agents that hand over to each other at random, over processes that die, and an observer of what comes of it.

The model is a function of its prompt and of what it is offered, so that whoever asks it again is answered the same.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from causerie.engine.plan import Bounds
from causerie.engine.replay import Answerable
from causerie.errors import BadRequest, CauserieError, Conflict, InvalidRequest, NotFound
from causerie.types.agents import CreateAgentRequest, UpdateAgentRequest
from causerie.types.base import encode
from causerie.types.events import OUTPUT_EVENTS, Event, ResponseDoneEvent
from causerie.types.fold import collect
from causerie.types.requests import AppendRequest, ListRequest, RestartRequest, StartRequest, decode_request
from causerie.upstreams.base import CallDelta, Delta, ModelRequest, TextDelta, UsageDelta

from .living import ACT, ASK, FOR_EVER, LOOK, Died, Nature, Process, asked_for
from .playing import flaws
from .remembering import valid
from .strategies import user
from .world import HERE, answers, grows, stopped_clock, text_of, without_end

Listed = dict[str, Any]
INPUTS = ("message.input", "function.result")
FIRST, SECOND = "first handoff", "second handoff"
MOVES: dict[str, tuple[str, ...]] = {
    "say": (),
    "hand over": (FIRST,),
    "hand over to two": (SECOND, FIRST),
    "look": (LOOK,),
    "act and hand over": (ACT, SECOND, LOOK),
    "ask": (ASK,),
    "ask and hand over": (FIRST, ASK),
    "all": (LOOK, ASK, SECOND, ACT, FIRST),
}
"""What a turn calls, as far as it is offered to whoever acts."""
TOOLS: tuple[Listed, ...] = (
    {"type": "function", "function": {"name": ASK, "parameters": {"type": "object"}}},
    {"type": "web_search"},
    {"type": "code_interpreter"},
)
REFUSED = (Conflict, BadRequest, InvalidRequest, NotFound)


class Member(NamedTuple):
    """An agent: whom it can hand over to, by number, and which of the tools it has."""

    handoffs: Sequence[int]
    tools: Sequence[int]


class Asked(NamedTuple):
    """One call of the model."""

    agent: str
    prompt: bytes
    tools: bytes | None


class Relay:
    """Processes over one file, one after the other, and all that was ever asked of the model."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Make the agents."""
        self.folder = Path(tempfile.mkdtemp(prefix="relay-"))
        self.nature = Nature()
        self.asked: dict[tuple[str, int], list[Asked]] = defaultdict(list)
        self.heard: list[list[Event]] = []
        self.cuts: dict[str, int] = {}
        self.continued: set[str] = set()
        self.live = self._born(adopt=False)
        self.agents: list[str] = []
        for number, member in enumerate(members):
            tools = [TOOLS[one] for one in member.tools]
            given = {
                "model": f"m{number}",
                "name": f"Agent {number}",
                "instructions": f"You are {number}.",
                "tools": tools,
            }
            request = decode_request(json.dumps(given).encode(), CreateAgentRequest)
            self.agents.append(self.live.do(self.live.engine.agents.create(HERE, request)).id)
        self.graph = {
            self.agents[number]: [self.agents[one % len(members)] for one in member.handoffs]
            for number, member in enumerate(members)
        }
        for agent_id, targets in self.graph.items():
            self._change(agent_id, handoffs=list(dict.fromkeys(targets)) or None)
        self.start(0, [], FOR_EVER, client=False, stream=True)

    # ---- what may happen

    def start(self, which: int, program: list[str], budget: int, *, client: bool, stream: bool) -> None:
        """Start a conversation with one of the agents."""
        token = self._token(program, budget)
        body = {"agent_id": self.agents[which % len(self.agents)], "inputs": f"<{token}>"}
        request = decode_request(_body(body, client=client, stream=stream), StartRequest)
        self._send(self.live.engine.start(HERE, request))

    def append(self, which: int, program: list[str], budget: int, *, client: bool, stream: bool, echo: bool) -> None:
        """Append to a conversation: results where they are missing, the handoff that it ended with, or a message."""
        found = (self._waiting() if which % 2 else None) or self._talk(which)
        if found is None:
            return
        conversation, history = found
        token = self._token(program, budget)
        inputs = answers(history, f"<{token}>") or [user(f"<{token}>")]
        if echo and history[-1]["type"] == "agent.handoff":
            inputs = [history[-1]]
            self.continued.add(next(filter(None, map(_token_of, reversed(history)))))
        request = decode_request(_body({"inputs": inputs}, client=client, stream=stream), AppendRequest)
        self._send(self.live.engine.append(HERE, conversation, request))

    def restart(self, which: int, cut: int, program: list[str], budget: int, *, client: bool, stream: bool) -> None:
        """Branch a conversation anywhere."""
        found = self._talk(which)
        if found is None:
            return
        conversation, history = found
        kept = history[: cut % len(history) + 1]
        token = self._token(program, budget)
        self.cuts[token] = len(kept)
        body = {"from_entry_id": kept[-1]["id"], "inputs": answers(kept, f"<{token}>") or [user(f"<{token}>")]}
        request = decode_request(_body(body, client=client, stream=stream), RestartRequest)
        self._send(self.live.engine.restart(HERE, conversation, request))

    def advance(self, which: int, steps: int) -> None:
        """Let the model, or a tool, go on."""
        tokens = list(self.nature.programs)
        self.live.advance(tokens[-1 - which % min(len(tokens), 3)], steps)

    def cancel(self, which: int) -> None:
        """Cancel whatever runs in a conversation."""
        if found := self._talk(which):
            self._try(self.live.engine.cancel(HERE, found[0]))

    def rename(self, which: int) -> None:
        """Make a new version of an agent, which is offered under another name."""
        self._change(self.agents[which % len(self.agents)], name=f"Another {which}")

    def doom(self, writes: int, *, heard: bool) -> None:
        """Let the process die at one of its next writes."""
        self.live.fuse, self.live.heard = writes, heard

    def crash(self, *, adopt: bool) -> None:
        """Kill the process; the next one opens the file."""
        self.live.crash()
        self.live = self._born(adopt=adopt)

    # ---- what has to be

    def finish(self) -> None:
        """Let everything come to its end, and see that the laws hold."""
        self.crash(adopt=True)
        for token in self.nature.programs:
            self.live.advance(token, FOR_EVER)
        assert self.nature.complaints == []
        for (token, turn), same in self.asked.items():
            asked = {one._replace(tools=None) if token in self.continued else one for one in same}
            assert len(asked) == 1, f"whoever carries {token}.{turn} on has to ask the same"
        listed = self.live.do(self.live.engine.list(HERE, ListRequest(page_size=1000)))
        for one in listed:
            self._judge(one.id, str(one.agent_id))  # type: ignore[union-attr]
        for events in self.heard:
            _in_order(events)

    def close(self) -> None:
        """Leave nothing behind."""
        self.live.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _judge(self, conversation: str, agent: str) -> None:
        history = self._history(conversation)
        assert valid(history) == []
        self._check_agents(history, agent)
        outputs = list[Listed]()
        runs = self.live.do(self.live.engine.list_runs(HERE, conversation))
        assert {run.state for run in runs} <= {"done", "failed", "cancelled"}, "every run ends"
        for run in reversed(runs):
            if run.state != "failed":
                outputs += self._told(conversation, run.id)
            assert run.error is None or "setting max_" in run.error.message, "a run fails for what it may not, only"
            assert run.bounds.handoffs <= run.bounds.max_handoffs
        made = [without_end(entry) for entry in history if entry["type"] not in INPUTS]
        assert made[len(made) - len(outputs) :] == outputs
        self._check_prompts(history)

    def _told(self, conversation: str, run_id: str) -> list[Listed]:
        """Read a run's events from the first on; return what they fold to."""

        async def read() -> list[Event]:
            following = await self.live.engine.follow_run(HERE, conversation, run_id, None)
            found = list[Event]()
            while not following.ended:
                found += [numbered.event for numbered in await following.batch()]
            return found

        events = self.live.do(read())
        _in_order(events)
        return [without_end(json.loads(encode(entry))) for entry in collect(events, stopped_clock).outputs]

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
                assert entry.get("name", ASK) == ASK or entry["type"] == "tool.execution", "nobody else's function"

    def _check_prompts(self, history: Sequence[Listed]) -> None:
        """See that what each agent was asked in this conversation only grew."""
        tokens = [_token_of(entry) for entry in history]
        begun = max([place for place, token in enumerate(tokens) if self.cuts.get(token) == place], default=0)
        by_agent = defaultdict[str, list[bytes]](list)
        said = " ".join(text_of(entry) for entry in history)
        for token in dict.fromkeys(filter(None, tokens[begun:])):
            turns = sorted(turn for one, turn in self.asked if one == token)
            # What a run asked that failed is no part of the line: the turns before it are not in the history.
            for turn in (turn for turn in turns if all(f"{token}.{before} " in said for before in range(turn))):
                first = self.asked[token, turn][0]
                by_agent[first.agent].append(first.prompt)
        for prompts in by_agent.values():
            grows(prompts)

    def _born(self, *, adopt: bool) -> Process:
        return Process(
            self.folder / "causerie.db", self.nature, adopt=adopt, keep_seconds=3600, cache_bytes=1 << 20,
            model=lambda process: _Model(process, self), bounds=Bounds(model_calls=8, handoffs=3),
        )  # fmt: skip

    def _token(self, program: list[str], budget: int) -> str:
        token = f"t{len(self.nature.programs)}"
        self.nature.programs[token] = program
        self.nature.budget[token] = budget
        return token

    def _talk(self, which: int) -> tuple[str, list[Listed]] | None:
        listed = self._try(self.live.engine.list(HERE, ListRequest(page_size=1000)))
        if not listed:
            return None
        conversation: str = listed[which % min(len(listed), 3)].id
        history = self._history(conversation)
        return (conversation, history) if history else None

    def _waiting(self) -> tuple[str, list[Listed]] | None:
        """Return a conversation whose calls wait for results, if there is one."""
        recent = [self._talk(which) for which in range(3)]
        return next((found for found in recent if found and answers(found[1])), None)

    def _history(self, conversation: str) -> list[Listed]:
        return [json.loads(body) for body in self._try(self.live.engine.get_history(HERE, conversation)) or ()]

    def _change(self, agent_id: str, **content: Any) -> None:
        request = decode_request(json.dumps(content).encode(), UpdateAgentRequest)
        self._try(self.live.engine.agents.update(HERE, agent_id, request))

    def _try(self, work: Any) -> Any:
        """Do something, or come to life again where the process died of it."""
        try:
            return self.live.do(work)
        except Died:
            self.crash(adopt=True)
        except REFUSED:
            pass
        return None

    def _send(self, begin: Awaitable[Answerable]) -> None:
        events, process = list[Event](), self.live
        self.heard.append(events)

        async def read() -> None:
            try:
                reading = (await begin).reader()
            except REFUSED:
                return
            except CauserieError as error:
                self.nature.complaints += [f"refused with {error!r}"] if process.alive else []
                return
            while not reading.ended:
                events.extend(numbered.event for numbered in await reading.batch())

        self.live.spawn(read())
        if not self.live.alive:
            self.crash(adopt=True)


class _Model:
    """An upstream that moves as the program of the last token says."""

    def __init__(self, process: Process, relay: Relay) -> None:
        self._process, self._relay = process, relay

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        messages = json.loads(request.messages)
        nature = self._relay.nature
        nature.complaints += flaws(messages) + _out_of_turn(messages)
        token, turn = asked_for(messages)
        agent = messages[0]["content"]
        self._relay.asked[token, turn].append(Asked(agent, request.messages, request.tools))
        offered = [tool["function"]["name"] for tool in json.loads(request.tools or b"[]")]
        program = nature.programs[token]
        names = _named(MOVES[program[turn] if turn < len(program) else "say"], offered)
        await self._process.step(token)
        yield [TextDelta(f"{token}.{turn} "), TextDelta(agent)]
        for index, name in enumerate(names):
            await self._process.step(token)
            given = json.dumps({"query": f"{token}.{turn}.{index}"})
            yield [CallDelta(index, f"call{turn}{index}xxx", name, given[:5]), CallDelta(index, arguments=given[5:])]
        yield [UsageDelta(3, 2)]

    async def models(self) -> list[str]:
        return []

    async def close(self) -> None:
        """Hold nothing."""


def _named(move: Sequence[str], offered: Sequence[str]) -> list[str]:
    handoffs = [name for name in offered if name.startswith("handoff_to_")]
    numbers = {FIRST: 0, SECOND: 1}
    found = []
    for name in move:
        if name in numbers and handoffs:
            found.append(handoffs[numbers[name] % len(handoffs)])
        elif name in offered:
            found.append(name)
    return found


def _out_of_turn(messages: Sequence[Listed]) -> list[str]:
    pairs = pairwise(message["role"] for message in messages)
    return ["a user speaks right after a result"] if ("tool", "user") in pairs else []


def _in_order(events: Sequence[Event]) -> None:
    indexes = [event.output_index for event in events if isinstance(event, OUTPUT_EVENTS)]
    assert indexes == sorted(indexes), "output_index never goes back"
    places = {(event.output_index, event.id) for event in events if isinstance(event, OUTPUT_EVENTS)}
    assert len(places) == len({index for index, _ in places}) == len({entry_id for _, entry_id in places})
    if events and isinstance(events[-1], ResponseDoneEvent):
        collect(events, stopped_clock)


def _token_of(entry: Listed) -> str:
    """Return the token of an input; nothing for an output."""
    return str(entry.get("content") or entry.get("result"))[1:-1] if entry["type"] in INPUTS else ""


def _body(body: Listed, *, client: bool, stream: bool) -> bytes:
    how = {"stream": stream} | ({"handoff_execution": "client"} if client else {})
    return json.dumps(body | how).encode()
