"""The port to tools that the server runs: what a toolset offers, and what a call of it returns.

A tool that fails is not an exception: its result says so, and the model reads it. A toolset knows no conversation
beyond the ids in its context, and never sees the store.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from causerie.types.tools import Tool


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A tool as it is offered to the model.

    Attributes:
        name: what the model calls it; unique in a run.
        parameters: the JSON Schema of its arguments.
        repeatable: whether running it twice does no harm; a crash between the two is then simply run again (D5).
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    repeatable: bool = False


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where a call comes from."""

    workspace: str
    conversation_id: str
    run_id: str
    tool_call_id: str


class ToolResult(msgspec.Struct, frozen=True, kw_only=True):
    """What a call came to.

    Attributes:
        output: the text that the model reads.
        info: what the entry shows of it (PROTOCOL §3, `info`).
        tokens: tokens that the tool itself used, where the toolset knows; counted as 0 where it does not.
        error: what went wrong, told to the model in place of `output`.
    """

    output: str = ""
    info: dict[str, Any] = {}
    tokens: int | None = None
    error: str | None = None


class Toolset(Protocol):
    """Something that offers tools for one ``type`` of wire tool."""

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        """Return what is offered to the model for this wire tool and its configuration."""
        ...

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Run one tool with its JSON `arguments`. Cancelling the caller cancels it."""
        ...
