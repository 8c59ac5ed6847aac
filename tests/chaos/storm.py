"""The storm: blows that strike a server at moments that a seed decides, and the order in which all of it happens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

import aiohttp

from .book import PHASES, Book
from .calling import Caller
from .checks import check_effects, check_file, check_free, check_list, check_talks
from .holding import Holder, Talk
from .model import Model
from .owner import Owner, Scene, free_port
from .timing import dice, elapse, until

_LONGEST_ROUND = 1.0
_LEASE = 3  # beats
_AGES = 60.0
_TRIES = 50


class Plan(NamedTuple):
    """How bad it gets."""

    kills: int
    seed: int
    holders: int = 12
    stops: float = 0.16
    minutes: float = 60.0


class Storm:
    """One storm over one database."""

    def __init__(self, plan: Plan, scene: Scene, session: aiohttp.ClientSession, book: Book) -> None:
        """Make ready; `rage` strikes."""
        self._plan, self._scene, self._session, self._book = plan, scene, session, book
        self._dice = dice(plan.seed, "storm")
        self._port = free_port(plan.seed)
        self._made = 0
        self._deck: list[Callable[[], Awaitable[None]]] = []
        self._alive: list[Owner] = []
        self._reserve = self._start()
        self._owner = self._reserve
        self.over = False

    @property
    def url(self) -> str:
        """Where the server is at this moment."""
        return self._owner.url

    async def rage(self, progress: Callable[[int], None]) -> None:
        """Strike as often as planned; then leave a server that runs."""
        self._open()
        for number in range(1, self._plan.kills + 1):
            await self._round()
            progress(number)
        await self._settled()

    async def once_more(self) -> None:
        """One last kill, when nobody asks any more: what is read after it was on disk before."""
        self._kill(self._owner)
        self._open()
        await self._settled()

    def end(self) -> None:
        """End every process that was started."""
        self.over = True
        for owner in list(self._alive):
            owner.kill()
            self._bury(owner)

    async def _round(self) -> None:
        """Let the server live for a while, perhaps stop it, and kill it."""
        if self._dice.random() < 0.08:
            await elapse(self._dice.uniform(0, 0.3))
            self._book.count("kills before the server was ready, or shortly after")
        else:
            await self._settled()
            if self._dice.random() < self._plan.stops:
                await self._deal()()
            await self._moment()
        self._book.count("kills")
        self._book.strike()
        self._kill(self._owner)
        self._open()

    def _deal(self) -> Callable[[], Awaitable[None]]:
        """Draw the next kind of stop; each comes before any comes again."""
        if not self._deck:
            self._deck = [self._pause, self._knock, self._take_over, self._take_over]
            self._dice.shuffle(self._deck)
        return self._deck.pop()

    async def _moment(self) -> None:
        """Wait for the moment at which the blow falls: any moment, or one at which something is being done."""
        if self._dice.random() < 0.4:
            await elapse(self._dice.uniform(0, _LONGEST_ROUND))
            return
        await elapse(self._dice.uniform(0, 0.2))
        await self._book.moment(self._dice.choice([*PHASES]), _LONGEST_ROUND)
        await elapse(self._dice.choice([0, 0.001, 0.003, 0.01, 0.03]))

    async def _pause(self) -> None:
        """Stop the server for longer than its lease, and let it go on: nobody has taken its place."""
        await self._moment()
        self._book.count("stops past the lease")
        self._owner.stop()
        await elapse(self._lease())
        if self._dice.random() < 0.25:
            self._book.count("kills of a stopped server")
            return
        self._owner.resume()

    async def _knock(self) -> None:
        """Stop the server, and start a second one on its database: it has to refuse, and to say why."""
        await self._moment()
        self._book.count("stops past the lease")
        self._owner.stop()
        second = self._start()
        second.go(free_port(self._plan.seed + self._made))
        if await second.ready(self._session):
            self._book.blame("faults", "a second process opened a database that is in use")
        elif "is open in process" not in second.log:
            self._book.blame("faults", f"a second process did not say why it could not start: {second.log}")
        self._book.count("second processes that were refused")
        self._kill(second)
        await elapse(self._lease() / 2)
        self._owner.resume()

    async def _take_over(self) -> None:
        """Stop the server, lose its lock, let another take over, and wake the first: it must do no harm any more."""
        await self._moment()
        self._book.count("stops past the lease")
        self._book.strike()
        old = self._owner
        self._book.unsettle(_AGES)
        await self._stop_between_commits(old)
        await elapse(self._lease())
        with suppress(FileNotFoundError):
            self._scene.lock.unlink()
        self._port = free_port(self._plan.seed + self._made)
        self._open()
        if not await self._owner.ready(self._session):
            # It was stopped while it held SQLite's own lock. Nobody can take over then, and nobody has to.
            self._book.count("takeovers that SQLite's own lock refused")
            self._kill(old)
            self._kill(self._owner)
            self._open()
            await self._settled()
            self._book.calm()
            return
        self._book.count("takeovers")
        await elapse(self._dice.uniform(0, self._scene.beat_seconds))
        old.resume()
        if not await until(lambda: "owner.superseded" in old.log, 10):
            self._book.blame("faults", f"an owner did not see that it was superseded: {old.log[-2000:]}")
        await elapse(self._dice.uniform(0, self._scene.beat_seconds))
        self._kill(old)
        self._book.calm()

    async def _stop_between_commits(self, owner: Owner) -> None:
        """Stop it, mostly at a moment when it does not hold SQLite's own lock, under which nobody can take over."""
        owner.stop()
        for _ in range(_TRIES):
            if self._scene.is_writable or self._dice.random() < 0.02:
                return
            owner.resume()
            await elapse(self._dice.uniform(0.001, 0.01))
            owner.stop()

    def _lease(self) -> float:
        return self._scene.beat_seconds * (_LEASE + self._dice.random())

    async def _settled(self) -> None:
        if not await self._owner.ready(self._session):
            self._book.blame("faults", f"the server did not start: {self._owner.log[-2000:]}")
            raise RuntimeError("the server did not start")

    def _open(self) -> None:
        """Let the process in reserve serve, and start the next."""
        self._owner, self._reserve = self._reserve, self._start()
        self._owner.go(self._port)

    def _start(self) -> Owner:
        self._made += 1
        owner = Owner(self._scene, self._made)
        self._alive.append(owner)
        return owner

    def _kill(self, owner: Owner) -> None:
        owner.kill()
        self._bury(owner)

    def _bury(self, owner: Owner) -> None:
        self._alive.remove(owner)
        owner.tell(self._book)


