"""One short handler an operation: read the request, ask the engine, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from causerie.engine.replay import Answerable
from causerie.errors import NotFound
from causerie.types.base import encode
from causerie.types.operations import AGENTS, Operation
from causerie.types.requests import AppendRequest, ListRequest, OnDisconnect, RestartRequest, StartRequest
from causerie.types.responses import BaseModelCard, ModelCapabilities, ModelList, RunList
from causerie.version import VERSION

from .call import Call
from .respond import Answer, Json, Stream, Whole, entries_body

Handler = Callable[[Call], Awaitable[Answer]]


async def start(call: Call) -> Answer:
    """Create a conversation and run it."""
    request = await call.body(StartRequest)
    leaving = call.on_disconnect(request.on_disconnect)
    run = await call.engine.start(call.workspace, request, call.idempotency_key)
    return _answer(call, run, stream=bool(request.stream), leaving=leaving)


async def append(call: Call) -> Answer:
    """Append entries and run the conversation."""
    request = await call.body(AppendRequest)
    leaving = call.on_disconnect(request.on_disconnect)
    conversation_id = call.path["conversation_id"]
    run = await call.engine.append(call.workspace, conversation_id, request, call.idempotency_key)
    return _answer(call, run, stream=bool(request.stream), leaving=leaving)


async def restart(call: Call) -> Answer:
    """Branch a conversation and run the branch."""
    request = await call.body(RestartRequest)
    leaving = call.on_disconnect(request.on_disconnect)
    conversation_id = call.path["conversation_id"]
    run = await call.engine.restart(call.workspace, conversation_id, request, call.idempotency_key)
    return _answer(call, run, stream=bool(request.stream), leaving=leaving)


async def list_runs(call: Call) -> Answer:
    """List the runs of a conversation."""
    return Json(encode(RunList(data=[*await call.engine.list_runs(call.workspace, call.path["conversation_id"])])))


async def get_run(call: Call) -> Answer:
    """Get a run: its state, what it used, why it failed."""
    return Json(encode(await call.engine.get_run(call.workspace, call.path["conversation_id"], call.path["run_id"])))


async def follow_run(call: Call) -> Answer:
    """Go on reading a run's events."""
    conversation_id, run_id = call.path["conversation_id"], call.path["run_id"]
    events = await call.engine.follow_run(call.workspace, conversation_id, run_id, call.cursor())
    return Stream(events, keep_alive=call.options.keep_alive_seconds)


async def cancel_run(call: Call) -> Answer:
    """End a run now."""
    await call.no_body()
    run = await call.engine.cancel_run(call.workspace, call.path["conversation_id"], call.path["run_id"])
    return Json(encode(run))


async def cancel(call: Call) -> Answer:
    """End whatever runs in a conversation now."""
    await call.no_body()
    return Json(encode(RunList(data=[*await call.engine.cancel(call.workspace, call.path["conversation_id"])])))


async def list_conversations(call: Call) -> Answer:
    """List conversations, newest first."""
    return Json(encode(await call.engine.list(call.workspace, call.query(ListRequest))))


async def get(call: Call) -> Answer:
    """Get a conversation's settings."""
    return Json(encode(await call.engine.get(call.workspace, call.path["conversation_id"])))


async def delete(call: Call) -> Answer:
    """Delete a conversation."""
    await call.engine.delete(call.workspace, call.path["conversation_id"])
    return Json(status=204)


async def get_history(call: Call) -> Answer:
    """Get all entries."""
    conversation_id = call.path["conversation_id"]
    bodies = await call.engine.get_history(call.workspace, conversation_id)
    return Json(entries_body("conversation.history", conversation_id, "entries", bodies))


async def get_messages(call: Call) -> Answer:
    """Get all messages."""
    conversation_id = call.path["conversation_id"]
    bodies = await call.engine.get_messages(call.workspace, conversation_id)
    return Json(entries_body("conversation.messages", conversation_id, "messages", bodies))


def agents(one: Operation) -> Handler:
    """Return the handler of an operation of agents: they differ in what the table says of them, and in nothing else."""

    async def handle(call: Call) -> Answer:
        request = await call.request(one)
        given = [] if request is None else [request]
        found = await getattr(call.engine.agents, one.name)(call.workspace, *call.path.values(), *given)
        return Json(b"" if found is None else encode(found), status=one.status)

    return handle


async def list_models(call: Call) -> Answer:
    """List the models that conversations can be started with."""
    return Json(encode(ModelList(data=[_card(name) for name in await call.engine.models()])))


async def get_model(call: Call) -> Answer:
    """Get one model."""
    name = call.path["model_id"]
    if name not in await call.engine.models():
        raise NotFound(f"There is no model '{name}' here. /v1/models lists those there are.")
    return Json(encode(_card(name)))


async def health(call: Call) -> Answer:
    """Say whether the server can serve: its store answers."""
    await call.engine.ready(call.workspace)
    return Json(encode({"status": "ok", "version": VERSION}))


HANDLERS: dict[str, Handler] = {
    "conversations.start": start,
    "conversations.list": list_conversations,
    "conversations.get": get,
    "conversations.delete": delete,
    "conversations.append": append,
    "conversations.get_history": get_history,
    "conversations.get_messages": get_messages,
    "conversations.restart": restart,
    "conversations.list_runs": list_runs,
    "conversations.get_run": get_run,
    "conversations.follow_run": follow_run,
    "conversations.cancel_run": cancel_run,
    "conversations.cancel": cancel,
    **{one.key: agents(one) for one in AGENTS},
}


def _answer(call: Call, run: Answerable, *, stream: bool, leaving: OnDisconnect) -> Answer:
    call.noted["run_id"], call.noted["conversation_id"] = run.id, run.conversation_id
    gone = run.cancel if leaving == "cancel" else None
    if stream:
        return Stream(run.reader(), keep_alive=call.options.keep_alive_seconds, gone=gone)
    return Whole(run, gone=gone)


def _card(name: str) -> BaseModelCard:
    # An upstream does not say what its models can do, nor since when it has them.
    return BaseModelCard(id=name, created=0, owned_by="upstream", capabilities=ModelCapabilities(), name=name)
