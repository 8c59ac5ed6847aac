"""A server that answers what it was told to, in order, and keeps what it was asked: for what a real one never says."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Canned:
    """One answer. Where it is `cut`, the connection breaks after the body although more was announced."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


def stream(*frames: tuple[str | None, dict[str, Any]], cut: bool = False, rest: bytes = b"") -> Canned:
    """Return a stream of events: each an id, or None, and its data."""
    body = b""
    for event_id, data in frames:
        name = b"" if event_id is None else b"id: %b\n" % event_id.encode()
        body += b"event: %b\n%bdata: %b\n\n" % (data.get("type", "message").encode(), name, json.dumps(data).encode())
    return Canned(body + rest, headers={"content-type": "text/event-stream"}, cut=cut)


class Server:
    """Plays its answers; a request too many gets a 599."""

    def __init__(self, answers: tuple[Canned | None, ...]) -> None:
        """Answer in this order; None hangs up without a word."""
        self.answers = list(answers)
        self.asked: list[Asked] = []
        self.url = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _answer(self) -> None:
        length = int(self.headers.get("content-length", 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.script.asked.append(Asked(self.command, self.path, headers, self.rfile.read(length)))
        answer = self.script.answers.pop(0) if self.script.answers else Canned(status=599)
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in ({"content-type": "application/json"} | answer.headers).items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body) + answer.cut))
        self.end_headers()
        self.wfile.write(answer.body)
        self.close_connection = answer.cut

    do_GET = do_POST = do_DELETE = _answer  # noqa: N815  # what the base class looks for


@contextmanager
def canned(*answers: Canned | None) -> Iterator[Server]:
    """Serve these answers."""
    script = Server(answers)
    handler = type("Handler", (_Handler,), {"script": script})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join(10)
