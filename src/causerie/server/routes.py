"""One short handler an operation: read the request, ask the engine, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from causerie.engine.run import Run
from causerie.errors import NotFound
from causerie.types.base import encode
from causerie.types.requests import AppendRequest, RestartRequest, StartRequest
from causerie.types.responses import BaseModelCard, ModelCapabilities, ModelList
from causerie.version import VERSION

from .call import Call
from .respond import Answer, Json, entries_body, respond

Handler = Callable[[Call], Awaitable[Answer]]


async def start(call: Call) -> Answer:
    """Create a conversation and run it."""
    request = await call.body(StartRequest)
    return await _answer(call, await call.engine.start(call.workspace, request), request.stream)


async def append(call: Call) -> Answer:
    """Append entries and run the conversation."""
    request = await call.body(AppendRequest)
    run = await call.engine.append(call.workspace, call.path["conversation_id"], request)
    return await _answer(call, run, request.stream)


async def restart(call: Call) -> Answer:
    """Branch a conversation and run the branch."""
    request = await call.body(RestartRequest)
    run = await call.engine.restart(call.workspace, call.path["conversation_id"], request)
    return await _answer(call, run, request.stream)


async def list_conversations(call: Call) -> Answer:
    """List conversations, newest first."""
    return Json(encode(await call.engine.list(call.workspace, call.query())))


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
    "start": start,
    "list": list_conversations,
    "get": get,
    "delete": delete,
    "append": append,
    "get_history": get_history,
    "get_messages": get_messages,
    "restart": restart,
}


async def _answer(call: Call, run: Run, stream: bool | None) -> Answer:
    call.noted["run_id"], call.noted["conversation_id"] = run.id, run.conversation_id
    return await respond(run, stream=bool(stream), keep_alive=call.keep_alive_seconds)


def _card(name: str) -> BaseModelCard:
    # An upstream does not say what its models can do, nor since when it has them.
    return BaseModelCard(id=name, created=0, owned_by="upstream", capabilities=ModelCapabilities(), name=name)
