"""HTTP with nothing in between, for what an SDK cannot say or does not show."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .replies import PATIENCE


@dataclass(frozen=True)
class Frame:
    """One server-sent frame: its `event:`, data and `id:` lines, its comments, and its exact text."""

    event: str | None
    data: str | None
    comments: tuple[str, ...]
    text: str
    id: str | None = None

    @property
    def json(self) -> Any:
        """The data, parsed."""
        assert self.data is not None, f"a frame without data: {self.text!r}"
        return json.loads(self.data)


@dataclass(frozen=True)
class Answer:
    """A whole response. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def frames(self) -> list[Frame]:
        """The frames of an event stream; every one of them ended by a blank line."""
        text = self.body.decode()
        assert text.endswith("\n\n") or not text, f"the stream ends in the middle of a frame: {text[-80:]!r}"
        return [_frame(part + "\n\n") for part in text.split("\n\n")[:-1]]

    @property
    def events(self) -> list[Any]:
        """The data of all frames that have some."""
        return [frame.json for frame in self.frames if frame.data is not None]


class OpenStream:
    """A response that is still coming in."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        """Read from `response`, whose head is there."""
        self.status = response.status
        self.headers = {name.lower(): value for name, value in response.getheaders()}
        self._response = response

    def frame(self) -> Frame | None:
        """Return the next frame as soon as it is complete, or None at the end of the stream."""
        lines: list[str] = []
        while line := self._response.readline().decode():
            lines.append(line)
            if line == "\n":
                return _frame("".join(lines))
        assert not lines, f"the stream ends in the middle of a frame: {lines!r}"
        return None

    def frames(self) -> Iterator[Frame]:
        """Yield the frames up to the end of the stream."""
        while (frame := self.frame()) is not None:
            yield frame


class Raw:
    """Sends requests exactly as told. Bytes are sent as they are, anything else as JSON."""

    def __init__(self, url: str) -> None:
        """Talk to the server at `url`."""
        self.host = urlsplit(url).netloc

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """Send one request on a connection of its own and read the whole answer."""
        with self.opened(method, path, body, headers) as response:
            got = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, got, response.read())

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        """GET `path`."""
        return self.request("GET", path, headers=headers)

    def delete(self, path: str) -> Answer:
        """DELETE `path`."""
        return self.request("DELETE", path)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        """POST `body` to `path`."""
        return self.request("POST", path, body, headers)

    @contextmanager
    def stream(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Iterator[OpenStream]:
        """POST `body` and read the answer as it comes; leaving the context hangs up."""
        with self.opened("POST", path, body, headers) as response:
            yield OpenStream(response)

    @contextmanager
    def follow(self, path: str, headers: dict[str, str] | None = None) -> Iterator[OpenStream]:
        """GET `path` and read the answer as it comes; leaving the context hangs up."""
        with self.opened("GET", path, headers=headers) as response:
            yield OpenStream(response)

    def running(self, path: str) -> str:
        """Return the id of the run that is under way in the conversation at `path`, once it is on disk.

        That its model is asked does not say so: it is asked beside that commit.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            newest = self.get(f"{path}/runs").json["data"][0]
            if newest["state"] == "running":
                return str(newest["id"])
            assert time.monotonic() < deadline, "nothing runs"

    @contextmanager
    def hang_up(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Iterator[None]:
        """Send one request and hang up when the context is left, without waiting for any of the answer."""
        connection = self._asked(method, path, body, headers)
        try:
            yield
        finally:
            connection.close()

    @contextmanager
    def opened(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send one request; yield its response with the body unread."""
        connection = self._asked(method, path, body, headers)
        try:
            with connection.getresponse() as response:
                yield response
        finally:
            connection.close()

    def _asked(self, method: str, path: str, body: Any, headers: dict[str, str] | None) -> http.client.HTTPConnection:
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        kind = {} if sent is None else {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        try:
            connection.request(method, path, sent, kind | (headers or {}))
        except BaseException:
            connection.close()
            raise
        return connection


def _frame(text: str) -> Frame:
    event, data, comments, id_ = None, [], [], None
    for line in text.splitlines():
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data.append(value)
        elif name == "id":
            id_ = value
        elif not name and line:
            comments.append(value)
    return Frame(event, "\n".join(data) if data else None, tuple(comments), text, id_)
