"""How a run carries out the caller's words on calls that waited: what is allowed is made, then the model goes on."""

from __future__ import annotations

from collections.abc import Sequence

from causerie.stores.base import EntryRow, Settlement

from .calls import ToolCalls
from .confirmations import left, settlements, taken_up
from .emit import Pending
from .history import History
from .offer import Offer
from .plan import Plan
from .turn import Turn


class Words:
    """The words that a run was begun with.

    Attributes:
        settled: what they come to once the run is committed, as far as it has got with them.
    """

    def __init__(self, plan: Plan) -> None:
        """Take them up, or go on behind them: an earlier owner that left outputs had carried them out first."""
        self._words = plan.words
        head = plan.history.head + len(plan.inputs)
        self.settled: Sequence[Settlement] = settlements(plan.words, head) if plan.outputs else ()

    async def carry_out(self, turn: Turn, tools: ToolCalls, offer: Offer, history: History) -> list[EntryRow]:
        """Make the calls that are allowed and say again what still waits; return the rows of the executions."""
        calls = taken_up(self._words)
        turn.take_up(calls)
        await tools.answer(calls, turn, offer)
        rows = turn.rows(turn.close(), calls, history)
        self.settled = settlements(self._words, history.head)
        turn.say_again(left(history, self._words, ()))
        return rows

    def cut_short(self, made: Sequence[Pending], history: History) -> None:
        """The run was cancelled: of what is allowed, only what was `made` is settled; the rest waits again."""
        if history.calls:
            self.settled = settlements(self._words, history.head, {call.tool_call_id for call in made})
