"""A small MCP server that speaks over its standard input and output: ``python local_mcp.py``."""

from __future__ import annotations

import importlib
from typing import Any

# The newer generation of `mcp` calls the same thing by another name.
try:
    Server: Any = importlib.import_module("mcp.server.mcpserver").MCPServer
except ModuleNotFoundError:
    Server = importlib.import_module("mcp.server.fastmcp").FastMCP

server = Server("rates")


@server.tool()
def get_rate(date: str) -> str:
    """Return the interest rate of a day."""
    return f"2.5% on {date}"


@server.tool()
def forget_rates() -> str:
    """Forget all rates."""
    return "forgotten"


if __name__ == "__main__":
    server.run("stdio")
