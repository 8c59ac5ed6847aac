"""The operations of the table as calls of the engine: what was asked is decoded, what comes of it is encoded.

Both wings ask here, the server for what came over HTTP and the client for its own calls in process, so that a request
means the same in either. How it came, and how its answer leaves, is not known here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from causerie.errors import InvalidRequest, NotFound
from causerie.types.base import encode
from causerie.types.moderation import ChatModerationRequest, ClassificationRequest
from causerie.types.operations import AGENTS, Operation
from causerie.types.requests import (
    MAX_DEPTH,
    AppendRequest,
    FollowRequest,
    ListRequest,
    Nothing,
    OnDisconnect,
    RestartRequest,
    RunRequest,
    StartRequest,
    decode_query,
    decode_request,
    too_deep,
)
from causerie.types.responses import BaseModelCard, ModelCapabilities, ModelList, RunList

from .engine import Engine
from .replay import Answerable, Events
from .runlog import Cursor

LOCAL_WORKSPACE = "local"
"""Whose everything is as long as there are no API keys (D13)."""

IDEMPOTENCY_KEY = "idempotency-key"
ON_DISCONNECT = "causerie-on-disconnect"
LAST_EVENT_ID = "last-event-id"
HEADERS = (IDEMPOTENCY_KEY, ON_DISCONNECT, LAST_EVENT_ID)
"""The headers that say something to the engine."""

MAX_KEY = 256


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        path: what stands for the names in the path.
        query: its parameters in order, where the operation takes any.
        body: its JSON; empty where there is none.
        headers: those of `HEADERS` that were given.
        on_disconnect: what a run does when its caller leaves, where the request does not say.
    """

    operation: Operation
    workspace: str = LOCAL_WORKSPACE
    path: Mapping[str, str] = {}
    query: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    headers: Mapping[str, str] = {}
    on_disconnect: OnDisconnect = "continue"

    @property
    def conversation_id(self) -> str:
        """The conversation that it is about."""
        return self.path["conversation_id"]

    @property
    def run_id(self) -> str:
        """The run that it is about."""
        return self.path["run_id"]

    @property
    def idempotency_key(self) -> str | None:
        """The key under which this request may come again; None where the caller gave none.

        Raises:
            InvalidRequest: it is empty or too long.
        """
        key = self.headers.get(IDEMPOTENCY_KEY)
        if key is not None and not 0 < len(key) <= MAX_KEY:
            raise InvalidRequest(
                f"An idempotency key has 1 to {MAX_KEY} characters.", loc=("header", IDEMPOTENCY_KEY), given=key
            )
        return key

    def leaving(self, asked: OnDisconnect | None) -> OnDisconnect:
        """What happens when the caller leaves: as the body says, else the header, else the default.

        Raises:
            InvalidRequest: the header says something else.
        """
        header = self.headers.get(ON_DISCONNECT)
        if header not in (None, "continue", "cancel"):
            raise InvalidRequest(
                "Causerie-On-Disconnect is 'continue' or 'cancel'.", loc=("header", ON_DISCONNECT), given=header
            )
        return asked or ("cancel" if header == "cancel" else "continue" if header else self.on_disconnect)

    def cursor(self, after: str | None) -> Cursor | None:
        """Where a caller that comes back stands: ``Last-Event-ID``, or `after`.

        Raises:
            InvalidRequest: that is no event id of ours.
        """
        header = self.headers.get(LAST_EVENT_ID)
        text = header or after
        if not text:
            return None
        cursor = Cursor.parse(text)
        if cursor is None:
            raise InvalidRequest(
                "That is not the id of an event of a run. Send the last one that was received, or none.",
                loc=("header", LAST_EVENT_ID) if header else ("query", "after"), given=text,
            )  # fmt: skip
        return cursor


class Begun(NamedTuple):
    """A run that was begun, or that a retry attached to; `gone` is told if whoever asked leaves before its end."""

    run: Answerable
    stream: bool
    gone: Callable[[], None] | None


Answer = bytes | Begun | Events | None
"""JSON; a run; the events of one; or nothing, where all that can be said is that it is done."""

_Call = Callable[[Engine, Asked, Any], Awaitable[Answer]]


async def answer(engine: Engine, asked: Asked) -> Answer:
    """Do what was asked.

    Raises:
        APIError: it cannot be done as asked; which one, the methods of `Engine` say.
    """
    return await _CALLS[asked.operation.key](engine, asked, _request(asked))


def _request(asked: Asked) -> Any:
    kind = asked.operation.request
    in_query = asked.operation.in_query and (asked.query or not asked.body)
    if kind is not None and not in_query:
        return decode_request(asked.body, kind)
    if asked.body:
        decode_request(asked.body, Nothing)
    return decode_query(_parameters(asked.query, kind), kind) if in_query else None


def _parameters(query: Sequence[tuple[str, str]], kind: type) -> dict[str, Any]:
    given, lists = dict[str, Any](), _lists(kind)
    for name, value in query:
        if name in lists:
            given.setdefault(name, []).append(value)
        else:
            given[name] = _metadata(value) if name == "metadata" else value
    return given


@cache
def _lists(kind: type) -> frozenset[str]:
    """The parameters that may be repeated."""
    hints = get_type_hints(kind).items()
    return frozenset(name for name, hint in hints if any(get_origin(part) is list for part in get_args(hint)))


