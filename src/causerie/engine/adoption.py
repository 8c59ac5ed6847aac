"""How a run that lost its owner is carried on: everything that its plan was made of is in the store (D4)."""

from __future__ import annotations

from collections.abc import Mapping

from causerie.ids import Clock
from causerie.stores.base import BEYOND, EntryRow, Range, RunKey, RunRow, Store
from causerie.tools.base import Toolset
from causerie.types.base import decode
from causerie.types.completion import CompletionArgs
from causerie.types.responses import ConversationUsageInfo

from .conversation import settings_of
from .history import History, Private
from .offer import offer
from .plan import Plan, Request
from .recent import Loaded
from .resume import caught_up

# A client may have seen outputs that were never durable. Their places are not given again: the adopted run counts on
# from a thousand that no earlier owner had: fencing numbers only grow.
INDEX_STEP = 1000


async def adopted_plan(
    store: Store, found: RunRow, key: RunKey, toolsets: Mapping[str, Toolset], clock: Clock
) -> tuple[Loaded, Plan]:
    """Read what is needed to carry `found` on.

    Raises:
        InvalidRequest: it needs a tool that is not offered any more.
    """
    row = await store.load(found.workspace, found.conversation_id, announced=False)
    request = decode(found.request, Request)
    beyond = await store.entries(found.workspace, [Range(row.id, row.head, BEYOND)])
    history = History().extended(await store.entries(found.workspace, row.ranges()))
    settings, outputs = settings_of(row), beyond[request.inputs :]
    plan = Plan(
        run_id=found.id, workspace=found.workspace, conversation_id=found.conversation_id, operation=found.operation,
        model=settings.model or "", instructions=settings.instructions,
        args=(settings.completion_args or CompletionArgs()).overridden_by(request.args),
        offer=await offer(settings.tools or [], toolsets), history=history, inputs=beyond[: request.inputs],
        stream=request.stream, started_at=found.started_at, repeats=request.repeats, adopted=True, outputs=outputs,
        missed=caught_up(found, outputs, None, clock),
        first_index=max(_next_index(outputs), INDEX_STEP * key.fence), model_calls=found.model_calls + 1,
        usage=decode(found.usage, ConversationUsageInfo) if found.usage else ConversationUsageInfo(),
        guardrails=request.guardrails,
    )  # fmt: skip
    return Loaded(row=row, settings=settings, history=history), plan


def _next_index(outputs: list[EntryRow]) -> int:
    last = decode(outputs[-1].private, Private).output_index if outputs and outputs[-1].private else None
    return ((last or 0) // INDEX_STEP + 1) * INDEX_STEP
