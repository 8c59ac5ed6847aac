"""A server in a process of its own, for tests that end it without warning: ``python -m tests.support.searching``.

It is `causerie serve` with one tool that it runs itself, whose calls are counted in a file. Arguments: the directory of
its data, the URL of its model server, and the file.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from causerie.serving import serve
from causerie.settings import Settings
from causerie.tools.base import ToolContext, ToolResult

from .spawned import Spawned, spawned
from .toolset import ScriptedToolset

ROOT = Path(__file__).parents[2]


@dataclass
class CountingToolset(ScriptedToolset):
    """Writes a line for every call; its results say how many there have been. A "stuck" one is told, and has none."""

    counts: Path = Path()

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Count the call."""
        with self.counts.open("a") as file:
            file.write(f"{arguments}\n")
        if "stuck" in arguments:
            print(f"stuck {arguments}", flush=True)  # whoever started this program reads it
            await asyncio.get_running_loop().create_future()
        return ToolResult(output=f"Result {len(self.counts.read_text().splitlines())}")


@contextmanager
def searching(data: Path, upstream: str, counts: Path) -> Iterator[tuple[Spawned, str]]:
    """Run the server; once it is up, yield the program and its URL."""
    command = [sys.executable, "-m", "tests.support.searching", data, upstream, counts]
    with spawned(command, cwd=ROOT) as program:
        url = program.line(r"^ +url +(http://\S+)")[1]
        program.line("Ctrl-C stops it")
        yield program, url


if __name__ == "__main__":
    folder, upstream_url, file = sys.argv[1:]
    serve(
        Settings(port=0, data=folder, upstream=upstream_url),
        toolsets={"web_search": CountingToolset(counts=Path(file))},
    )
