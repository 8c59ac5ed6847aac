"""Idempotency keys: what a key is bound to, and what whoever asks again under it gets.

A key is bound by a run that is committed; one that failed lets go of it. Which requests take a key is not known here.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta

import msgspec

from causerie.errors import Conflict, InvalidRequest, NotFound
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

    async def earlier(self, workspace: str, repeat: Repeat | None, *, stream: bool) -> Answerable | None:
        """Return what a key already stands for.

        Raises:
            InvalidRequest: another request came under it.
        """
        if repeat is None:
            return None
        if running := self._supervisor.runs.repeated(workspace, repeat.scope, repeat.key):
            return await self.attached(running, repeat, stream=stream)
        recalled = await self._store.recall(workspace, repeat.scope, repeat.key)
        if recalled is None:
            return None
        earlier = await self._supervisor.replay(workspace, recalled)
        if earlier is None:
            return None
        _check_same(recalled.digest, repeat)
        return await self.attached(earlier, repeat, stream=stream) if isinstance(earlier, Run) else earlier

    async def attached(self, run: Run, repeat: Repeat, *, stream: bool) -> Answerable:
        """Have a retry read the run that is under way; whoever streams learns the conversation's id from it.

        Raises:
            CauserieError: the run could not begin, or another request came under the key.
        """
        if run.plan.repeat is not None:
            _check_same(run.plan.repeat.digest, repeat)
        begun = await self.begun(run, repeat, stream=stream)
        if begun is run and stream and not run.plan.stream:
            await self._announce(run)
        return begun

    async def begun(self, run: Run, repeat: Repeat | None, *, stream: bool) -> Answerable:
        """Return a run once its inputs are durable, or the run that was quicker under the same key.

        Raises:
            CauserieError: the run could not begin.
        """
        error = await run.begun()
        if error is None:
            return run
        quicker = None
        if isinstance(error, Conflict):  # it came between the look-up and the beginning, and may have ended since
            quicker = await self.earlier(run.plan.workspace, repeat, stream=stream)
        if quicker is None:
            raise error
        return quicker

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
