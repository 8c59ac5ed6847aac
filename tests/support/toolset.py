"""A toolset that plays a script: one tool that the server runs, and a record of its calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from causerie.tools.base import ToolContext, ToolDefinition, ToolResult
from causerie.types.tools import Tool


@dataclass
class ScriptedToolset:
    """Offers one tool; answers its calls with the queued results, then with "Result N"."""

    name: str = "web_search"
    parameters: dict[str, Any] = field(
        default_factory=lambda: {"type": "object", "properties": {"query": {"type": "string"}}}
    )
    results: list[ToolResult] = field(default_factory=list)
    calls: list[tuple[str, str, ToolContext]] = field(default_factory=list)

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        """Offer the one tool, whatever the configuration."""
        return [ToolDefinition(name=self.name, description="Searches.", parameters=self.parameters)]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Record the call and return the next result."""
        self.calls.append((name, arguments, context))
        return self.results.pop(0) if self.results else ToolResult(output=f"Result {len(self.calls)}")