async def weather(plan: Plan, scene: Scene, book: Book, progress: Callable[[int], None]) -> None:
    """Let a storm rage over people who hold conversations, and check everything afterwards."""
    connector = aiohttp.TCPConnector(limit=0)
    model = Model(book)
    async with (
        asyncio.timeout(plan.minutes * 60),
        model.serving(),
        aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as session,
    ):
        scene = Scene(scene.folder, model.url, scene.beat_seconds, scene.keep_seconds)
        storm = Storm(plan, scene, session, book)
        try:
            talks = await _under(storm, plan, session, book, progress)
            await _afterwards(storm, talks, Caller(storm, session, book, dice(plan.seed, "afterwards")), scene, book)
        finally:
            storm.end()
    check_file(scene.database, book)


async def _under(
    storm: Storm, plan: Plan, session: aiohttp.ClientSession, book: Book, progress: Callable[[int], None]
) -> list[Talk]:
    holders = [_holder(f"h{number}", storm, plan, session, book) for number in range(plan.holders)]
    async with asyncio.TaskGroup() as group:
        for holder in holders:
            group.create_task(holder.hold())
        await storm.rage(progress)
        storm.over = True
    return [talk for holder in holders for talk in holder.talks]


def _holder(name: str, storm: Storm, plan: Plan, session: aiohttp.ClientSession, book: Book) -> Holder:
    own: random.Random = dice(plan.seed, name)
    return Holder(name, Caller(storm, session, book, own), book, own, lambda: storm.over)


async def _afterwards(storm: Storm, talks: list[Talk], caller: Caller, scene: Scene, book: Book) -> None:
    await check_talks(talks, caller, book)
    await storm.once_more()
    await check_talks(talks, caller, book)
    await check_list(talks, caller, book)
    for talk in dice(len(talks), "free").sample(talks, min(50, len(talks))):
        await check_free(talk, caller, book)
        await check_talks([talk], caller, book)
    check_effects(scene.effects, talks, book)
    book.count("conversations", len(talks))
