"""Toolsets that play a script: one tool that the server runs, and a record of its calls."""

from __future__ import annotations

import asyncio
import json
import threading
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
    repeatable: bool = False

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        """Offer the one tool, whatever the configuration."""
        offered = ToolDefinition(
            name=self.name, description="Searches.", parameters=self.parameters, repeatable=self.repeatable
        )
        return [offered]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Record the call and return the next result."""
        self.calls.append((name, arguments, context))
        return self.results.pop(0) if self.results else ToolResult(output=f"Result {len(self.calls)}")


@dataclass
class HeldToolset(ScriptedToolset):
    """Holds each call whose query is "stuck" until it is stopped, and says when it is there and when it was stopped."""

    reached: threading.Event = field(default_factory=threading.Event)
    stopped: threading.Event = field(default_factory=threading.Event)

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Record the call; answer it, or wait to be stopped."""
        result = await super().call(name, arguments, context)
        if json.loads(arguments).get("query") != "stuck":
            return result
        self.reached.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            self.stopped.set()
