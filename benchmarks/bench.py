"""What every round gets to work with, and what it returns."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import NamedTuple

import processes
from processes import Server, cpu_seconds
from wire import Connection

Numbers = dict[str, float]


class Bench(NamedTuple):
    """What every round needs: the upstream, how to start the server, and how long to look."""

    upstream_pid: int
    upstream_port: int
    template: str
    root: Path
    quick: bool = False
    per_write: int = 1

    def size(self, full: int, quick: int) -> int:
        """Return one of two sizes."""
        return quick if self.quick else full

    def server(self, upstream_port: int | None = None) -> AbstractAsyncContextManager[Server]:
        """Run a server under test on empty data, before the usual upstream or another one."""
        return processes.server(self.template, upstream_port or self.upstream_port, self.root)

    @asynccontextmanager
    async def both(self, server: Server) -> AsyncGenerator[tuple[Connection, Connection]]:
        """Open a connection to the server and one to the upstream."""
        ours, theirs = await Connection.open(server.port), await Connection.open(self.upstream_port)
        with closing(ours), closing(theirs):
            yield ours, theirs

    def cpu(self, server: Server) -> Callable[[], tuple[float, ...]]:
        """Return what reads the CPU time of server, upstream and load."""
        return lambda: (cpu_seconds(server.pid), cpu_seconds(self.upstream_pid), time.process_time())
