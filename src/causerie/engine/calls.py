"""Calls of tools that the server runs: each reserved, executed, settled, so that none takes effect twice (D5)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence

from causerie.errors import BadRequest
from causerie.stores.base import WAITED, EntryRow, Reservation
from causerie.tools.base import ToolContext, ToolResult
from causerie.types.base import decode, encode
from causerie.types.entries import ToolExecutionEntry

from .emit import Pending
from .journal import Journal
from .offer import Offer, Served
from .plan import Bounds, Plan
from .turn import Turn
from .usage import count_tool

UNKNOWN = (
    "The outcome of this call is unknown: an earlier run was interrupted while it was being made, and it may have "
    "taken effect. It was not made again."
)


CANCELLED = (
    "The outcome of this call is unknown: the run was cancelled while it was being made, and it may have taken effect."
)


class ToolCalls:
    """Makes the calls of one run."""

    def __init__(self, plan: Plan, journal: Journal, bounds: Bounds) -> None:
        """Count what an earlier owner of the run has made already: those calls are behind us, not asked for again."""
        self._plan, self._journal, self._bounds = plan, journal, bounds
        self._tasks: dict[str, asyncio.Task[ToolResult]] = {}
        self._made = Counter(_digest(one.function or one.name, one.arguments) for one in _executions(plan.outputs))

    async def answer(self, calls: Sequence[Pending], turn: Turn, offer: Offer) -> None:
        """Make the server's calls of a turn together; let their events leave entry by entry, in call order.

        Raises:
            BadRequest: a tool returned more than a run takes.
        """
        served = offer.served
        named = [(call, self._reservation(call)) for call in calls if offer.runs(call)]
        self._tasks = {}
        try:
            async with asyncio.TaskGroup() as group:
                for call, reservation in named:
                    making = self._make(call, served[call.name], reservation)
                    self._tasks[call.tool_call_id] = group.create_task(making)
                for call in calls:
                    if task := self._tasks.get(call.tool_call_id):
                        turn.start_execution(call, served[call.name].name)
                        self._end(call, served[call.name].name, turn, await task)
                    elif call.name not in offer.handoffs:
                        turn.publish(turn.emitter.rest(call))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from None

    def keep_effects(self, calls: Sequence[Pending], turn: Turn, offer: Offer) -> None:
        """A cancel came between: what took effect, or may have, is kept, so that nobody asks for it again."""
        for call in calls:
            task = self._tasks.get(call.tool_call_id)
            if task is None or call.tool_call_id in turn.results:
                continue
            ended = task.done() and not task.cancelled() and task.exception() is None
            served = offer.served[call.name]
            if ended or not served.repeatable:
                turn.start_execution(call, served.name)
                self._end(call, served.name, turn, task.result() if ended else ToolResult(error=CANCELLED))

    def _end(self, call: Pending, name: str, turn: Turn, result: ToolResult) -> None:
        turn.end_execution(call, name, result)
        count_tool(self._plan.usage, name, result)

    def _reservation(self, call: Pending) -> Reservation:
        """Name a call: the same tool with the same arguments, for the nth time since the head, is the same call.

        One that stands in history is itself, whatever moves.
        """
        digest = _digest(call.name, call.text)
        self._made[digest] += 1
        key = f"{self._plan.history.head}:{digest}:{self._made[digest]}"
        if call.waited_as:
            key = f"{WAITED}{call.waited_as}"
        return Reservation(key=key, tool=call.name, arguments=call.text.encode())

    async def _make(self, call: Pending, served: Served, reservation: Reservation) -> ToolResult:
        """Return what the call came to, now or before."""
        recorded = await self._journal.reserve(reservation)
        if recorded is not None and recorded.result is not None:
            result = decode(recorded.result, ToolResult)
        elif recorded is not None and not served.repeatable:
            result = ToolResult(error=UNKNOWN)
        else:
            result = await self._execute(call, served)
            await self._journal.settle(reservation.key, encode(result))
        if len(result.output.encode()) > self._bounds.tool_output_bytes:
            raise BadRequest(
                f"The tool '{call.name}' returned more than {self._bounds.tool_output_bytes} bytes "
                "(setting max_tool_output_bytes). History is as it was before."
            )
        return result

    async def _execute(self, call: Pending, served: Served) -> ToolResult:
        context = ToolContext(
            workspace=self._plan.workspace, conversation_id=self._plan.conversation_id, run_id=self._plan.run_id,
            tool_call_id=call.tool_call_id,
        )  # fmt: skip
        limit = asyncio.timeout(self._bounds.tool_seconds)
        try:
            async with limit:
                return await served.toolset.call(call.name, call.text, context)
        except TimeoutError:
            if not limit.expired():
                raise
        return ToolResult(
            error=f"The tool was stopped after {self._bounds.tool_seconds:g} seconds (setting tool_seconds)."
        )


def _executions(rows: Sequence[EntryRow]) -> list[ToolExecutionEntry]:
    return [decode(row.body, ToolExecutionEntry) for row in rows if row.kind == "tool.execution"]


def _digest(name: object, arguments: str) -> str:
    return hashlib.blake2b(f"{name}\0{arguments}".encode(), digest_size=16).hexdigest()
