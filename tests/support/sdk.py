"""A client, official or ours, sync or async, behind one surface: the only place that knows how it is driven.

Every method has the name and the parameters of `client.beta.conversations`, returns the SDK's own objects, and is
called in the same way whichever side is under test. A stream is read to its end (`start_stream` and its kin return
the list of events) or step by step (`opened`). What the client raises for a refused request is checked by `refuses`.
"""

from __future__ import annotations

import asyncio
import builtins
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from .library import OFFICIAL, Mistral, errors
from .replies import PATIENCE
from .stage import BEHIND

Mode = Literal["sync", "async"]
MODES: tuple[Mode, ...] = ("sync", "async")


class Portal:
    """An event loop on a thread of its own, for the async side of the SDK."""

    def __init__(self) -> None:
        """Start the loop."""
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="sdk-async")
        self._thread.start()

    def call(self, awaitable: Any) -> Any:
        """Run `awaitable` there and return what it comes to."""

        async def bounded() -> Any:
            async with asyncio.timeout(2 * PATIENCE):
                return await awaitable

        return asyncio.run_coroutine_threadsafe(bounded(), self.loop).result()

    def close(self) -> None:
        """Stop the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE)
        self.loop.close()


class Refusal:
    """What a refused request was told, once the block of `refuses` is left."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def message(self) -> str:
        """What went wrong, from either form of error body."""
        message: str = self.body["detail"][0]["msg"] if "detail" in self.body else self.body["message"]
        return message

    @property
    def loc(self) -> list[str | int]:
        """The path to the field that a 422 is about."""
        loc: list[str | int] = self.body["detail"][0]["loc"]
        return loc

    @property
    def code(self) -> int:
        """The error code."""
        code: int = self.body["code"]
        return code


class OpenedStream:
    """A stream that the test reads event by event."""

    def __init__(self, source: Any, portal: Portal | None) -> None:
        """Read from `source`; through `portal` if it is an async one."""
        self._source = source
        self._portal = portal

    def next(self) -> Any:
        """Return the data of the next event, or None at the end."""
        event = next(self._source, None) if self._portal is None else self._portal.call(_next(self._source))
        return None if event is None else event.data

    def rest(self) -> list[Any]:
        """Return the data of all events that are still to come."""
        return list(iter(self.next, None))


class Way(NamedTuple):
    """How a server is reached: with which methods of a client, and whether that is the client in process."""

    mode: Mode
    in_process: bool = False

    def __str__(self) -> str:
        """Name it, for reports."""
        return self.mode if OFFICIAL else f"{'in process' if self.in_process else 'ours'} {self.mode}"


WAYS = [*map(Way, MODES), *([] if OFFICIAL else [Way(mode, in_process=True) for mode in MODES])]


class Clients:
    """The SDK's client objects, made once: each costs as much as ten requests."""

    def __init__(self, url: str) -> None:
        """Make a client for the server at `url`."""
        self.url = url
        self.portal = Portal()
        self.mistral: Any = Mistral(api_key="any-key", server_url=url, timeout_ms=int(PATIENCE * 1000))

    def close(self) -> None:
        """Close both sides of the client and stop the loop."""
        self.portal.call(self.mistral.__aexit__(None, None, None))
        self.mistral.__exit__(None, None, None)
        self.portal.close()


