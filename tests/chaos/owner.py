"""The server processes of chaos: one ready in reserve, one that serves, each ended by its own process id."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from .book import Book
from .timing import dice, elapse

HOST = "127.0.0.1"
PATIENCE = 20.0
_ROOT = Path(__file__).parents[2]
_LOW_PORTS = range(20_000, 32_000)


@dataclass(frozen=True)
class Scene:
    """Where it all happens: a folder of its own, the model server, and the pace of the owner's heart."""

    folder: Path
    upstream: str
    beat_seconds: float
    keep_seconds: float

    @property
    def data(self) -> Path:
        """The folder of the database."""
        return self.folder / "data"

    @property
    def effects(self) -> Path:
        """The file with a line for every time that a tool took effect."""
        return self.folder / "effects"

    @property
    def database(self) -> Path:
        """The database."""
        return self.data / "causerie.db"

    @property
    def is_writable(self) -> bool:
        """Whether nobody is in the middle of a transaction."""
        with closing(sqlite3.connect(self.database, isolation_level=None, timeout=0)) as db:
            try:
                db.execute("BEGIN IMMEDIATE")
                db.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return False
        return True

    @property
    def lock(self) -> Path:
        """The file by which one process keeps others out of the database."""
        return self.database.with_name("causerie.db.lock")


class Owner:
    """One server process: in reserve until `go`, then serving, perhaps stopped, at last dead."""

    def __init__(self, scene: Scene, number: int) -> None:
        """Start the process; it imports everything and waits for its port."""
        self._log = scene.folder / f"server-{number:05d}.log"
        command = [
            sys.executable, "-m", "tests.chaos.server", scene.data, scene.upstream, scene.effects,
            str(scene.beat_seconds), str(scene.keep_seconds),
        ]  # fmt: skip
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command], cwd=_ROOT, env=_environment(), stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self.url = ""

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text("utf-8", "replace")

    def go(self, port: int) -> None:
        """Let it open the database and listen on `port`."""
        self.url = f"http://{HOST}:{port}"
        pipe = self._process.stdin
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.write(f"{port}\n".encode())
                pipe.flush()

    async def ready(self, session: aiohttp.ClientSession, patience: float = PATIENCE) -> bool:
        """Wait until it answers; False if it ends before that, or takes too long."""
        deadline = asyncio.get_running_loop().time() + patience
        while self.is_alive and asyncio.get_running_loop().time() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with session.get(f"{self.url}/health", timeout=aiohttp.ClientTimeout(total=1)) as response:
                    if response.status == 200:
                        return True
            await elapse(0.01)
        return False

    def stop(self) -> None:
        """Stop it where it is, as a debugger or a host that pages does."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without warning."""
        self._process.kill()
        self._process.wait(PATIENCE)
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def tell(self, book: Book) -> None:
        """Note what its log says."""
        adopted = set[str]()
        for line in self.log.splitlines():
            said = _parsed(line)
            event, run_id = said.get("event"), said.get("run_id")
            if event == "run.adopted":
                book.count("adopted runs")
                if run_id in adopted:
                    book.blame("doubled", f"{self._log.name}: run {run_id} was adopted twice by one process")
                adopted.add(run_id)
            elif event == "owner.superseded":
                book.count("owners that saw that they were superseded")
            elif event in ("run.fault", "request.fault") or "Traceback" in line:
                book.blame("faults", f"{self._log.name}: {line[:2000]}")


def free_port(seed: int) -> int:
    """Return a port that nobody listens on.

    Not one that the system hands out by itself: a client that calls a dead server there can end up talking to itself.
    """
    ports = dice(seed ^ os.getpid(), "port").sample(_LOW_PORTS, 200)
    for port in ports:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port
    raise OSError("no port is free")


def _parsed(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}  # the line that a kill cut short, or no line of ours
    return said if isinstance(said, dict) else {}


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CAUSERIE_", "PYTEST_"))}
    return kept | {"PYTHONPATH": str(_ROOT / "src")}
