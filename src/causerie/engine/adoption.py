"""How a run that lost its owner is carried on: everything that its plan was made of is in the store (D4)."""

from __future__ import annotations

from causerie.ids import Clock
from causerie.stores.base import BEYOND, EntryRow, Range, RunKey, RunRow, Store
from causerie.types.base import decode
from causerie.types.responses import ConversationUsageInfo

from .confirmations import recalled
from .conversation import settings_of
from .history import History, Private
from .plan import Plan, Request
from .recent import Loaded
from .resume import caught_up
from .speaker import Casting

# A client may have seen outputs that were never durable. Their places are not given again: the adopted run counts on
# from a thousand that no earlier owner had: fencing numbers only grow.
INDEX_STEP = 1000


async def adopted_plan(store: Store, found: RunRow, key: RunKey, casting: Casting, clock: Clock) -> tuple[Loaded, Plan]:
    """Read what is needed to carry `found` on.

    Raises:
        InvalidRequest: it needs a tool that is not offered any more, or an agent of which nothing is left.
    """
    row = await store.load(found.workspace, found.conversation_id, announced=False)
    request = decode(found.request, Request)
    beyond = await store.entries(found.workspace, [Range(row.id, row.head, BEYOND)])
    history = History().extended(await store.entries(found.workspace, row.ranges()), row.settlements)
    settings, outputs = settings_of(row), beyond[request.inputs :]
    cast = await casting.again(found.workspace, settings, request.agents, request.args)
    handed_over = any(output.kind == "agent.handoff" for output in outputs)
    agent_id = history.extended(beyond).agent or settings.agent_id
    plan = Plan(
        run_id=found.id, workspace=found.workspace, conversation_id=found.conversation_id, operation=found.operation,
        speaker=await cast.speaker(agent_id, demanded=handed_over), cast=cast, history=history,
        inputs=beyond[: request.inputs], stream=request.stream, started_at=found.started_at,
        handoff_execution=request.handoffs, repeats=request.repeats, adopted=True, outputs=outputs,
        missed=caught_up(found, outputs, None, clock),
        first_index=max(_next_index(outputs), INDEX_STEP * key.fence), model_calls=found.model_calls + 1,
        handoffs=found.handoffs, words=recalled(request.confirmations, history),
        usage=decode(found.usage, ConversationUsageInfo) if found.usage else ConversationUsageInfo(),
        guardrails=request.guardrails,
    )  # fmt: skip
    return Loaded(row=row, settings=settings, history=history), plan


def _next_index(outputs: list[EntryRow]) -> int:
    last = decode(outputs[-1].private, Private).output_index if outputs and outputs[-1].private else None
    return ((last or 0) // INDEX_STEP + 1) * INDEX_STEP
