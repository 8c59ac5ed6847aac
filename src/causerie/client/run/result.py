"""How far a run has come, and what it came to; it can be written down, and gone on with elsewhere. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar

import msgspec

from causerie.client.models import (
    ConversationUsageInfo,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageOutputEntry,
    TextChunk,
    ToolCallConfirmation,
)
from causerie.client.unknown import Reading
from causerie.types.base import dumped, given

T = TypeVar("T")

_ENTRIES: Reading[list[Any]] = Reading(list[Entry])
_USAGE: Reading[ConversationUsageInfo] = Reading(ConversationUsageInfo)
_CALLS: Reading[list[FunctionCallEntry]] = Reading(list[FunctionCallEntry])
_RESULTS: Reading[list[FunctionResultEntry]] = Reading(list[FunctionResultEntry])
_CONFIRMATIONS: Reading[list[ToolCallConfirmation]] = Reading(list[ToolCallConfirmation])

_KEPT = ("conversation_id", "entries", "usage", "turns", "inputs", "waiting", "results", "confirmations")


@dataclass(kw_only=True)
class RunResult(Generic[T]):
    """What a run came to, or how far it came before it stopped.

    Attributes:
        conversation_id: the conversation; None if it has not been started.
        entries: what the model said and called and what the functions returned, in order.
        usage: tokens, summed over all turns.
        turns: how often the server was asked.
        output: the answer as the type that was asked for; None where none was, or where there is no answer yet.
        inputs: what was to be said and has not been answered yet; None once it is.
        waiting: calls that nobody has decided about. While there is one the run stands still.
        results: what calls came to that the model has not been told yet.
        confirmations: likewise, what was decided about calls of the server's tools.
    """

    conversation_id: str | None = None
    entries: list[Any] = field(default_factory=list)
    usage: ConversationUsageInfo = field(default_factory=ConversationUsageInfo)
    turns: int = 0
    output: T | None = None
    inputs: Any = None
    waiting: list[FunctionCallEntry] = field(default_factory=list)
    results: list[FunctionResultEntry] = field(default_factory=list)
    confirmations: list[ToolCallConfirmation] = field(default_factory=list)

    @property
    def text(self) -> str:
        """The answer: what the model has said since the last call."""
        said = list[str]()
        for entry in reversed(self.entries):
            if isinstance(entry, FunctionCallEntry | FunctionResultEntry):
                break
            if isinstance(entry, MessageOutputEntry):
                said.append(_text(entry.content))
        return "\n".join(reversed(said))

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain objects that JSON can hold; `output` is left out, for it is in the text."""
        return {name: msgspec.to_builtins(getattr(self, name), enc_hook=dumped) for name in _KEPT}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `to_dict` wrote down.

        Raises:
            TypeError: it is something else.
        """
        if missing := [name for name in _KEPT if name not in stored]:
            raise TypeError(f"That is not what to_dict of a run returned: it has no {', '.join(missing)}.")
        return cls(
            conversation_id=stored["conversation_id"], turns=stored["turns"], entries=_ENTRIES.fit(stored["entries"]),
            usage=_USAGE.fit(stored["usage"]), inputs=stored["inputs"], waiting=_CALLS.fit(stored["waiting"]),
            results=_RESULTS.fit(stored["results"]), confirmations=_CONFIRMATIONS.fit(stored["confirmations"]),
        )  # fmt: skip

    def take(self, outputs: Sequence[Any], usage: ConversationUsageInfo) -> None:
        """Take what one turn brought."""
        self.entries += outputs
        self.turns += 1
        self.inputs = None
        self.results, self.confirmations = [], []
        self.waiting = [one for one in outputs if isinstance(one, FunctionCallEntry)]
        total = self.usage
        total.prompt_tokens += usage.prompt_tokens
        total.completion_tokens += usage.completion_tokens
        total.total_tokens += usage.total_tokens
        if given(usage.connector_tokens, 0) or given(usage.connectors, {}):
            total.connector_tokens = given(total.connector_tokens, 0) + given(usage.connector_tokens, 0)
            before, now = given(total.connectors, {}), given(usage.connectors, {})
            total.connectors = {name: before.get(name, 0) + now.get(name, 0) for name in [*before, *now]}


def open_calls(entries: Sequence[Any]) -> list[FunctionCallEntry]:
    """Return the calls of a history that have no result and were not settled otherwise."""
    answered, found = set[str](), list[FunctionCallEntry]()
    # From the end: an id may come again once its earlier call is closed.
    for entry in reversed(entries):
        if isinstance(entry, FunctionResultEntry):
            answered.add(entry.tool_call_id)
        elif isinstance(entry, FunctionCallEntry) and entry.tool_call_id not in answered:
            found += [entry] if entry.confirmation_status not in ("allowed", "denied") else []
    return found[::-1]


def _text(content: str | Sequence[Any]) -> str:
    if isinstance(content, str):
        return content
    return "".join(chunk.text for chunk in content if isinstance(chunk, TextChunk))