def _metadata(text: str) -> dict[str, Any] | None:
    if text.lstrip().startswith("{") and too_deep(text.encode(errors="replace")):
        raise InvalidRequest(
            f"The filter is nested more than {MAX_DEPTH} levels deep, as no metadata is.", loc=("query", "metadata")
        )
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        found = text
    # The official SDKs send a sentinel text for metadata that was not given (PROTOCOL §2.7): what decodes to no
    # object is no filter.
    return found if isinstance(found, dict) else None


async def _start(engine: Engine, asked: Asked, request: StartRequest) -> Answer:
    leaving, key = asked.leaving(request.on_disconnect), asked.idempotency_key
    return _begun(await engine.start(asked.workspace, request, key), request, leaving)


async def _append(engine: Engine, asked: Asked, request: AppendRequest) -> Answer:
    leaving, key = asked.leaving(request.on_disconnect), asked.idempotency_key
    return _begun(await engine.append(asked.workspace, asked.conversation_id, request, key), request, leaving)


async def _restart(engine: Engine, asked: Asked, request: RestartRequest) -> Answer:
    leaving, key = asked.leaving(request.on_disconnect), asked.idempotency_key
    return _begun(await engine.restart(asked.workspace, asked.conversation_id, request, key), request, leaving)


async def _list(engine: Engine, asked: Asked, request: ListRequest) -> Answer:
    return encode(await engine.list(asked.workspace, request))


async def _get(engine: Engine, asked: Asked, _: None) -> Answer:
    return encode(await engine.get(asked.workspace, asked.conversation_id))


async def _delete(engine: Engine, asked: Asked, _: None) -> Answer:
    await engine.delete(asked.workspace, asked.conversation_id)
    return None


async def _get_history(engine: Engine, asked: Asked, _: None) -> Answer:
    bodies = await engine.get_history(asked.workspace, asked.conversation_id)
    return _joined("conversation.history", asked.conversation_id, "entries", bodies)


async def _get_messages(engine: Engine, asked: Asked, _: None) -> Answer:
    bodies = await engine.get_messages(asked.workspace, asked.conversation_id)
    return _joined("conversation.messages", asked.conversation_id, "messages", bodies)


async def _list_runs(engine: Engine, asked: Asked, _: None) -> Answer:
    return encode(RunList(data=[*await engine.list_runs(asked.workspace, asked.conversation_id)]))


async def _get_run(engine: Engine, asked: Asked, _: None) -> Answer:
    return encode(await engine.get_run(asked.workspace, asked.conversation_id, asked.run_id))


async def _follow_run(engine: Engine, asked: Asked, request: FollowRequest) -> Answer:
    cursor = asked.cursor(request.after)
    return await engine.follow_run(asked.workspace, asked.conversation_id, asked.run_id, cursor)


async def _cancel_run(engine: Engine, asked: Asked, _: None) -> Answer:
    return encode(await engine.cancel_run(asked.workspace, asked.conversation_id, asked.run_id))


async def _cancel(engine: Engine, asked: Asked, _: None) -> Answer:
    return encode(RunList(data=[*await engine.cancel(asked.workspace, asked.conversation_id)]))


def _of_agents(one: Operation) -> _Call:
    """Return the call of an operation of agents: they differ in what the table says of them, and in nothing else."""

    async def call(engine: Engine, asked: Asked, request: Any) -> Answer:
        given = [] if request is None else [request]
        found = await getattr(engine.agents, one.name)(asked.workspace, *asked.path.values(), *given)
        return None if found is None else encode(found)

    return call


async def _moderate(engine: Engine, _: Asked, request: ClassificationRequest) -> Answer:
    return encode(await engine.classifiers.moderate(request))


async def _moderate_chat(engine: Engine, _: Asked, request: ChatModerationRequest) -> Answer:
    return encode(await engine.classifiers.moderate_chat(request))


async def _list_models(engine: Engine, _: Asked, __: Nothing) -> Answer:
    return encode(ModelList(data=[_card(name) for name in await engine.models()]))


async def _retrieve_model(engine: Engine, asked: Asked, _: None) -> Answer:
    name = asked.path["model_id"]
    if name not in await engine.models():
        raise NotFound(f"There is no model '{name}' here. /v1/models lists those there are.")
    return encode(_card(name))


_CALLS: dict[str, _Call] = {
    "conversations.start": _start,
    "conversations.list": _list,
    "conversations.get": _get,
    "conversations.delete": _delete,
    "conversations.append": _append,
    "conversations.get_history": _get_history,
    "conversations.get_messages": _get_messages,
    "conversations.restart": _restart,
    "conversations.list_runs": _list_runs,
    "conversations.get_run": _get_run,
    "conversations.follow_run": _follow_run,
    "conversations.cancel_run": _cancel_run,
    "conversations.cancel": _cancel,
    **{one.key: _of_agents(one) for one in AGENTS},
    "classifiers.moderate": _moderate,
    "classifiers.moderate_chat": _moderate_chat,
    "models.list": _list_models,
    "models.retrieve": _retrieve_model,
}


def _begun(run: Answerable, request: RunRequest, leaving: OnDisconnect) -> Begun:
    return Begun(run, bool(request.stream), run.cancel if leaving == "cancel" else None)


def _joined(kind: str, conversation_id: str, field: str, bodies: Sequence[bytes]) -> bytes:
    """Join a history or its messages from entries as they are stored."""
    return b'{"object":"%b","conversation_id":%b,"%b":[%b]}' % (
        kind.encode(), encode(conversation_id), field.encode(), b",".join(bodies),
    )  # fmt: skip


def _card(name: str) -> BaseModelCard:
    # An upstream does not say what its models can do, nor since when it has them.
    return BaseModelCard(id=name, created=0, owned_by="upstream", capabilities=ModelCapabilities(), name=name)
