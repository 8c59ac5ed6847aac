"""A proxy on loopback that cuts the answers that pass through it after so many bytes."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from urllib.parse import urlsplit

from tests.support.replies import PATIENCE

RESET = struct.pack("ii", 1, 0)  # linger for no time: closing sends a reset


class CuttingProxy:
    """Asks `allow` for each connection how many bytes of answers may pass; None is all."""

    def __init__(self, target: str, allow: Callable[[], int | None]) -> None:
        """Stand before the server at `target`."""
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self._allow = allow
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.cuts = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client, self._allow()), daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _carry(self, client: socket.socket, left: int | None) -> None:
        with closing(client), closing(socket.create_connection(self._target, PATIENCE)) as server:
            client.settimeout(PATIENCE)
            back = threading.Thread(target=_pump, args=(client, server), daemon=True)
            back.start()
            with suppress(OSError):
                while data := server.recv(4096):
                    if left is not None and len(data) >= left:
                        client.sendall(data[:left])
                        self.cuts += 1
                        if self.cuts % 2:
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                        break
                    left = None if left is None else left - len(data)
                    client.sendall(data)
            for side in (client, server):
                with suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)
            back.join(PATIENCE)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


@contextmanager
def cutting(target: str, allow: Callable[[], int | None]) -> Iterator[CuttingProxy]:
    """Run the proxy for as long as the block lasts."""
    proxy = CuttingProxy(target, allow)
    thread = threading.Thread(target=proxy.serve)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.close()
        thread.join(PATIENCE)
