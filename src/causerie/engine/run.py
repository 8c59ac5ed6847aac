"""The run: the only loop of the house. It asks the model, writes events to its log, and does what follows.

It is a task of its own (D2): callers only read its log or wait for its outcome, and may leave. Deciding, rendering
and naming happen in pure functions elsewhere. It never yields, and it holds the one ``except Exception``: at its edge.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing

import msgspec
import structlog

from causerie.errors import APIError, BadRequest, CauserieError, RunTimedOut, ServerFault, Stopping
from causerie.ids import Clock, Ids
from causerie.stores.base import EntryRow, Operation, RunEnd
from causerie.tools.base import ToolContext, ToolResult
from causerie.types.base import encode
from causerie.types.completion import CompletionArgs
from causerie.types.entries import FunctionCallEntry, OutputEntry
from causerie.types.events import (
    OUTPUT_EVENTS,
    OutputEvent,
    ResponseDoneEvent,
    ResponseErrorEvent,
    ResponseStartedEvent,
)
from causerie.types.fold import Fold
from causerie.types.responses import ConversationUsageInfo
from causerie.upstreams.base import Delta, ModelRequest, Upstream

from .emit import Emitter, Pending
from .history import History, Private, row
from .journal import Journal
from .offer import Offer
from .prompt import Rendered, assistant_message, messages, tool_message
from .runlog import RunLog
from .step import CallTools, next_step

log = structlog.get_logger("causerie.run")


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may use; passing one ends it as failed, with a message that names the setting."""

    model_calls: int = 32
    seconds: float = 600
    tool_output_bytes: int = 1024 * 1024


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run begins with, decided before it does.

    Attributes:
        history: what there was before the inputs.
        inputs: the new entries, as rows.
        stream: whether the caller wants pieces; otherwise the upstream may be asked for a plain answer (D9).
    """

    run_id: str
    workspace: str
    conversation_id: str
    operation: Operation
    model: str
    instructions: str | None
    args: CompletionArgs
    offer: Offer
    history: History
    inputs: Sequence[EntryRow]
    stream: bool


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to: its entries encoded once, ready for the answer."""

    conversation_id: str
    outputs: Sequence[bytes]
    usage: ConversationUsageInfo
    history: History


