"""The rehearsal model: answers without a model, a key or a network, the same way every time, and says so.

It plays a script where one is given and improvises where the script says nothing. It keeps nothing but how often a
scripted failure has been played, so that a retry can be rehearsed too.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable

from causerie.errors import APIError
from causerie.types.base import encode

from .base import Delta, ModelRequest
from .improvise import improvised
from .reply import Failure, played
from .scene import Conversation
from .script import Script
from .trouble import Trouble

_NAME = "rehearsal"
_MOST_FAILURES = 10_000


class Rehearsal:
    """An upstream that is its own model, under any name it is asked for."""

    def __init__(
        self, script: Script | None = None, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """Play `script`; `sleep` is how its delays are waited for."""
        self._script = script or Script()
        self._sleep = sleep
        self._trouble = Trouble(_NAME)
        self._failures: dict[bytes, int] = {}

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Answer, in batches as a server would send them; the last delta says why it stopped.

        Raises:
            APIError: the script or the user asked for it, or the request is none.
        """
        conversation = Conversation(request)
        scenes = conversation.scenes
        reply = self._script.reply(scenes, request.model) or self._script.spoken(improvised(scenes[-1], request))
        failure = reply.failure if self._fails(reply.failure, request.messages) else None
        batches = played(reply, request, conversation.tokens())
        if failure is not None:
            batches = batches[: failure.after if request.stream else 0]
        pause = reply.delay
        for batch in batches:
            if pause:
                await self._sleep(pause)
            yield batch
            pause = reply.pace
        if failure is not None:
            if pause:
                await self._sleep(pause)
            raise self._error(failure)

    async def models(self) -> list[str]:
        """Return the name that it goes by; it answers to every other one too."""
        return [_NAME]

    async def close(self) -> None:
        """Nothing is held."""

    def _fails(self, failure: Failure | None, messages: bytes) -> bool:
        if failure is None or failure.times is None:
            return failure is not None
        key = hashlib.blake2b(messages, digest_size=16).digest()
        count = self._failures.pop(key, 0)
        if count >= failure.times:
            return False
        if len(self._failures) >= _MOST_FAILURES:
            del self._failures[next(iter(self._failures))]
        self._failures[key] = count + 1
        return True

    def _error(self, failure: Failure) -> APIError:
        headers = {} if failure.retry_after is None else {"Retry-After": str(failure.retry_after)}
        return self._trouble.status(failure.status, headers, encode({"error": {"message": failure.message}}))
