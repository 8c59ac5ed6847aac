"""How the end of a run is told: to those who read its events, and in the one line that the log gets of it."""

from __future__ import annotations

from datetime import datetime

import structlog

from causerie.errors import APIError, CauserieError, ServerFault
from causerie.types.base import UNSET
from causerie.types.events import Event, ResponseDoneEvent, ResponseErrorEvent, RunCancelledEvent
from causerie.types.responses import ConversationUsageInfo

from .plan import Outcome, Plan
from .speaker import Speaker

log = structlog.get_logger("causerie.run")


def ending(outcome: Outcome | CauserieError, run_id: str, now: datetime) -> list[Event]:
    """Return the events with which a run ends (PROTOCOL §8)."""
    if isinstance(outcome, CauserieError):
        status = outcome.status_code if isinstance(outcome, APIError) else ServerFault.status_code
        return [ResponseErrorEvent(created_at=now, message=outcome.message, code=status)]
    done = ResponseDoneEvent(created_at=now, usage=outcome.usage, guardrails=outcome.guardrails or UNSET)
    if outcome.cancelled:
        return [RunCancelledEvent(created_at=now, run_id=run_id, discard=list(outcome.discard)), done]
    return [done]


def log_end(
    plan: Plan, speaker: Speaker, outcome: Outcome | CauserieError, *, left: bool, outputs: int,
    usage: ConversationUsageInfo, model_calls: int, handoffs: int, seconds: float,
) -> None:  # fmt: skip
    """Log that a run is over.

    Args:
        speaker: as whom the model was asked last.
        left: it did not fail, but goes on at another owner.
        outputs: how many entries it has made durable.
        seconds: how long it took here.
    """
    if isinstance(outcome, CauserieError):
        event, error = "run.left" if left else "run.failed", {"error": outcome.message}
    else:
        event, error = "run.cancelled" if outcome.cancelled else "run.done", {}
    log.info(
        event, run_id=plan.run_id, conversation_id=plan.conversation_id, workspace=plan.workspace,
        operation=plan.operation, model=speaker.model, agent_id=speaker.agent_id or None, model_calls=model_calls,
        handoffs=handoffs, outputs=outputs, prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens, milliseconds=round(seconds * 1000, 1),
        **error,
    )  # fmt: skip