class Run:
    """One run, from its inputs to its last event."""

    def __init__(
        self, plan: Plan, journal: Journal, upstream: Upstream, *, ids: Ids, clock: Clock, bounds: Bounds
    ) -> None:
        """Make ready; `start` sets it going."""
        self.id = plan.run_id
        self.conversation_id = plan.conversation_id
        self.log = RunLog()
        loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[CauserieError | None] = loop.create_future()
        self.outcome: asyncio.Future[Outcome | CauserieError] = loop.create_future()
        self._plan, self._journal, self._upstream = plan, journal, upstream
        self._clock, self._bounds = clock, bounds
        self._emitter = Emitter(ids, clock, model=plan.model, taken=plan.history.open)
        self._fold = Fold(clock.now)
        self._entries: list[OutputEntry] = []  # of this turn
        self._outputs: list[bytes] = []  # of the run
        self._usage = ConversationUsageInfo()
        self._model_calls = 0
        self._task: asyncio.Task[None] | None = None
        self._ended: Callable[[Outcome | CauserieError], None] = lambda _: None
        self._stopped: CauserieError | None = None
        self._started_at = clock.monotonic()

    def start(self, ended: Callable[[Outcome | CauserieError], None]) -> None:
        """Set the run going in a task of its own; `ended` is told of its outcome before anybody else is."""
        self._ended = ended
        self._task = asyncio.get_running_loop().create_task(self._to_the_end(), name=self.id)

    def stop(self, why: CauserieError) -> None:
        """Give the run up; its callers get `why`."""
        if self._task is not None and not self._task.done():
            self._stopped = self._stopped or why
            self._task.cancel()

    def announces(self, entry_id: str) -> bool:
        """Whether `entry_id` is one of this run's entries, which are not committed before it ends."""
        events = (event for event in self.log.events if isinstance(event, OUTPUT_EVENTS))
        return any(entry.id == entry_id for entry in self._plan.inputs) or any(event.id == entry_id for event in events)

    async def wait(self) -> None:
        """Wait until the run is over and everything it had to write is written."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _to_the_end(self) -> None:
        """Carry the run to its outcome: the edge where whatever went wrong becomes an answer."""
        limit = asyncio.timeout(self._bounds.seconds)
        try:
            async with limit:
                outcome: Outcome | CauserieError = await self._carry()
        except asyncio.CancelledError:
            outcome = self._stopped or Stopping()
        except CauserieError as error:
            outcome = error
        except Exception as error:
            if limit.expired():
                outcome = RunTimedOut(
                    f"The run was ended after {self._bounds.seconds:g} seconds (setting run_seconds). "
                    "History is as it was before."
                )
            else:
                log.exception("run.fault", run_id=self.id, conversation_id=self.conversation_id)
                outcome = ServerFault(f"Something broke inside the server while run {self.id} was carried out.")
                outcome.__cause__ = error
        if isinstance(outcome, CauserieError):
            await self._take_back(outcome)
        self._tell(outcome)

    async def _carry(self) -> Outcome:
        history = self._plan.history.extended(self._plan.inputs)
        begun: Callable[[], Awaitable[None]] | None = self._begin
        for _ in range(self._bounds.model_calls):
            async with aclosing(self._upstream.stream(self._request(history))) as deltas:
                if begun is not None:
                    await self._first(deltas, begun)
                    begun = None
                async for batch in deltas:
                    self._publish(self._emitter.feed(batch))
            self._publish(self._emitter.end_turn())
            calls = self._emitter.ordered_calls
            step = next_step(calls, self._plan.offer.served)
            results = await self._call_tools(calls) if calls else {}
            rows = self._rows(history, calls, results)
            history = history.extended(rows)
            self._count()
            if not isinstance(step, CallTools):
                return await self._commit(history, rows)
            await self._journal.write(rows)
        raise BadRequest(
            f"The run made {self._bounds.model_calls} model calls without coming to an answer "
            "(setting max_model_calls). History is as it was before."
        )

    def _request(self, history: History) -> ModelRequest:
        self._emitter.begin_turn(self._plan.offer.served)
        self._model_calls += 1
        args = self._plan.args
        if self._model_calls > 1 and args.tool_choice in ("any", "required"):
            # A demand for a call is met by the first; repeated with its results, the model could never answer.
            args = msgspec.structs.replace(args, tool_choice="auto")
        return ModelRequest(
            model=self._plan.model, messages=messages(self._plan.instructions, history.prompt, history.tail()),
            tools=self._plan.offer.rendered, args=args, stream=self._plan.stream, prefix=history.prefix,
        )  # fmt: skip

    async def _first(self, deltas: AsyncGenerator[list[Delta], None], begin: Callable[[], Awaitable[None]]) -> None:
        """Ask the model while the inputs are being committed; let nothing leave before they are (D4)."""
        first = asyncio.ensure_future(anext(deltas, None))
        try:
            await begin()
            batch = await first
        except BaseException:
            first.cancel()
            await asyncio.wait([first])
            if not first.cancelled():
                first.exception()  # seen, also where the commit failed first
            raise
        if batch is not None:
            self._publish(self._emitter.feed(batch))

    async def _begin(self) -> None:
        await self._journal.begin()
        started = ResponseStartedEvent(
            created_at=self._clock.now(), conversation_id=self.conversation_id, run_id=self.id
        )
        self.log.append([started])
        self.begun.set_result(None)

    def _publish(self, events: Sequence[OutputEvent]) -> None:
        self.log.append([*events])
        for event in events:
            if entry := self._fold.feed(event):
                self._entries.append(entry)

    async def _call_tools(self, calls: Sequence[Pending]) -> Mapping[str, ToolResult]:
        """Run the server's tools of a turn together; let their events leave entry by entry, in call order."""
        served, results = self._plan.offer.served, dict[str, ToolResult]()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {
                    call.tool_call_id: group.create_task(
                        served[call.name].toolset.call(call.name, call.text, self._at(call))
                    )
                    for call in calls
                    if call.name in served
                }
                for call in calls:
                    if task := tasks.get(call.tool_call_id):
                        results[call.tool_call_id] = await self._execution(call, served[call.name].name, task)
                    else:
                        self._publish(self._emitter.rest(call))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None
        return results

    async def _execution(self, call: Pending, name: str, task: asyncio.Task[ToolResult]) -> ToolResult:
        self._publish(self._emitter.execution_started(call, name))
        result = await task
        self._bound(call, result)
        self._publish(self._emitter.execution_done(call, name, result.info))
        self._count_tool(name, result)
        return result

    def _at(self, call: Pending) -> ToolContext:
        return ToolContext(
            workspace=self._plan.workspace, conversation_id=self.conversation_id, run_id=self.id,
            tool_call_id=call.tool_call_id,
        )  # fmt: skip

    def _bound(self, call: Pending, result: ToolResult) -> None:
        if len(result.output) > self._bounds.tool_output_bytes:
            raise BadRequest(
                f"The tool '{call.name}' returned more than {self._bounds.tool_output_bytes} characters "
                "(setting max_tool_output_bytes). History is as it was before."
            )

    def _rows(self, history: History, calls: Sequence[Pending], results: Mapping[str, ToolResult]) -> list[EntryRow]:
        """Turn what this turn made into rows; its chat messages stand with the last of them."""
        if entry := self._fold.close():
            self._entries.append(entry)
        entries, self._entries = self._entries, []
        said = self._emitter
        prompt = b",".join([
            assistant_message(
                "".join(said.text), [call.call for call in calls], reasoning="".join(said.reasoning),
                field=said.reasoning_field, signature=said.signature,
            ),
            *(
                tool_message(call.upstream_id, _told(results[call.tool_call_id]))
                for call in calls if call.tool_call_id in results
            ),
        ])  # fmt: skip
        upstream_ids = {call.entry_id: call.upstream_id for call in calls}
        covers = len(entries) + (history.prefix is not None)
        rows = []
        for index, entry in enumerate(entries):
            private = Private()
            if isinstance(entry, FunctionCallEntry) and upstream_ids[str(entry.id)] != entry.tool_call_id:
                private = Private(upstream_id=upstream_ids[str(entry.id)])
            rendered = Rendered(prompt, covers) if index == len(entries) - 1 else None
            rows.append(row(entry, history.head + 1 + index, rendered, private))
        self._outputs += [one.body for one in rows]
        return rows

    def _count(self) -> None:
        if used := self._emitter.usage:
            self._usage.prompt_tokens += used.prompt_tokens
            self._usage.completion_tokens += used.completion_tokens
            self._usage.total_tokens += used.prompt_tokens + used.completion_tokens

    def _count_tool(self, name: str, result: ToolResult) -> None:
        usage, tokens = self._usage, result.tokens or 0
        usage.connector_tokens = (usage.connector_tokens or 0) + tokens
        usage.total_tokens += tokens
        connectors = usage.connectors or {}
        usage.connectors = {**connectors, name: connectors.get(name, 0) + 1}

    async def _commit(self, history: History, rows: Sequence[EntryRow]) -> Outcome:
        """Make the outputs durable, free the conversation, and only then say that the run is done."""
        await self._journal.commit(rows, history.head, self._end(None))
        return Outcome(conversation_id=self.conversation_id, outputs=self._outputs, usage=self._usage, history=history)

    async def _take_back(self, error: CauserieError) -> None:
        try:
            await asyncio.shield(self._journal.fail(self._end(error.message)))
        except CauserieError as trouble:
            # Without a store there is nobody to tell but the log; what was written is taken back at the next start.
            log.warning("run.not_taken_back", run_id=self.id, reason=trouble.message)

    def _tell(self, outcome: Outcome | CauserieError) -> None:
        """The conversation is free by now: first the engine learns of it, then whoever reads or waits (D3)."""
        self._ended(outcome)
        self._report(outcome)
        now = self._clock.now()
        if isinstance(outcome, Outcome):
            self.log.append([ResponseDoneEvent(created_at=now, usage=self._usage)])
        elif self.begun.done():
            status = outcome.status_code if isinstance(outcome, APIError) else ServerFault.status_code
            self.log.append([ResponseErrorEvent(created_at=now, message=outcome.message, code=status)])
        else:
            self.log.end()
            self.begun.set_result(outcome)
        self.outcome.set_result(outcome)

    def _end(self, error: str | None) -> RunEnd:
        return RunEnd(ended_at=self._clock.now(), model_calls=self._model_calls, usage=encode(self._usage), error=error)

    def _report(self, outcome: Outcome | CauserieError) -> None:
        failed = isinstance(outcome, CauserieError)
        log.info(
            "run.failed" if failed else "run.done", run_id=self.id, conversation_id=self.conversation_id,
            workspace=self._plan.workspace, operation=self._plan.operation, model=self._plan.model,
            model_calls=self._model_calls, outputs=len(self._outputs), prompt_tokens=self._usage.prompt_tokens,
            completion_tokens=self._usage.completion_tokens,
            milliseconds=round((self._clock.monotonic() - self._started_at) * 1000, 1),
            **({"error": outcome.message} if isinstance(outcome, CauserieError) else {}),
        )  # fmt: skip


def _told(result: ToolResult) -> str:
    return result.output if result.error is None else f"Error: {result.error}"
