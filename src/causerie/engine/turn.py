"""What a turn leaves behind: its entries as rows, its chat messages beside them, its tokens counted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from causerie.stores.base import EntryRow
from causerie.tools.base import ToolResult
from causerie.types.entries import FunctionCallEntry, OutputEntry
from causerie.types.responses import ConversationUsageInfo
from causerie.upstreams.base import UsageDelta

from .calls import told
from .emit import Emitter, Pending
from .history import History, Private, row
from .prompt import Rendered, assistant_message, tool_message


class Announced(NamedTuple):
    """Where an entry stands in its run's events: its output index, and the number of its last event."""

    output_index: int
    event: int


class Turn(NamedTuple):
    """One model call and what it caused.

    Attributes:
        calls: those that the model's chat message keeps, in order.
        results: what came of those that the server made, by tool call id.
        announced: where each entry stands, by its id.
        cut: whether it was interrupted while the model was still writing.
    """

    said: Emitter
    calls: Sequence[Pending]
    results: Mapping[str, ToolResult]
    announced: Mapping[str, Announced]
    cut: bool = False

    def rows(self, entries: Sequence[OutputEntry], history: History, epoch: int) -> list[EntryRow]:
        """Turn the entries into rows that follow `history`; the turn's chat messages stand with the last."""
        upstream_ids = {call.entry_id: call.upstream_id for call in self.calls}
        rendered = Rendered(self._prompt(), len(entries) + (history.prefix is not None))
        found = []
        for index, entry in enumerate(entries):
            last = index == len(entries) - 1
            place = self.announced[str(entry.id)]
            private = Private(epoch=epoch, event=place.event, output_index=place.output_index, cut=self.cut and last)
            if isinstance(entry, FunctionCallEntry) and upstream_ids[str(entry.id)] != entry.tool_call_id:
                private.upstream_id = upstream_ids[str(entry.id)]
            found.append(row(entry, history.head + 1 + index, rendered if last else None, private))
        return found

    def _prompt(self) -> bytes:
        said = self.said
        message = assistant_message(
            "".join(said.text), [call.call for call in self.calls], reasoning="".join(said.reasoning),
            field=said.reasoning_field, signature=said.signature,
        )  # fmt: skip
        answered = [(call, self.results[call.tool_call_id]) for call in self.calls if call.tool_call_id in self.results]
        return b",".join([message, *(tool_message(call.upstream_id, told(result)) for call, result in answered)])


def count_model(usage: ConversationUsageInfo, used: UsageDelta | None) -> None:
    """Add the tokens of one model call, as far as the upstream counted them."""
    if used is not None:
        usage.prompt_tokens += used.prompt_tokens
        usage.completion_tokens += used.completion_tokens
        usage.total_tokens += used.prompt_tokens + used.completion_tokens


def count_tool(usage: ConversationUsageInfo, name: str, result: ToolResult) -> None:
    """Add one call of a tool, under the name that entries show."""
    tokens, connectors = result.tokens or 0, usage.connectors or {}
    usage.connector_tokens = (usage.connector_tokens or 0) + tokens
    usage.total_tokens += tokens
    usage.connectors = {**connectors, name: connectors.get(name, 0) + 1}
