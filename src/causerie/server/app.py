"""The application: a list of routes and the edge around them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from causerie.engine.engine import Engine
from causerie.errors import MethodNotAllowed
from causerie.ids import Ids
from causerie.types.base import encode
from causerie.types.operations import BY_KEY
from causerie.version import VERSION

from .call import Call, Options
from .edge import Edge
from .openapi import document
from .respond import Answer, Json
from .routes import Handler, handler, health


class Endpoint:
    """The handlers of one path, by method, as an ASGI application: no request object is made that nobody reads."""

    def __init__(self, handlers: dict[str, Handler], engine: Engine, options: Options) -> None:
        """Serve `handlers` over `engine`; where there is a GET there is a HEAD."""
        self._handlers = {**handlers, **({"HEAD": handlers["GET"]} if "GET" in handlers else {})}
        self._engine, self._options = engine, options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            MethodNotAllowed: the path has no handler for this method.
        """
        handler = self._handlers.get(scope["method"])
        if handler is None:
            allowed = ", ".join(sorted(self._handlers))
            raise MethodNotAllowed(f"This path takes {allowed}.", headers={"Allow": allowed})
        call = Call(scope, receive, self._engine, self._options)
        answer = await handler(call)
        await answer.send(receive, send)


def app(engine: Engine, options: Options) -> Starlette:
    """Return the ASGI application; its lifespan opens and closes the engine."""
    described = encode(document(VERSION))

    async def openapi(_: Call) -> Answer:
        return Json(described)

    paths: dict[str, dict[str, Handler]] = {}
    for one in BY_KEY.values():
        path = one.path.replace("{model_id}", "{model_id:path}")  # names of models have slashes of their own
        methods = paths.setdefault(path, {})
        methods[one.method] = methods[one.also or one.method] = handler(one)
    paths["/health"] = {"GET": health}
    paths["/openapi.json"] = {"GET": openapi}

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await engine.open(adopt=True)
        try:
            yield
        finally:
            await engine.close()

    application = Starlette(
        routes=[Route(path, Endpoint(handlers, engine, options)) for path, handlers in paths.items()],
        middleware=[Middleware(Edge, ids=Ids())],
        exception_handlers={HTTPException: _raise},
        lifespan=lifespan,
    )
    application.router.redirect_slashes = False  # a POST that is sent elsewhere is a POST that is lost
    return application


async def _raise(_: Request, error: Exception) -> Response:
    """Hand an error on to the edge, the one place that answers errors."""
    raise error
