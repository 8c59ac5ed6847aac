"""Runs a program and notes what it writes and syncs, in the order in which it happens: ``trace.py LOG PROGRAM ...``.

A small `strace`, of nothing but Python: every thread is stopped by ptrace(2) where a system call begins and where it
has returned. A line of LOG is a JSON object, `reading.Call`. The program has the tracer's input and output, gets its
SIGTERM, and gives it its exit code; where tracing is not permitted that is NOT_PERMITTED, with the reason on stderr.

It has to be the program's parent, and imports nothing of the project.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import platform
import signal
import struct
import sys
from collections.abc import Callable
from typing import IO, Any

NOT_PERMITTED = 77
MOST_BYTES = 1 << 20

_TRACEME, _SYSCALL, _SETOPTIONS, _GET_SYSCALL_INFO = 0, 24, 0x4200, 0x420E
_OPTIONS = 0x1 | 0x8 | 0x10 | 0x100000  # mark system calls; follow threads; note exec; kill what is traced at the end
_ALL_THREADS = 0x40000000  # __WALL
_SYSCALL_STOP = signal.SIGTRAP | 0x80
_ENTRY, _EXIT = 1, 2
_INFO = struct.Struct("=B3xIQQ7Q")  # kind, architecture, two pointers, then number and arguments, or the result

_NUMBERS = {
    "x86_64": {1: "write", 18: "pwrite64", 20: "writev", 296: "pwritev", 44: "sendto", 46: "sendmsg", 74: "fsync",
               75: "fdatasync"},
    "aarch64": {64: "write", 68: "pwrite64", 66: "writev", 70: "pwritev", 206: "sendto", 211: "sendmsg", 82: "fsync",
                83: "fdatasync"},
}  # fmt: skip


class NotPermitted(Exception):
    """This machine does not let a process trace its own child."""


class Tracer:
    """Follows one program and all of its threads."""

    def __init__(self, log: IO[str]) -> None:
        self._log = log
        self._ptrace = ctypes.CDLL(None, use_errno=True).ptrace
        self._ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self._ptrace.restype = ctypes.c_long
        self._names = _NUMBERS.get(platform.machine(), {})
        self._pending = dict[int, dict[str, Any]]()
        self._seen = set[int]()
        self._number = 0
        self._child = 0

    def run(self, command: list[str]) -> int:
        """Run `command` to its end; return its exit code.

        Raises:
            NotPermitted: it cannot be traced here.
        """
        if not self._names:
            raise NotPermitted(f"the system calls of {platform.system()} on {platform.machine()} are not known")
        self._child = self._fork(command)
        _, status = os.waitpid(self._child, 0)
        if not os.WIFSTOPPED(status):
            raise NotPermitted(os.strerror(os.waitstatus_to_exitcode(status)))
        self._seen.add(self._child)
        self._call(_SETOPTIONS, self._child, 0, _OPTIONS)
        self._call(_SYSCALL, self._child, 0, 0)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(self._child, signal.SIGTERM))
        while True:
            thread, status = os.waitpid(-1, _ALL_THREADS)
            if os.WIFSTOPPED(status):
                self._go_on(thread, self._stopped(thread, status))
            elif thread == self._child:
                return os.waitstatus_to_exitcode(status)

    def _fork(self, command: list[str]) -> int:
        child = os.fork()
        if child:
            return child
        try:
            self._call(_TRACEME, 0, 0, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execvp(command[0], command)  # noqa: S606  # it runs what it is told to
        except OSError as error:
            os._exit(error.errno or 1)

    def _stopped(self, thread: int, status: int) -> int:
        """See to a thread that stands still; return the signal that it still has to get."""
        number, event = os.WSTOPSIG(status), status >> 16
        if number == _SYSCALL_STOP:
            self._system_call(thread)
            return 0
        first = thread not in self._seen
        self._seen.add(thread)
        if event or (first and number == signal.SIGSTOP):
            return 0
        return number

    def _go_on(self, thread: int, number: int) -> None:
        try:
            self._call(_SYSCALL, thread, 0, number)
        except ProcessLookupError:
            self._pending.pop(thread, None)  # it was killed while it stood still

    def _system_call(self, thread: int) -> None:
        info = ctypes.create_string_buffer(_INFO.size)
        try:
            self._call(_GET_SYSCALL_INFO, thread, _INFO.size, ctypes.addressof(info))
        except ProcessLookupError:
            return
        except OSError as error:
            raise NotPermitted(f"this kernel does not describe system calls to a tracer ({error})") from error
        kind, _, _, _, first, *arguments = _INFO.unpack(info.raw)
        if kind == _ENTRY and (name := self._names.get(first)):
            self._entered(thread, name, arguments)
        elif kind == _EXIT and (call := self._pending.pop(thread, None)):
            self._note(call | {"stage": "return", "data": "", "result": ctypes.c_int64(first).value})

    def _entered(self, thread: int, name: str, arguments: list[int]) -> None:
        path = self._path(arguments[0])
        if path is None:
            return
        data = b"" if name in {"fsync", "fdatasync"} else _READERS[name](self._memory, arguments)
        call = {"thread": thread, "name": name, "path": path, "data": base64.b64encode(data).decode()}
        self._pending[thread] = call
        self._note(call | {"stage": "enter", "result": None})

    def _path(self, file: int) -> str | None:
        try:
            return os.readlink(f"/proc/{self._child}/fd/{file}")  # noqa: PTH115  # many times a second
        except OSError:
            return None

    def _memory(self, address: int, size: int) -> bytes:
        with open(f"/proc/{self._child}/mem", "rb", buffering=0) as memory:  # noqa: PTH123  # it is no usual file
            memory.seek(address)
            return memory.read(min(size, MOST_BYTES))

    def _note(self, call: dict[str, Any]) -> None:
        self._number += 1
        self._log.write(json.dumps({"number": self._number} | call) + "\n")

    def _call(self, request: int, thread: int, address: int, data: int) -> None:
        if self._ptrace(request, thread, address, data) == -1:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


Memory = Callable[[int, int], bytes]


def _buffer(memory: Memory, arguments: list[int]) -> bytes:
    return memory(arguments[1], arguments[2])


def _vector(memory: Memory, arguments: list[int]) -> bytes:
    parts = struct.iter_unpack("=QQ", memory(arguments[1], 16 * arguments[2]))
    return b"".join(memory(address, size) for address, size in parts)


def _message(memory: Memory, arguments: list[int]) -> bytes:
    vector, count = struct.unpack("=16xQQ", memory(arguments[1], 32))
    return _vector(memory, [0, vector, count])


_READERS: dict[str, Callable[[Memory, list[int]], bytes]] = {
    "write": _buffer, "pwrite64": _buffer, "sendto": _buffer, "writev": _vector, "pwritev": _vector,
    "sendmsg": _message,
}  # fmt: skip


def main(path: str, *command: str) -> int:
    """Trace a program; return the exit code to leave with."""
    with open(path, "w", encoding="utf-8") as log:  # noqa: PTH123  # so that nothing more has to be imported
        try:
            return Tracer(log).run(list(command))
        except (NotPermitted, PermissionError) as error:
            print(f"tracing is not permitted: {error}", file=sys.stderr)
            return NOT_PERMITTED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
