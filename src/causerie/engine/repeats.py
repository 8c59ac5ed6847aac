"""Idempotency keys: what a key is bound to, and what whoever asks again under it gets.

A key is bound by a run that is committed; one that failed lets go of it. Which requests take a key is not known here.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from weakref import WeakValueDictionary

import msgspec

from causerie.errors import InvalidRequest, NotFound
from causerie.ids import Clock
from causerie.stores.base import Repeat, Store
from causerie.types.base import Struct, encode

from .replay import Answerable
from .run import Run
from .supervisor import Supervisor

KEY_LIFE = timedelta(hours=24)


class Repeats:
    """The idempotency keys of one engine."""

    def __init__(self, store: Store, supervisor: Supervisor, clock: Clock) -> None:
        """Look for runs under way at the supervisor's, for those that ended in the store."""
        self._store, self._supervisor, self._clock = store, supervisor, clock
        self._turns = WeakValueDictionary[tuple[str, str, str], asyncio.Lock]()

    def bound(self, scope: str, key: str | None, request: Struct) -> Repeat | None:
        """Bind a key to what was asked. How the answer is read makes it no other request.

        Raises:
            InvalidRequest: the request leaves nothing that a retry could find.
        """
        if key is None:
            return None
        if getattr(request, "store", None) is False:
            raise InvalidRequest(
                "store=false leaves nothing that a retry could find: leave the idempotency key out, or store.",
                loc=("header", "idempotency-key"), given=key,
            )  # fmt: skip
        asked = msgspec.structs.replace(request, stream=None, on_disconnect=None)
        digest = hashlib.blake2b(encode(asked), digest_size=16).digest()
        return Repeat(scope, key, digest, self._clock.now() + KEY_LIFE)

    @asynccontextmanager
    async def in_turn(
        self, workspace: str, repeat: Repeat | None, *, stream: bool
    ) -> AsyncGenerator[Answerable | None]:
        """Begin something under a key while nobody else does; gives what the key stands for already, if anything.

        Requests under one key come one after the other until their run has begun. Otherwise a second one could look
        before the first is there and begin after it has ended, and the model would be asked twice.

        Raises:
            InvalidRequest: another request came under the key.
        """
        if repeat is None:
            yield None
            return
        async with self._turns.setdefault((workspace, repeat.scope, repeat.key), asyncio.Lock()):
            yield await self._earlier(workspace, repeat, stream=stream)

    async def _earlier(self, workspace: str, repeat: Repeat, *, stream: bool) -> Answerable | None:
        if running := self._supervisor.runs.repeated(workspace, repeat.scope, repeat.key):
            return await self._attached(running, repeat, stream=stream)
        recalled = await self._store.recall(workspace, repeat.scope, repeat.key)
        earlier = await self._supervisor.replay(workspace, recalled) if recalled else None
        if recalled is None or earlier is None:
            return None
        _check_same(recalled.digest, repeat)
        return await self._attached(earlier, repeat, stream=stream) if isinstance(earlier, Run) else earlier

    async def _attached(self, run: Run, repeat: Repeat, *, stream: bool) -> Run:
        """Have a retry read the run that is under way; whoever streams learns the conversation's id from it."""
        if run.plan.repeat is not None:
            _check_same(run.plan.repeat.digest, repeat)
        if error := await run.begun():
            raise error
        if stream and not run.plan.stream:
            await self._announce(run)
        return run

    async def _announce(self, run: Run) -> None:
        try:
            await self._store.announce(run.plan.workspace, run.conversation_id)
        except NotFound:
            await run.body()  # it failed just now and took its conversation along: that is what there is to tell
            raise


def _check_same(digest: bytes, repeat: Repeat) -> None:
    if digest != repeat.digest:
        raise InvalidRequest(
            f"Another request came under the idempotency key '{repeat.key}' before. Give each a key of its own.",
            loc=("header", "idempotency-key"), given=repeat.key,
        )  # fmt: skip
