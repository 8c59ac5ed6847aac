"""The processes that are measured: started, waited for, looked at through /proc, and always ended by their id."""

from __future__ import annotations

import asyncio
import ctypes
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import IO, NamedTuple

from wire import HOST, Connection, WireError, get

HERE = Path(__file__).resolve().parent
SERVE = "{python} -m causerie serve --port {port} --data {data} --upstream {upstream} --model bench"
START_LIMIT = 30.0
_TICK = os.sysconf("SC_CLK_TCK")
_LIVE: set[int] = set()
_LIBC = ctypes.CDLL(None)
_SET_PARENT_DEATH_SIGNAL = 1


class ProcessError(Exception):
    """A process did not start, or died."""


class Memory(NamedTuple):
    """Memory of a process in MiB: resident, and its fair share of what is shared."""

    rss: float
    pss: float


class Server(NamedTuple):
    """A server under test that answers."""

    pid: int
    port: int
    healthy_after: float
    started_at: float


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, all its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


def memory(pid: int) -> Memory:
    """Return what a process holds in memory."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
    return Memory(kib["Rss"] / 1024, kib["Pss"] / 1024)


def own_cpu() -> float:
    """Return the CPU time of this process, of its ended children and of those still alive."""
    return sum(os.times()[:4]) + sum(map(cpu_seconds, _LIVE))


def machine_cpu() -> float:
    """Return the CPU time that the whole machine has spent busy; what a hypervisor took away counts."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICK


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def child(
    command: Sequence[str],
    *,
    stdin: int,
    stdout: int | IO[bytes],
    stderr: int | None = None,
) -> Generator[subprocess.Popen[bytes]]:
    """Run a process for as long as the block lasts."""
    process = subprocess.Popen(  # noqa: S603
        command,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        preexec_fn=_die_with_parent,  # noqa: PLW1509
    )
    _LIVE.add(process.pid)
    try:
        yield process
    finally:
        _LIVE.discard(process.pid)
        _end(process)


def _die_with_parent() -> None:
    # Runs in the child before its program does: a benchmark that is killed outright leaves nobody behind.
    _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


@contextmanager
def upstream() -> Generator[tuple[int, int]]:
    """Run the fake model server; yields its process id and port."""
    with _listening("upstream.py", "--attached") as listening:
        yield listening


@contextmanager
def canned() -> Generator[int]:
    """Run the server that has its answers ready; yields its port."""
    with _listening("canned.py") as (_, port):
        yield port


@contextmanager
def _listening(name: str, *flags: str) -> Generator[tuple[int, int]]:
    with child((sys.executable, str(HERE / name), *flags), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        line = process.stdout.readline() if process.stdout else b""
        if not line:
            raise ProcessError(f"{name} did not start")
        yield process.pid, int(line)


@asynccontextmanager
async def server(template: str, upstream_port: int, root: Path) -> AsyncGenerator[Server]:
    """Run the server under test on a data directory of its own below `root`, from when it is healthy.

    Raises:
        ProcessError: it ended, or was not healthy in time. The end of its output is in the message.
    """
    data = Path(tempfile.mkdtemp(prefix="data-", dir=root))
    log = data.with_suffix(".log")
    port = free_port()
    names = {"python": sys.executable, "port": port, "data": data, "upstream": f"http://{HOST}:{upstream_port}/v1"}
    command = [part.format(**names) for part in shlex.split(template)]
    try:
        with log.open("wb") as output:
            began = time.perf_counter()
            with child(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT) as process:
                await _healthy(process, port, began, log)
                yield Server(process.pid, port, time.perf_counter() - began, began)
                if process.poll() is not None:
                    raise ProcessError(f"the server ended with {process.returncode}{_tail(log)}")
    finally:
        shutil.rmtree(data, ignore_errors=True)


async def _healthy(process: subprocess.Popen[bytes], port: int, began: float, log: Path) -> None:
    while time.perf_counter() - began < START_LIMIT:
        if process.poll() is not None:
            raise ProcessError(f"the server ended with {process.returncode} before it was healthy{_tail(log)}")
        try:
            connection = await Connection.open(port)
        except OSError:
            await asyncio.sleep(0.005)
            continue
        try:
            answer = await asyncio.wait_for(connection.request(get(port, "/health")), START_LIMIT)
        except WireError:
            continue
        finally:
            connection.close()
        if answer.status == HTTPStatus.OK:
            return
        await asyncio.sleep(0.005)
    raise ProcessError(f"GET /health was not 200 within {START_LIMIT:.0f} s{_tail(log)}")


def _tail(log: Path) -> str:
    return "\n" + log.read_text(errors="replace")[-2000:]


def python(code: str, interpreter: str = sys.executable) -> tuple[float, str]:
    """Run `code` in a fresh interpreter; return the seconds that it took and what it printed.

    Raises:
        ProcessError: it failed.
    """
    began = time.perf_counter()
    printed = run((interpreter, "-c", code))
    return time.perf_counter() - began, printed


def run(command: Sequence[str], limit: float = 30.0) -> str:
    """Run a program to its end; return what it printed.

    Raises:
        ProcessError: it failed, or took longer than `limit` seconds.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"{' '.join(command)} took longer than {limit:.0f} s") from error
    if done.returncode:
        raise ProcessError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    return done.stdout


def durable_write_ms(root: Path) -> float:
    """Return what appending 4 kB and forcing it to the disk below `root` costs, in the middle of fifty."""
    seconds = []
    with tempfile.TemporaryFile(dir=root) as file:
        for _ in range(50):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[25] * 1000


def filesystem(path: Path) -> str:
    """Return the type of the file system that `path` is on."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, mount, kind, *_ = line.split()
        if path.is_relative_to(mount) and len(mount) >= len(best[0]):
            best = (mount, kind)
    return best[1]
