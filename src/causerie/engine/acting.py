"""As whom a run speaks just now, and how the word passes from one agent to the next."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from causerie.errors import BadRequest
from causerie.tools.base import ToolResult
from causerie.upstreams.base import ModelRequest

from . import handoffs
from .emit import Emitter, Pending
from .history import History
from .offer import Offer
from .plan import Bounds, Plan
from .prompt import messages
from .speaker import DEMANDS, Speaker
from .step import CallTools, HandOver, Step, next_step
from .turn import Turn


class Acting:
    """The speaker of a run, from one handoff to the next.

    Attributes:
        handoffs: how many the run has made, its earlier owners' included.
    """

    def __init__(self, plan: Plan, bounds: Bounds) -> None:
        """Begin with the plan's speaker."""
        self.speaker: Speaker = plan.speaker
        self.handoffs = plan.handoffs
        self._cast, self._bounds, self._goes_on = plan.cast, bounds, plan.handoff_execution == "server"
        self._asked = bool(plan.outputs) and plan.outputs[-1].kind != "agent.handoff"

    @property
    def offer(self) -> Offer:
        """What the speaker may call."""
        return self.speaker.offer

    def request(self, history: History, *, stream: bool) -> ModelRequest:
        """Return what the model is asked next."""
        speaker, args = self.speaker, self.speaker.args
        if self._asked and args.tool_choice in DEMANDS:
            # A demand for a call is met by the first; repeated with its results, the model could never answer.
            args = msgspec.structs.replace(args, tool_choice="auto")
        self._asked = True
        return ModelRequest(
            model=speaker.model, messages=messages(speaker.instructions, history.parts, history.tail()),
            tools=speaker.offer.rendered, args=args, stream=stream, prefix=history.prefix,
        )  # fmt: skip

    def next_step(self, calls: Sequence[Pending]) -> Step:
        """Say what follows a turn that made `calls`.

        Raises:
            BadRequest: a handoff, and the run has made as many as it may.
        """
        step = next_step(calls, self.offer.at_once, self.offer.handoffs)
        if isinstance(step, HandOver) and self.handoffs >= self._bounds.handoffs:
            raise BadRequest(
                f"The run was handed over between agents {self._bounds.handoffs} times without coming to an answer "
                "(setting max_handoffs). History is as it was before."
            )
        return step

    def settle(self) -> None:
        """A call that the model made was allowed or denied: no other can be demanded of it."""
        self._asked = True

    def goes_on(self, step: Step) -> bool:
        """Whether the model is asked again after `step`."""
        return isinstance(step, CallTools) or (isinstance(step, HandOver) and self._goes_on)

    def hand_over(self, step: Step, calls: Sequence[Pending], turn: Turn) -> None:
        """Say what came of the handoffs among `calls`: the first is made, unless the caller has to answer before."""
        targets = self.offer.handoffs
        for call in calls:
            if call.name not in targets:
                continue
            told = handoffs.FUNCTIONS_FIRST
            if isinstance(step, HandOver):
                target = targets[step.call.name]
                told = handoffs.made(target) if call is step.call else handoffs.beside(target)
            turn.results[call.tool_call_id] = ToolResult(output=told)
        if isinstance(step, HandOver) and self.speaker.agent is not None:
            self.handoffs += 1
            turn.publish(turn.emitter.handed_over(step.call, self.speaker.agent, targets[step.call.name]))

    async def follow(self, step: Step, emitter: Emitter) -> None:
        """Speak as whom the conversation was handed over to, if it was."""
        if isinstance(step, HandOver):
            self.speaker = await self._cast.speaker(self.offer.handoffs[step.call.name].id, demanded=True)
            self._asked = False
            emitter.speak_as(self.speaker.model, self.speaker.agent_id)
