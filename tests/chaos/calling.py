"""A client that does not give up: it retries under its idempotency key, resumes by event id, and folds what it saw."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp

from causerie.sse import Decoder
from causerie.types.base import decode
from causerie.types.events import Event, ResponseErrorEvent, RunAdoptedEvent

from .book import Book
from .story import Answered, Story, folded, whole
from .timing import elapse

LONGEST = 60.0
_SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=1.0, sock_read=1.0)
_WHOLE = aiohttp.ClientTimeout(total=3.0, sock_connect=1.0)
_AGAIN = 0.02
_BROKEN = (aiohttp.ClientError, TimeoutError, OSError)


class Where(Protocol):
    """Something that knows where the server is at this moment."""

    @property
    def url(self) -> str:
        """Its base URL."""
        ...


class Stuck(Exception):
    """An operation did not come to an end, or came to a wrong one; it is in the book already."""


@dataclass(frozen=True)
class Operation:
    """A start, append or restart, and the key under which it may be sent as often as it takes."""

    path: str
    body: dict[str, Any]
    key: str
    tag: str


class Caller:
    """Carries out operations against a server that dies again and again."""

    def __init__(self, where: Where, session: aiohttp.ClientSession, book: Book, dice: random.Random) -> None:
        """Call the server that `where` names at the time; `dice` decides how it behaves."""
        self._where, self._session, self._book, self._dice = where, session, book, dice
        self.told_failed: list[str] = []  # runs whose streams ended in an error

    async def carry_out(self, operation: Operation, *, stream: bool) -> Answered:
        """Send an operation as often as it takes.

        Raises:
            Stuck: it came to no end, or to one that it must not come to.
        """
        try:
            async with asyncio.timeout(LONGEST):
                return await (self._streamed(operation) if stream else self._whole(operation))
        except TimeoutError:
            raise self._stuck("stuck", f"{operation.tag} did not come to an end in {LONGEST:g} s") from None

    async def follow(self, story: Story) -> Story:
        """Read the rest of a run's events, from where `story` ends or from the first."""
        try:
            async with asyncio.timeout(LONGEST):
                while story.end is None:
                    await self._resume(story)
        except TimeoutError:
            raise self._stuck("stuck", f"run {story.run_id} could not be read to its end") from None
        return story

    async def get(self, path: str) -> bytes:
        """Get something that has to be there."""
        try:
            async with asyncio.timeout(LONGEST):
                while True:
                    status, body = await self._try("GET", path)
                    if status == 200:
                        return body
                    await self._see_to(status, body, path)
        except TimeoutError:
            raise self._stuck("stuck", f"{path} could not be read") from None

    async def _whole(self, operation: Operation) -> Answered:
        while True:
            self._book.moved(operation.tag, "sent")
            status, body = await self._try("POST", operation.path, operation.body, operation.key)
            if status == 200:
                return whole(body)
            await self._see_to(status, body, operation.tag)

    async def _streamed(self, operation: Operation) -> Answered:
        story = Story()
        while True:
            if story.run_id and self._dice.random() < 0.85:
                self._book.moved(operation.tag, "resuming")
                await self._resume(story)
            else:
                if story.run_id:
                    self._book.count("streams asked for again from the first event")
                story = Story()
                self._book.moved(operation.tag, "sent")
                await self._open(operation, story)
            if isinstance(story.end, ResponseErrorEvent):
                self._book.count("runs that were told as failed")
                self.told_failed.append(story.run_id)
                await self._see_to(story.end.code, story.end.message.encode(), operation.tag)
                story = Story()
            elif story.end is not None:
                return self.finished(story)

    def finished(self, story: Story) -> Answered:
        """Fold a stream that came to its end, and see whether anything was missing or there twice."""
        if disorder := story.disorder():
            self._book.blame("events", f"run {story.run_id}: {disorder}; {story}")
        discards = [event.discard for event in story.events if isinstance(event, RunAdoptedEvent)]
        self._book.count("streams that were told of an adoption", bool(discards))
        self._book.count("entries discarded", sum(map(len, discards)))
        return folded(story)

    async def _open(self, operation: Operation, story: Story) -> None:
        headers = {"Idempotency-Key": operation.key}
        body = {**operation.body, "stream": True}
        try:
            async with self._session.post(
                self._where.url + operation.path, json=body, headers=headers, timeout=_SILENCE
            ) as response:
                await self._read(response, story, operation.tag)
        except _BROKEN as error:
            await self._broken(error)

    async def _resume(self, story: Story) -> None:
        """Go on reading behind the last event that came."""
        path = f"/v1/conversations/{story.conversation_id}/runs/{story.run_id}/events"
        headers, query = {"Last-Event-ID": story.place}, {}
        if self._dice.random() < 0.3:
            headers, query = {}, {"after": story.place}
        if not story.place:
            headers, query = {}, {}
        before = len(story.events)
        try:
            async with self._session.get(
                self._where.url + path, headers=headers, params=query, timeout=_SILENCE
            ) as response:
                await self._read(response, story, story.run_id)
        except _BROKEN as error:
            await self._broken(error)
        if len(story.events) > before:
            self._book.count("streams resumed")
        else:
            await elapse(_AGAIN)

    async def _read(self, response: aiohttp.ClientResponse, story: Story, what: str) -> None:
        if response.status != 200:
            await self._see_to(response.status, await response.read(), what)
            return
        decoder = Decoder()
        leave_after = self._dice.randint(1, 12) if self._dice.random() < 0.1 else None
        async for data in response.content.iter_any():
            for frame in decoder.feed(data):
                if story.end is not None:
                    self._book.blame("events", f"run {story.run_id} goes on after its end: {frame}")
                story.add(frame.id or "", decode(frame.data, Event))  # type: ignore[arg-type]
                leave_after = None if leave_after is None else leave_after - 1
            if leave_after is not None and leave_after <= 0 and story.end is None:
                self._book.count("clients that left by themselves")
                return

    async def _try(
        self, method: str, path: str, body: dict[str, Any] | None = None, key: str | None = None
    ) -> tuple[int, bytes]:
        headers = {"Idempotency-Key": key} if key else {}
        try:
            async with self._session.request(
                method, self._where.url + path, json=body, headers=headers, timeout=_WHOLE
            ) as response:
                return response.status, await response.read()
        except _BROKEN as error:
            await self._broken(error)
            return 0, b""

    async def _broken(self, error: Exception) -> None:
        there = not isinstance(error, aiohttp.ClientConnectorError)
        self._book.count("connections that broke" if there else "calls of a server that was not there")
        await elapse(_AGAIN)

    async def _see_to(self, status: int, body: bytes, what: str) -> None:
        """Bear what will pass; anything else is a breach.

        Raises:
            Stuck: it will not pass.
        """
        said = body.decode("utf-8", "replace")
        if status == 0:
            return
        if status == 502 and "chaos: the model fails once" in said:
            self._book.count("failures of the model that were told")
        elif status in (409, 503) and self._book.is_unsettled:
            self._book.count(f"answers {status} while two owners were alive")
        elif status == 409:
            self._book.blame("busy", f"{what}: {said}")
            await elapse(10 * _AGAIN)
        elif status == 404:
            raise self._stuck("lost", f"{what}: {said}")
        else:
            raise self._stuck("refused", f"{what}: {status} {said}")
        await elapse(_AGAIN)

    def _stuck(self, law: str, detail: str) -> Stuck:
        self._book.blame(law, detail)
        return Stuck(detail)
