"""A server that is told to stop says what it waits for, and what it breaks off is no fault."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from tests.support.replies import PATIENCE
from tests.support.spawned import causerie

SCRIPT = """
[[rules]]
user = "for ever"
text = "This is never said."
delay = 600
"""


def test_a_second_interrupt_waits_for_nothing_and_the_next_server_goes_on(tmp_path: Path) -> None:
    (tmp_path / "play.toml").write_text(SCRIPT, encoding="utf-8")
    flags = ("--rehearsal-script", "play.toml")
    with causerie(*flags, cwd=tmp_path) as (server, url):
        asked = {"inputs": "Speak for ever.", "stream": True}
        with httpx2.stream("POST", f"{url}/v1/conversations", json=asked, timeout=PATIENCE) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: conversation.response.started"
            started = json.loads([next(lines), next(lines)][1].removeprefix("data: "))
            os.kill(server.pid, signal.SIGINT)
            server.line(r"^Stopping: answers under way have 15 seconds to end\. Ctrl-C does not wait for them\.$")
            os.kill(server.pid, signal.SIGINT)
            assert server.ended() == 0
        server.line(r"\"event\":\"run\.left\"")
        assert [line for line in server.said if "Traceback" in line] == []
    with causerie(*flags, cwd=tmp_path) as (_, url):
        path = f"{url}/v1/conversations/{started['conversation_id']}/runs/{started['run_id']}"
        assert httpx2.get(path, timeout=PATIENCE).json()["state"] == "running"
        assert httpx2.post(f"{path}/cancel", timeout=PATIENCE).json()["state"] == "cancelled"


def test_what_the_http_server_says_is_a_line_like_ours(tmp_path: Path) -> None:
    with causerie(cwd=tmp_path) as (server, url):
        at = urlsplit(url)
        with socket.create_connection((at.hostname or "", at.port or 0), PATIENCE) as connection:
            connection.sendall(b"this is not HTTP\r\n\r\n")
            line = json.loads(server.line(r"\"event\":\"http\"").string)
    assert (line["level"], line["message"]) == ("warning", "Invalid HTTP request received.")
