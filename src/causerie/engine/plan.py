"""What a run begins with, what it may use, and what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from causerie.stores.base import EntryRow, Operation, Repeat
from causerie.types.base import encode
from causerie.types.completion import CompletionArgs
from causerie.types.requests import HandoffExecution
from causerie.types.responses import ConversationUsageInfo

from .confirmations import Word
from .history import History
from .runlog import Numbered
from .speaker import Cast, Speaker


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """What a run may use; passing one ends it as failed, with a message that names the setting."""

    model_calls: int = 32
    handoffs: int = 16
    seconds: float = 600
    tool_seconds: float = 60
    tool_output_bytes: int = 1024 * 1024


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored of a request, so that whoever adopts its run can carry it on (D4).

    Attributes:
        args: the override for this run alone.
        inputs: how many of the entries beyond the head came from the caller.
        agents: the version of each agent that the run may come to speak as.
        confirmations: which of the calls that waited are allowed, and which denied.
        left: the entries of calls that stay open all the same, for which the run ends without asking the model.
        handoffs: whether a handoff ends the run, for the client to see to, or the run goes on as the next agent.
        guardrails: what they came to before the run began; None without any.
    """

    args: CompletionArgs | None = None
    inputs: int = 0
    agents: dict[str, int] = {}
    confirmations: dict[str, bool] = {}
    left: list[str] = []
    handoffs: HandoffExecution = "server"
    stream: bool = False
    repeats: bool = False
    guardrails: list[dict[str, Any]] | None = None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run begins with, decided before it does.

    Attributes:
        history: what there was before the inputs.
        inputs: the new entries, as rows.
        words: what the caller says of calls that wait.
        outputs: what an earlier owner of the run had made durable; `missed` is that as events.
        model_calls, handoffs, usage: what that owner had used.
        speaker: as whom the model is asked first.
        cast: as whom the run may come to ask it.
        handoff_execution: whether a handoff ends the run, for the client to see to.
        stream: whether the caller wants pieces; otherwise the upstream may be asked for a plain answer (D9).
        repeats: whether the answer is kept for a retry under the same idempotency key: `repeat`, while that is known.
        guardrails: what they came to; None without any.
    """

    run_id: str
    workspace: str
    conversation_id: str
    operation: Operation
    speaker: Speaker
    cast: Cast
    history: History
    inputs: Sequence[EntryRow]
    stream: bool
    words: Sequence[Word] = ()
    started_at: datetime
    handoff_execution: HandoffExecution = "server"
    repeats: bool = False
    repeat: Repeat | None = None
    adopted: bool = False
    outputs: Sequence[EntryRow] = ()
    missed: Sequence[Numbered] = ()
    first_index: int = 0
    model_calls: int = 0
    handoffs: int = 0
    usage: ConversationUsageInfo = msgspec.field(default_factory=ConversationUsageInfo)
    guardrails: list[dict[str, Any]] | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run came to: its entries encoded once, ready for the answer."""

    conversation_id: str
    outputs: Sequence[bytes]
    usage: ConversationUsageInfo
    history: History
    cancelled: bool = False
    discard: Sequence[str] = ()
    guardrails: list[dict[str, Any]] | None = None

    @property
    def body(self) -> bytes:
        """The `ConversationResponse`, joined from what is encoded already."""
        return response_body(self.conversation_id, self.outputs, self.usage, self.guardrails)


def response_body(
    conversation_id: str, outputs: Sequence[bytes], usage: ConversationUsageInfo,
    guardrails: list[dict[str, Any]] | None,
) -> bytes:  # fmt: skip
    """Join a `ConversationResponse` from encoded entries."""
    return b'{"object":"conversation.response","conversation_id":%b,"outputs":[%b],"usage":%b,"guardrails":%b}' % (
        encode(conversation_id), b",".join(outputs), encode(usage), encode(guardrails),
    )  # fmt: skip
