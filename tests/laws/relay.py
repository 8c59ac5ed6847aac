"""Agents that hand over to each other and call for tools at random, over processes that die, and an observer of that.

The model is a function of its prompt and of what it is offered, so that whoever asks it again is answered the same.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from causerie.engine.plan import Bounds
from causerie.engine.replay import Answerable
from causerie.errors import BadRequest, CauserieError, Conflict, InvalidRequest, UpstreamError
from causerie.types.agents import CreateAgentRequest, UpdateAgentRequest
from causerie.types.requests import AppendRequest, ListRequest, RestartRequest, StartRequest, decode_request
from causerie.upstreams.base import CallDelta, Delta, ModelRequest, TextDelta, UsageDelta

from .judging import REFUSED, Asked, Heard, Listed, Observed
from .living import ACT, ASK, FOR_EVER, LOOK, MAILBOX, PEEK, SEND, Died, Nature, Process
from .playing import flaws
from .spoken import Spoken, said, spoken
from .strategies import user
from .world import HERE, answers, asking

FIRST, SECOND, BREAK = "first handoff", "second handoff", "break"
MOVES: dict[str, tuple[str, ...]] = {
    "say": (),
    "hand over": (FIRST,),
    "hand over to two": (SECOND, FIRST),
    "look": (LOOK,),
    "act and hand over": (ACT, SECOND, LOOK),
    "ask": (ASK,),
    "ask and hand over": (FIRST, ASK),
    "all": (LOOK, ASK, SECOND, ACT, FIRST),
    "send": (SEND,),
    "send two": (SEND, SEND),
    "send and peek": (PEEK, SEND, PEEK),
    "send and ask": (SEND, ASK, ACT, PEEK),
    "send and hand over": (SECOND, SEND, LOOK),
    "break": (BREAK,),
}
"""What a turn calls, as far as it is offered to whoever acts."""
TOOLS: tuple[Listed, ...] = (
    {"type": "function", "function": {"name": ASK, "parameters": {"type": "object"}}},
    {"type": "web_search"},
    {"type": "code_interpreter"},
    MAILBOX,
)


class Member(NamedTuple):
    """An agent: whom it can hand over to, by number, and which of the tools it has."""

    handoffs: Sequence[int]
    tools: Sequence[int]


class Relay(Observed):
    """Processes over one file, one after the other, and all that was ever asked of the model."""

    def __init__(self, members: Sequence[Member], *first: str) -> None:
        """Make the agents, and begin a conversation whose first turns are these moves."""
        self.folder = Path(tempfile.mkdtemp(prefix="relay-"))
        self.nature = Nature()
        self.asked: dict[tuple[str, int], list[Asked]] = defaultdict(list)
        self.heard: list[Heard] = []
        self.spoken: dict[str, Spoken] = {}
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
        self.start(0, [*first], FOR_EVER, client=False, stream=True)

    # ---- what may happen

    def start(self, which: int, program: list[str], budget: int, *, client: bool, stream: bool) -> None:
        """Start a conversation with one of the agents."""
        token = self._token(program, budget)
        body = {"agent_id": self.agents[which % len(self.agents)], "inputs": f"<{token}>"}
        request = decode_request(_body(token, body, client=client, stream=stream), StartRequest)
        self._send(self.live.engine.start(HERE, request))

    def append(self, which: int, program: list[str], budget: int, *, client: bool, stream: bool, echo: bool) -> None:
        """Append to a conversation: results where they are missing, the handoff that it ended with, or a message."""
        found = (self._waiting(answers) if which % 2 else None) or self._talk(which)
        if found is None:
            return
        conversation, history = found
        token = self._token(program, budget)
        inputs = answers(history, f"<{token}>") or [user(f"<{token}>")]
        if echo and history[-1]["type"] == "agent.handoff":
            inputs = [history[-1]]
        request = decode_request(_body(token, {"inputs": inputs}, client=client, stream=stream), AppendRequest)
        self._send(self.live.engine.append(HERE, conversation, request))

    def restart(
        self, which: int, cut: int, program: list[str], budget: int, *, client: bool, stream: bool, bare: bool
    ) -> None:  # fmt: skip
        """Branch a conversation anywhere; where a call waits for a word, there is nothing to say but results."""
        found = (self._waiting(_asks_first) if which % 2 else None) or self._talk(which)
        if found is None or (account := self._account(*found)) is None:
            return
        conversation, history = found
        kept = account.seen(cut % len(history) + 1)
        token = self._token(program, budget)
        self.spoken[token].base = {call: one for call, one in account.fates.items() if one.position <= len(kept)}
        inputs = answers(kept, f"<{token}>")
        if asking(kept):
            inputs = [] if bare else inputs
        body = {"from_entry_id": kept[-1]["id"], "inputs": inputs or ([] if asking(kept) else [user(f"<{token}>")])}
        request = decode_request(_body(token, body, client=client, stream=stream), RestartRequest)
        self._send(self.live.engine.restart(HERE, conversation, request))

    def settle(
        self,
        which: int,
        choices: list[str],
        program: list[str],
        budget: int,
        *,
        stream: bool,
        answer: bool,
        odd: str,
        cut: bool,
    ) -> None:
        """Say words on calls that wait, on all of them or some, beside results or alone; or words that are refused.

        Where no call waits, something is said that may lead to some.
        """
        found = self._waiting(_asks_first)
        if found is None:
            self.append(which, program, FOR_EVER, client=False, stream=stream, echo=False)
            return
        conversation, history = found
        calls = asking(history)
        words = said(calls[which % len(calls) :] + calls[: which % len(calls)], choices)
        if odd or not words:
            self._refuse(conversation, history, words, odd)
            return
        token = self._token(program, budget)
        self.spoken[token] = spoken(calls, words)
        for maker in self.spoken[token].makers:
            self.nature.budget[maker] = budget
        inputs = answers(history, f"<{token}>") if answer else []
        body = _body(token, {"inputs": inputs, "tool_confirmations": words}, client=False, stream=stream)
        free = not self._busy(conversation)
        self._send(self.live.engine.append(HERE, conversation, decode_request(body, AppendRequest)), fits=free)
        if self.live.alive and self._busy(conversation):
            assert self._history(conversation) in (history, []), "a word counts when its run ends"
        if cut:
            self._try(self.live.engine.cancel(HERE, conversation))

    def delete(self, which: int) -> None:
        """Delete a conversation that is not the last; branches of it live on."""
        if (found := self._talk(which)) and self._talk(which + 1) != found:
            self._try(self.live.engine.delete(HERE, found[0]))

    def advance(self, which: int, steps: int) -> None:
        """Let the model, or a tool, go on."""
        tokens = list(self.nature.programs)
        token = tokens[-1 - which % min(len(tokens), 3)]
        for one in sorted({token, *self.spoken[token].makers}):
            self.live.advance(one, steps)

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

    def close(self) -> None:
        """Leave nothing behind."""
        self.live.crash()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _born(self, *, adopt: bool) -> Process:
        return Process(
            self.folder / "causerie.db", self.nature, adopt=adopt, keep_seconds=3600, cache_bytes=1 << 20,
            model=lambda process: _Model(process, self), bounds=Bounds(model_calls=8, handoffs=3),
        )  # fmt: skip

    def _token(self, program: list[str], budget: int) -> str:
        token = f"t{len(self.nature.programs)}"
        self.nature.programs[token] = program
        self.nature.budget[token] = budget
        self.spoken[token] = Spoken()
        return token

    def _talk(self, which: int) -> tuple[str, list[Listed]] | None:
        listed = self._try(self.live.engine.list(HERE, ListRequest(page_size=1000)))
        if not listed:
            return None
        conversation: str = listed[which % min(len(listed), 3)].id
        history = self._history(conversation)
        return (conversation, history) if history else None

    def _waiting(self, wanted: Callable[[list[Listed]], Any]) -> tuple[str, list[Listed]] | None:
        """Return a conversation with calls that wait, if there is one."""
        recent = [self._talk(which) for which in range(3)]
        return next((found for found in recent if found and wanted(found[1])), None)

    def _busy(self, conversation: str) -> bool:
        return "running" in [run.state for run in self._try(self.live.engine.list_runs(HERE, conversation)) or ()]

    def _refuse(self, conversation: str, history: list[Listed], words: list[Listed], odd: str) -> None:
        """Say what cannot be said, and see that it is refused and changes nothing."""
        settled = [entry for entry in history if entry.get("confirmation_status") in ("allowed", "denied")]
        again = [{"tool_call_id": call["tool_call_id"], "confirmation": "allow"} for call in settled]
        waiting = {call["tool_call_id"] for call in asking(history)}
        again = [word for word in again if word["tool_call_id"] not in waiting]
        inputs, kind = list[Listed](), InvalidRequest
        if odd == "twice":
            words = [*words, *words]
        elif odd == "settled" and again:
            words = [*words, again[-1]]
        elif odd == "result":
            results = [{"type": "function.result", "tool_call_id": one, "result": "Done."} for one in waiting]
            inputs, words = [*answers(history), *results], []
        elif odd == "message" or not answers(history):
            inputs, kind = [*answers(history), user("Well?")], BadRequest
        else:
            inputs, words, kind = answers(history), [], BadRequest
        body = _body("t0", {"inputs": inputs, "tool_confirmations": words}, client=False, stream=False)
        before, asked = self._runs(conversation), len(self.asked)
        busy = self._busy(conversation)
        try:
            self.live.do(self.live.engine.append(HERE, conversation, decode_request(body, AppendRequest)))
        except Died:
            self.crash(adopt=True)
            return
        except (kind, Conflict) as error:
            refused = error
        else:
            raise AssertionError(f"was not refused: {odd}")
        assert busy or not isinstance(refused, Conflict)
        if not busy:
            assert (self._history(conversation), self._runs(conversation), len(self.asked)) == (history, before, asked)

    def _change(self, agent_id: str, **content: Any) -> None:
        request = decode_request(json.dumps(content).encode(), UpdateAgentRequest)
        self._try(self.live.engine.agents.update(HERE, agent_id, request))

    def _send(self, begin: Awaitable[Answerable], *, fits: bool = False) -> None:
        """Send a request and read what is answered; one that `fits` must not be refused."""
        heard, process = Heard([], []), self.live
        self.heard.append(heard)

        async def read() -> None:
            try:
                run = await begin
            except CauserieError as error:
                wrong = fits or not isinstance(error, REFUSED)
                self.nature.complaints += [f"refused with {error!r}"] if process.alive and wrong else []
                return
            heard.run.append(run)
            reading = run.reader()
            while not reading.ended:
                heard.events.extend(await reading.batch())

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
        token, turn = nature.asked_for(request)
        agent = messages[0]["content"]
        self._relay.asked[token, turn].append(Asked(agent, request.messages, request.tools))
        offered = [tool["function"]["name"] for tool in json.loads(request.tools or b"[]")]
        program = nature.programs[token]
        move = MOVES[program[turn] if turn < len(program) else "say"]
        names = _named(move, offered)
        await self._process.step(token)
        yield [TextDelta(f"{token}.{turn} "), TextDelta(agent)]
        for index, name in enumerate(names):
            await self._process.step(token)
            given = json.dumps({"query": f"{token}.{turn}.{index}"})
            yield [CallDelta(index, f"call{turn}{index}xxx", name, given[:5]), CallDelta(index, arguments=given[5:])]
        if BREAK in move:
            raise UpstreamError("It broke.")
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


def _asks_first(history: Sequence[Listed]) -> bool:
    return bool(asking(history))


def _body(token: str, body: Listed, *, client: bool, stream: bool) -> bytes:
    how = {"stream": stream, "completion_args": {"random_seed": int(token[1:])}}
    return json.dumps(body | how | ({"handoff_execution": "client"} if client else {})).encode()
