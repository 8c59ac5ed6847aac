"""One handler for all operations: read the request, have it answered, send the answer. And one for the health."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from causerie.engine.operations import Begun, answer
from causerie.types.base import encode
from causerie.types.operations import Operation
from causerie.version import VERSION

from .call import Call
from .respond import Answer, Json, Stream, Whole

Handler = Callable[[Call], Awaitable[Answer]]


def handler(one: Operation) -> Handler:
    """Return the handler of an operation."""

    async def handle(call: Call) -> Answer:
        found = await answer(call.engine, await call.asked(one))
        if isinstance(found, Begun):
            call.noted["run_id"], call.noted["conversation_id"] = found.run.id, found.run.conversation_id
            if not found.stream:
                return Whole(found.run, gone=found.gone)
            return Stream(found.run.reader(), keep_alive=call.options.keep_alive_seconds, gone=found.gone)
        if found is None or isinstance(found, bytes):
            return Json(found or b"", status=one.status)
        return Stream(found, keep_alive=call.options.keep_alive_seconds)

    return handle


async def health(call: Call) -> Answer:
    """Say whether the server can serve: its store answers."""
    await call.engine.ready(call.workspace)
    return Json(encode({"status": "ok", "version": VERSION}))
