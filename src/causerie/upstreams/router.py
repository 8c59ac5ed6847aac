"""Several upstreams behind one: a request goes to whoever serves the model that it names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from causerie.errors import BadRequest

from .base import Delta, ModelRequest, Upstream
from .trouble import UNKNOWN_MODEL


class Router:
    """An upstream that picks another by the name of the model."""

    def __init__(self, routes: Mapping[str, Upstream], default: Upstream | None = None) -> None:
        """Send each name in `routes` to its upstream, and every other name to `default`, which may refuse it."""
        self._routes = dict(routes)
        self._default = default

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Pass the request on, and what comes back of it.

        Raises:
            BadRequest: nobody serves that model (code 3003); the message lists who is served.
            APIError: as the upstream raises it.
        """
        upstream = self._routes.get(request.model, self._default)
        if upstream is None:
            names = ", ".join(sorted(self._routes)) or "none is configured"
            raise BadRequest(f"There is no model {request.model!r} here. Models: {names}.", code=UNKNOWN_MODEL)
        async with aclosing(upstream.stream(request)) as batches:
            async for deltas in batches:
                yield deltas

    async def models(self) -> list[str]:
        """Return the configured names, in their order, then what the default's server has besides."""
        listed = await self._default.models() if self._default is not None else []
        return list(dict.fromkeys([*self._routes, *listed]))

    async def close(self) -> None:
        """Let go of the connections of all of them."""
        await asyncio.gather(*(upstream.close() for upstream in self._upstreams()))

    def _upstreams(self) -> list[Upstream]:
        found = {id(upstream): upstream for upstream in self._routes.values()}
        if self._default is not None:
            found[id(self._default)] = self._default
        return list(found.values())
