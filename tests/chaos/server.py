"""The server that chaos kills: ``python -m tests.chaos.server DATA UPSTREAM EFFECTS BEAT_SECONDS KEEP_SECONDS``.

It imports everything, then waits for its port on standard input before it opens anything: so the next server is ready
while the last one dies. Its tools write down every time they take effect, in a file that outlives it.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from causerie import build, serving
from causerie.engine.engine import Engine
from causerie.errors import CauserieError
from causerie.settings import Settings
from causerie.tools.base import ToolContext, ToolDefinition, ToolResult
from causerie.types.tools import Tool

from .asking import SERVED, WIRE_TYPE, Act, result_of
from .timing import elapse

_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class CountingToolset:
    """Tools whose one effect is a line in a file; one line too many is a bill paid twice."""

    def __init__(self, effects: Path) -> None:
        """Write to the file `effects`."""
        self._file = os.open(effects, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        """Offer the tool that must not run twice, and the one that may."""
        return [ToolDefinition(name=name, repeatable=repeatable) for name, repeatable in SERVED.items()]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Take effect, somewhere between beginning and end."""
        act = msgspec.json.decode(arguments, type=Act)
        await elapse(act.before / 1000)
        await asyncio.to_thread(self._take_effect, name, act.call)
        await elapse(act.after / 1000)
        return ToolResult(output=result_of(act.call), info={"call": act.call})

    def _take_effect(self, name: str, call: str) -> None:
        # The monotonic clock is the whole machine's: it can be compared with what the model server notes.
        os.write(self._file, f"{name} {call} {time.monotonic()}\n".encode())
        os.fsync(self._file)


def main(data: str, upstream: str, effects: str, beat_seconds: str, keep_seconds: str) -> None:
    """Wait for a port, then serve on it until killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)  # also where it is stopped and could not notice
    toolset = CountingToolset(Path(effects))
    build.Engine = functools.partial(Engine, beat_seconds=float(beat_seconds))  # type: ignore[assignment, misc]
    port = sys.stdin.readline()
    if port.strip():
        settings = Settings(
            port=int(port), data=data, upstream=upstream, model="chaos", keep_alive_seconds=0.25,
            keep_run_seconds=float(keep_seconds),
        )  # fmt: skip
        try:
            serving.serve(settings, toolsets={WIRE_TYPE: toolset})
        except CauserieError as error:
            sys.exit(error.message)


if __name__ == "__main__":
    main(*sys.argv[1:])
