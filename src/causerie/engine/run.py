"""The run: the only loop of the house. It asks the model, writes events to its log, and does what follows.

It is a task of its own (D2): callers only read its log or wait for its outcome, and may leave. Deciding, rendering
and naming happen in pure functions elsewhere. It never yields, and it holds the one ``except Exception``: at its edge.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

import msgspec
import structlog

from causerie.errors import (
    APIError,
    BadRequest,
    CauserieError,
    NotFound,
    RunTimedOut,
    ServerFault,
    Stopping,
    Superseded,
)
from causerie.ids import Clock, Ids
from causerie.stores.base import EntryRow, RunEnd, RunState
from causerie.types.base import encode
from causerie.types.entries import MessageOutputEntry
from causerie.types.events import OUTPUT_EVENTS, ResponseStartedEvent
from causerie.upstreams.base import Delta, ModelRequest, Upstream, UsageDelta

from .acting import Acting
from .calls import ToolCalls
from .confirming import Words
from .emit import Emitter
from .history import History
from .journal import Journal
from .plan import Bounds, Outcome, Plan, response_body
from .replay import Following
from .report import ending, log_end
from .runlog import RunLog
from .structured import asked
from .turn import Turn
from .usage import count_model

log = structlog.get_logger("causerie.run")


class Run:
    """One run, from its inputs to its last event."""

    def __init__(
        self, plan: Plan, journal: Journal, upstream: Upstream, *, ids: Ids, clock: Clock, bounds: Bounds
    ) -> None:
        """Make ready; `start` sets it going."""
        self.id = plan.run_id
        self.plan = plan
        self.log = RunLog()
        self._begun = asyncio.Event()
        self._refusal: CauserieError | None = None  # why it never began
        self.outcome: asyncio.Future[Outcome | CauserieError] = asyncio.get_running_loop().create_future()
        self._journal, self._upstream, self._clock, self._bounds = journal, upstream, clock, bounds
        self._acting = Acting(plan, bounds)
        emitter = Emitter(
            ids, clock, model=plan.speaker.model, agent_id=plan.speaker.agent_id, taken=plan.history.open,
            first_index=plan.first_index,
        )  # fmt: skip
        self._turn = Turn(emitter, self.log, clock)
        self._tools = ToolCalls(plan, journal, bounds)
        self._words = Words(plan)
        self._history = plan.history.extended([*plan.inputs, *plan.outputs], self._words.settled)
        self._outputs = [output.body for output in plan.outputs]
        self._usage, self.model_calls = plan.usage, plan.model_calls
        self._task: asyncio.Task[None] | None = None
        self._limit = asyncio.timeout(bounds.seconds)
        self._ended: Callable[[Outcome | CauserieError], None] = lambda _: None
        self._stopped: CauserieError | None = None
        self._entered = self._cancelled = self._finishing = False
        self._untaken: RunEnd | None = None
        self.abandoned = False  # given up here, for another owner to carry on
        self.deleted = False  # the conversation was, while this ran
        self._started_at = clock.monotonic()

    @property
    def conversation_id(self) -> str:
        """The conversation that it belongs to."""
        return self.plan.conversation_id

    @property
    def handoffs(self) -> int:
        """How often it was handed over between agents."""
        return self._acting.handoffs

    @property
    def has_begun(self) -> bool:
        """Whether its inputs are durable."""
        return self._begun.is_set() and self._refusal is None

    async def begun(self) -> CauserieError | None:
        """Wait until its inputs are durable; return why they will never be, where that is so."""
        await self._begun.wait()
        return self._refusal

    def start(self, ended: Callable[[Outcome | CauserieError], None]) -> None:
        """Set the run going in a task of its own; `ended` is told of its outcome before anybody else is."""
        self._ended = ended
        self._task = asyncio.get_running_loop().create_task(self._to_the_end(), name=self.id)

    def delete(self) -> None:
        """Give the run up: its conversation was deleted."""
        self.deleted = True
        self.stop(self._deletion())

    def stop(self, why: CauserieError, *, abandon: bool = False) -> None:
        """Give the run up; its callers get `why`.

        Args:
            abandon: leave what is stored as it is, for whoever adopts the run.
        """
        if self._stopped is None and not self._finishing:
            self._stopped, self.abandoned = why, abandon
            self._interrupt()

    def cancel(self) -> None:
        """End the run now, keeping what is complete and what the model has written so far (D12)."""
        if not self._cancelled and not self._finishing:
            self._cancelled = True
            self._interrupt()

    def announces(self, entry_id: str) -> bool:
        """Whether `entry_id` is one of this run's entries, which are not committed before it ends."""
        events = (event for event in self.log.events if isinstance(event, OUTPUT_EVENTS))
        kept = (*self.plan.inputs, *self.plan.outputs)
        return any(entry.id == entry_id for entry in kept) or any(event.id == entry_id for event in events)

    def reader(self) -> Following:
        """Return the run's events from the first on, an earlier owner's included."""
        return Following(self.plan.missed, self.log.reader())

    async def body(self) -> bytes:
        """Wait for the outcome and return it as the JSON of a `ConversationResponse`.

        Raises:
            CauserieError: the run failed.
        """
        outcome = await asyncio.shield(self.outcome)
        if isinstance(outcome, CauserieError):
            raise outcome
        return outcome.body

    @property
    def taken_back(self) -> bool:
        """Whether nothing of a failed run is left; else the store was in trouble, and `take_back` has to try again."""
        return self._untaken is None

    async def take_back(self) -> None:
        """Try again to take back what the run wrote; raises what the store raises."""
        if self._untaken is not None:
            self.abandoned = not await self._journal.fail(self._untaken) and not self.deleted
            self._untaken = None

    async def wait(self) -> None:
        """Wait until the run is over and everything it had to write is written."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def _interrupt(self) -> None:
        # A task that is cancelled before its first step never runs at all; it looks for itself when it begins.
        if self._task is not None and self._entered:
            self._task.cancel()

    async def _to_the_end(self) -> None:
        """Carry the run to its outcome: the edge where whatever went wrong becomes an answer."""
        self._entered = True
        try:
            outcome: Outcome | CauserieError = await self._carried_or_cut()
        except asyncio.CancelledError:
            outcome = self._stopped or Stopping()
        except Superseded as error:
            # Somebody else carries it on: here it did not fail, it only cannot be followed any longer.
            self.abandoned = not self.deleted
            outcome = self._deletion() if self.deleted else Stopping(error.message)
        except CauserieError as error:
            outcome = error
        except Exception as error:
            log.exception("run.fault", run_id=self.id, conversation_id=self.conversation_id)
            outcome = ServerFault(f"Something broke inside the server while run {self.id} was carried out.")
            outcome.__cause__ = error
        self._finishing = True  # what comes now is not to be interrupted
        if isinstance(outcome, CauserieError) and not self.abandoned:
            outcome = await self._fail(outcome)
        self._tell(outcome)

    def _deletion(self) -> NotFound:
        return NotFound(f"Conversation {self.conversation_id} was deleted while run {self.id} was under way.")

    async def _carried_or_cut(self) -> Outcome:
        try:
            async with self._limit:
                return await self._carry()
        except TimeoutError:
            if not self._limit.expired():
                raise
            raise RunTimedOut(
                f"The run was ended after {self._bounds.seconds:g} seconds (setting run_seconds). "
                "History is as it was before."
            ) from None
        except asyncio.CancelledError:
            if not self._cancelled or self._stopped:
                raise
            return await self._cut_short()

    async def _carry(self) -> Outcome:
        if self._stopped or self._cancelled:
            raise asyncio.CancelledError
        begin, turn, emitter = not self._history.calls, self._turn, self._turn.emitter
        if self._history.calls and (ended := await self._settle()):
            return ended
        while self.model_calls < self._bounds.model_calls:
            async with aclosing(asked(self._upstream, self._request(), self._again)) as deltas:
                if begin:
                    await self._first(deltas)
                    begin = False
                async for batch in deltas:
                    turn.publish(emitter.feed(batch))
            turn.publish(emitter.end_turn())
            calls = emitter.ordered_calls
            step = self._acting.next_step(calls)
            if calls:
                await self._tools.answer(calls, turn, self._acting.offer)
                self._acting.hand_over(step, calls, turn)
            rows = turn.rows(turn.close(), calls, self._history)
            count_model(self._usage, emitter.usage)
            if not self._acting.goes_on(step):
                return await self._commit(rows, "done")
            await self._write(rows)
            await self._acting.follow(step, emitter)
        raise self._exhausted()

    async def _settle(self) -> Outcome | None:
        """Make the calls that were allowed; None: nothing waits any more, and the model is asked."""
        await self._begin()
        rows = await self._words.carry_out(self._turn, self._tools, self._acting.offer, self._history)
        if self._turn.again:
            return await self._commit(rows, "done")
        self._acting.settle()
        await self._write(rows)
        return None

    def _again(self, used: UsageDelta | None) -> None:
        """A call of the model came to nothing, and another follows in the same turn; see `structured`."""
        count_model(self._usage, used)
        if self.model_calls >= self._bounds.model_calls:
            raise self._exhausted()
        self.model_calls += 1

    def _exhausted(self) -> BadRequest:
        return BadRequest(
            f"The run made {self._bounds.model_calls} model calls without coming to an answer "
            "(setting max_model_calls). History is as it was before."
        )

    def _request(self) -> ModelRequest:
        self._turn.emitter.begin_turn(self._acting.offer.held, self._acting.offer.asking)
        self.model_calls += 1
        return self._acting.request(self._history, stream=self.plan.stream)

    async def _first(self, deltas: AsyncGenerator[list[Delta], None]) -> None:
        """Ask the model while the inputs are being committed; let nothing leave before they are (D4)."""
        first = asyncio.ensure_future(anext(deltas, None))
        try:
            await self._begin()
            batch = await first
        except BaseException:
            first.cancel()
            await asyncio.wait([first])
            if not first.cancelled():
                first.exception()  # seen, also where the commit failed first
            raise
        if batch is not None:
            self._turn.publish(self._turn.emitter.feed(batch))
            await asyncio.sleep(0)  # whoever reads gets the first token before the rest of a burst is worked through

    async def _begin(self) -> None:
        self.log.epoch = await self._journal.begin()
        if not self.has_begun:
            if not self.plan.adopted:
                started = ResponseStartedEvent(
                    created_at=self._clock.now(), conversation_id=self.conversation_id, run_id=self.id
                )
                self.log.append([started])
            self._begun.set()

    async def _write(self, rows: Sequence[EntryRow]) -> None:
        """Make a turn durable. It is on its way once it is submitted: who interrupts this waits for that."""
        writing = asyncio.ensure_future(self._journal.write(rows, self._end("running")))
        try:
            await asyncio.shield(writing)
        except asyncio.CancelledError:
            await asyncio.wait([writing])
            if writing.exception() is None:
                self._go_on(rows)
            raise
        self._go_on(rows)

    def _go_on(self, rows: Sequence[EntryRow], *, settled: bool = True) -> None:
        """The turn is durable, all of it if `settled`; the next one begins where it ends."""
        if settled:
            self.log.settle()
        self._history = self._history.extended(rows, self._words.settled)
        self._outputs += [one.body for one in rows]
        self._turn.begin()

    async def _commit(self, rows: Sequence[EntryRow], state: RunState, discard: Sequence[str] = ()) -> Outcome:
        """Make the outputs durable and free the conversation; only then may anybody learn that the run is done."""
        self._finishing = True  # from here on it counts or it does not: neither time nor a cancel comes between
        if state == "done":
            self._limit.reschedule(None)
        outputs = [*self._outputs, *(one.body for one in [*rows, *self._turn.again])]
        told = self.plan.guardrails
        response = response_body(self.conversation_id, outputs, self._usage, told) if self.plan.repeats else None
        head = rows[-1].position if rows else self._history.head
        await self._journal.commit(rows, head, self._end(state, response=response))
        self._go_on(rows, settled=state == "done")
        return Outcome(
            conversation_id=self.conversation_id, outputs=outputs, usage=self._usage, history=self._history,
            cancelled=state == "cancelled", discard=discard, guardrails=told,
        )  # fmt: skip

    async def _cut_short(self) -> Outcome:
        """Keep what is whole and what the model has written; let go of calls that nobody will answer."""
        await self._begin()
        turn = self._turn
        self._tools.keep_effects(turn.emitter.ordered_calls, turn, self._acting.offer)
        answered = [call for call in turn.emitter.ordered_calls if call.tool_call_id in turn.results]
        whole = {call.entry_id for call in answered}
        kept = [one for one in turn.close() if isinstance(one, MessageOutputEntry) or one.id in whole]
        discard = [entry_id for entry_id in turn.announced if entry_id not in {one.id for one in kept}]
        self._words.cut_short(answered if kept else (), self._history)
        return await self._commit(turn.rows(kept, answered, self._history, cut=True), "cancelled", discard)

    async def _fail(self, error: CauserieError) -> CauserieError:
        code = error.status_code if isinstance(error, APIError) else ServerFault.status_code
        self._untaken = self._end("failed", error=error.message, code=code)
        try:
            await asyncio.shield(self.take_back())
        except CauserieError as trouble:
            # Without a store there is nobody to tell but the log; the engine tries again when somebody comes.
            log.warning("run.not_taken_back", run_id=self.id, reason=trouble.message)
        # Where it is another owner's by now, that one carries it on: it is not for this one to say that it failed.
        return Stopping(Superseded().message) if self.abandoned else error

    def _tell(self, outcome: Outcome | CauserieError) -> None:
        """The conversation is free by now: first the engine learns of it, then whoever reads or waits (D3)."""
        self._ended(outcome)
        log_end(
            self.plan, self._acting.speaker, outcome, left=self.abandoned, outputs=len(self._outputs),
            usage=self._usage, model_calls=self.model_calls, handoffs=self.handoffs,
            seconds=self._clock.monotonic() - self._started_at,
        )  # fmt: skip
        outcome = self._lightened(outcome)
        if isinstance(outcome, Outcome) or (self.has_begun and not self.abandoned):
            self.log.append(ending(outcome, self.id, self._clock.now()))
        else:
            self.log.end()
            if not self.has_begun and isinstance(outcome, CauserieError):
                self._refusal = outcome
                self._begun.set()
        self.outcome.set_result(outcome)

    def _lightened(self, outcome: Outcome | CauserieError) -> Outcome | CauserieError:
        """Let go of what only a run under way needs; whoever comes later reads its events and its answer."""
        self._history = History()
        self.plan = msgspec.structs.replace(self.plan, history=self._history, inputs=())
        if isinstance(outcome, CauserieError):
            return outcome
        return msgspec.structs.replace(outcome, history=self._history)

    @property
    def weight(self) -> int:
        """Roughly what it costs to keep it, in events."""
        return 1 + len(self.log.events) + sum(map(len, self._outputs)) // 256

    def _end(
        self, state: RunState, *, error: str | None = None, code: int | None = None, response: bytes | None = None
    ) -> RunEnd:
        return RunEnd(
            ended_at=self._clock.now(), state=state, model_calls=self.model_calls, handoffs=self.handoffs,
            usage=encode(self._usage), error=error, code=code, response=response, settlements=self._words.settled,
        )  # fmt: skip