class SDK:
    """The official SDK as a test sees it, on one of its sides.

    `start` and `start_stream` talk to this test's model unless a model or an agent is named.
    """

    def __init__(self, clients: Clients, way: Way, model: str, url: str) -> None:
        """Talk to the server at `url`; `model` is the name that starts use."""
        self.mode = way.mode
        self.model = model
        self.over_http = not way.in_process  # where answers have heads
        self._beta = (BEHIND[url] if way.in_process else clients.mistral).beta
        self._portal = clients.portal if way.mode == "async" else None
        self._where = {} if way.in_process or url == clients.url else {"server_url": url}

    @property
    def agents(self) -> Agents:
        """The operations of `client.beta.agents`."""
        return Agents(self)

    def start(self, **arguments: Any) -> Any:
        """Start a conversation."""
        return self._call("start", self._with_model(arguments))

    def start_stream(self, **arguments: Any) -> builtins.list[Any]:
        """Start a conversation; return the data of all events."""
        return self._collect("start_stream", self._with_model(arguments))

    def append(self, **arguments: Any) -> Any:
        """Append to a conversation."""
        return self._call("append", arguments)

    def append_stream(self, **arguments: Any) -> builtins.list[Any]:
        """Append to a conversation; return the data of all events."""
        return self._collect("append_stream", arguments)

    def restart(self, **arguments: Any) -> Any:
        """Restart a conversation from an entry."""
        return self._call("restart", arguments)

    def restart_stream(self, **arguments: Any) -> builtins.list[Any]:
        """Restart a conversation from an entry; return the data of all events."""
        return self._collect("restart_stream", arguments)

    def list(self, **arguments: Any) -> Any:
        """List conversations."""
        return self._call("list", arguments)

    def get(self, conversation_id: str) -> Any:
        """Return the entity."""
        return self._call("get", {"conversation_id": conversation_id})

    def delete(self, conversation_id: str) -> Any:
        """Delete a conversation."""
        return self._call("delete", {"conversation_id": conversation_id})

    def get_history(self, conversation_id: str) -> Any:
        """Return all entries."""
        return self._call("get_history", {"conversation_id": conversation_id})

    def get_messages(self, conversation_id: str) -> Any:
        """Return the messages."""
        return self._call("get_messages", {"conversation_id": conversation_id})

    @contextmanager
    def opened(self, operation: str, **arguments: Any) -> Iterator[OpenedStream]:
        """Open the stream of `operation` to read it step by step; leaving the context hangs up."""
        wanted = self._with_model(arguments) if operation == "start_stream" else arguments
        source = self._call(operation, wanted)
        try:
            yield OpenedStream(source, self._portal)
        finally:
            if self._portal is None:
                source.__exit__(None, None, None)
            else:
                self._portal.call(source.__aexit__(None, None, None))

    @contextmanager
    def refuses(self, status: int) -> Iterator[Refusal]:
        """Expect the block to be refused with `status`, as the error class that the SDK documents for it."""
        expected = errors.HTTPValidationError if status == 422 else errors.SDKError
        refusal = Refusal()
        caught: Any = None
        try:
            yield refusal
        except errors.MistralError as error:
            caught = error
        assert caught is not None, f"the request was answered, not refused with {status}"
        assert caught.status_code == status, f"{caught.status_code}: {caught.body}"
        # Ours raises a class for each status, all of them kinds of the one that the SDK has for all.
        assert type(caught) is expected if OFFICIAL else isinstance(caught, expected), repr(caught)
        refusal.status = caught.status_code
        refusal.body = json.loads(caught.body)
        refusal.headers = dict(caught.headers)

    def _with_model(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return arguments if arguments.keys() & {"model", "agent_id"} else arguments | {"model": self.model}

    def call(self, group: str, operation: str, arguments: dict[str, Any]) -> Any:
        """Call an operation of a group, such as `conversations`."""
        ending = "" if self._portal is None else "_async"
        method = getattr(getattr(self._beta, group), operation + ending)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # one of the SDKs deprecates `agents.list`
            return self.reached(method(**(arguments | self._where)))

    def reached(self, result: Any) -> Any:
        """Return what a method returned; on the async side, what awaiting that comes to."""
        return result if self._portal is None else self._portal.call(result)

    def _call(self, operation: str, arguments: dict[str, Any]) -> Any:
        return self.call("conversations", operation, arguments)

    def _collect(self, operation: str, arguments: dict[str, Any]) -> builtins.list[Any]:
        with self.opened(operation, **arguments) as stream:
            return stream.rest()


class Agents:
    """`client.beta.agents` as a test sees it: its methods by their names, on the side that is under test."""

    def __init__(self, sdk: SDK) -> None:
        """Use the side of `sdk`."""
        self._sdk = sdk

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        """Return the method of that name."""
        return lambda **arguments: self._sdk.call("agents", operation, arguments)

    def create(self, **arguments: Any) -> Any:
        """Make an agent; it runs on this test's model and has its name unless another is given."""
        return self._sdk.call("agents", "create", {"model": self._sdk.model, "name": self._sdk.model} | arguments)

    def walk(self, **arguments: Any) -> Iterator[builtins.list[Any]]:
        """Yield the agents of each page, from one to the next."""
        page = self._sdk.call("agents", "list_pages", arguments)
        while page is not None:
            yield page.result.data
            page = self._sdk.reached(page.next())


def as_json(thing: Any) -> Any:
    """Return a result of the SDK as the JSON it came from, as far as the SDK knows it; absent fields stay absent."""
    if isinstance(thing, list):
        return [as_json(item) for item in thing]
    return json.loads(thing.model_dump_json())


async def _next(source: Any) -> Any:
    return await anext(source, None)
