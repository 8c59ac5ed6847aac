"""Looks after runs: those under way, those that lost their owner, those that somebody comes back to.

The engine begins runs; everything that is done to a run later, by its id, is done here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from causerie.errors import (
    APIError,
    CauserieError,
    Conflict,
    InvalidRequest,
    NotFound,
    ServerFault,
    Stopping,
    TakenOver,
)
from causerie.ids import Clock, Ids
from causerie.stores.base import BEYOND, ConversationRow, EntryRow, Range, Recalled, RunEnd, RunRow, RunState, Store
from causerie.types.base import decode
from causerie.types.responses import ConversationRun, ConversationUsageInfo, RunBounds, RunError
from causerie.upstreams.base import Upstream

from .adoption import adopted_plan
from .history import Private
from .journal import StoredJournal
from .plan import Bounds, Outcome, Request
from .recent import Loaded, Recent, Runs
from .replay import Following, Replay
from .resume import caught_up, last_events
from .run import Run
from .runlog import Cursor, Numbered
from .speaker import Casting

log = structlog.get_logger("causerie.engine")
MOST_RUNS = 100


class Supervisor:
    """The runs of one engine."""

    def __init__(
        self, store: Store, upstream: Upstream, *, casting: Casting, bounds: Bounds, ids: Ids, clock: Clock,
        cache_bytes: int, keep_seconds: float, beat_seconds: float,
    ) -> None:  # fmt: skip
        """Take the ports.

        Args:
            keep_seconds: how long the events of a run that ended stay in memory; later the store tells them whole.
            beat_seconds: how often the owner says that it is alive.
        """
        self.recent = Recent(cache_bytes)
        self.runs = Runs(clock, seconds=keep_seconds)
        self._store, self._upstream, self._casting = store, upstream, casting
        self._bounds, self._ids, self._clock = bounds, ids, clock
        self._beat_seconds = beat_seconds
        self._untaken: dict[tuple[str, str], Run] = {}
        self._adopting: dict[str, asyncio.Task[Run | None]] = {}
        self._heart: asyncio.Task[None] | None = None
        self.stopping: Stopping | None = None

    async def open(self, *, adopt: bool) -> None:
        """Begin to beat; carry on at once what a crash interrupted, or leave each run until somebody asks for it."""
        self._heart = asyncio.create_task(self._beat())
        if adopt:
            for found in await self._store.unfinished():
                self._adoption(found)

    async def close(self, grace: float) -> None:
        """Let runs end for up to `grace` seconds; leave the rest as they are stored, for the next owner to carry on."""
        self.stopping = self.stopping or Stopping()
        if self._heart is not None:
            self._heart.cancel()
        for task in self._adopting.values():
            task.cancel()
        waiting = [asyncio.ensure_future(run.wait()) for run in self.runs]
        if waiting:
            await asyncio.wait(waiting, timeout=grace)
            for run in self.runs:
                # What nobody can come back to is taken back: its caller is told to send it again.
                run.stop(self.stopping, abandon=run.plan.stream or run.plan.repeats)
            await asyncio.wait(waiting)

    def carry(self, run: Run, loaded: Loaded, *, stored: bool) -> None:
        """Set a run going."""
        self.runs.add(run, stored=stored)
        run.start(lambda outcome: self._ended(run, loaded, outcome, stored=stored))

    async def attend(self, row: ConversationRow) -> Run | None:
        """See to what a stored conversation says is running: return the run, adopted if it has lost its owner."""
        key = (row.workspace, row.id)
        if row.run_id is None or self.runs.of(*key):
            return self.runs.of(*key)
        found = await self._store.run(row.workspace, row.id, row.run_id)
        return await self._adopted(found) if found and found.state == "running" else None

    async def follow(self, workspace: str, conversation_id: str, run_id: str, cursor: Cursor | None) -> Following:
        """Return a run's events after `cursor`: what was missed, then what it still writes.

        Raises:
            NotFound: there is no such run.
        """
        run = self.runs.find(workspace, conversation_id, run_id)
        found = None
        if run is None:
            found = await self._stored_run(workspace, conversation_id, run_id)
            run = await self._adopted(found) if found.state == "running" else None
        if run is None:
            found = await self._stored_run(workspace, conversation_id, run_id)
            if cursor is not None and cursor.number >= BEYOND:
                return Following([], None)  # it had the last event
            return Following(await self._told(found, cursor), None)
        if error := await run.begun():
            raise error
        if run.abandoned:
            raise self.stopping or Stopping()
        if cursor is not None and cursor.epoch == run.log.epoch:
            return Following([], run.log.reader(cursor.number))
        if cursor is None:
            return run.reader()
        found = await self._stored_run(workspace, conversation_id, run_id)
        return Following(caught_up(found, run.plan.outputs, cursor, self._clock), run.log.reader())

    async def replay(self, workspace: str, recalled: Recalled) -> Run | Replay | None:
        """Return what an idempotency key stands for: a run or its answer; None if that came to nothing."""
        if await self._taken_back(workspace, recalled.conversation_id, recalled.run_id):
            return None
        run = self.runs.find(workspace, recalled.conversation_id, recalled.run_id)
        found = await self._store.run(workspace, recalled.conversation_id, recalled.run_id)
        if run is None and found is not None and found.state == "running":
            run = await self._adopted(found)
        if run is not None or found is None or recalled.response is None:
            return run
        return Replay(found.id, found.conversation_id, recalled.response, await self._told(found, None))

    async def show(self, workspace: str, conversation_id: str, run_id: str, run: Run | None = None) -> ConversationRun:
        """Return a run: its state, what it has used, why it failed; `run` if it is at hand, for one that is not stored.

        Raises:
            NotFound: there is no such run.
        """
        found = await self._store.run(workspace, conversation_id, run_id)
        run = run or self.runs.find(workspace, conversation_id, run_id)
        if found is None and run is not None:
            return self._of_memory(run)
        return self._shown(found or await self._stored_run(workspace, conversation_id, run_id))

    def _of_memory(self, run: Run) -> ConversationRun:
        """Return a run as it is in memory."""
        outcome = run.outcome.result() if run.outcome.done() else None
        state: RunState = "running"
        if isinstance(outcome, CauserieError):
            state = "failed"
        elif outcome is not None:
            state = "cancelled" if outcome.cancelled else "done"
        now, plan = self._clock.now(), run.plan
        return ConversationRun(
            id=run.id, conversation_id=run.conversation_id, operation=plan.operation, state=state,
            started_at=plan.started_at, ended_at=None if outcome is None else now,
            bounds=self._used(run, (now - plan.started_at).total_seconds()), usage=plan.usage,
            error=_error(outcome) if isinstance(outcome, CauserieError) else None,
        )  # fmt: skip

    async def list(self, workspace: str, conversation_id: str) -> Sequence[ConversationRun]:
        """Return the newest runs of a conversation, newest first."""
        return [self._shown(row) for row in await self._store.runs(workspace, conversation_id, limit=MOST_RUNS)]

    async def cancel(self, run: Run) -> None:
        """End a run and wait until its conversation is free."""
        run.cancel()
        await run.wait()

    def _ended(self, run: Run, loaded: Loaded, outcome: Outcome | CauserieError, *, stored: bool) -> None:
        """A run is over and its conversation free."""
        self.runs.end(run, stored=stored)
        key = (run.plan.workspace, run.conversation_id)
        if not stored:
            return
        if run.deleted:
            self.runs.forget(*key)
        if isinstance(outcome, Outcome) and not run.deleted:
            self.recent.keep(Loaded(row=loaded.row, settings=loaded.settings, history=outcome.history))
        else:
            self.recent.forget(*key)
        if not run.taken_back:
            self._untaken[key] = run

    async def _adopted(self, found: RunRow) -> Run | None:
        return await asyncio.shield(self._adoption(found))

    def _adoption(self, found: RunRow) -> asyncio.Task[Run | None]:
        task = self._adopting.get(found.id)
        if task is None:
            task = self._adopting[found.id] = asyncio.create_task(self._adopt(found))
            task.add_done_callback(lambda _: self._adopting.pop(found.id, None))
        return task

    async def _adopt(self, found: RunRow) -> Run | None:
        """Take a run over and carry it on; None if it ended, or somebody else was quicker."""
        if self.stopping is not None:
            raise self.stopping
        if await self._taken_back(found.workspace, found.conversation_id, found.id):
            return None
        run = self.runs.of(found.workspace, found.conversation_id)
        if run is not None and run.id == found.id:
            return run  # it was adopted while this was being read
        try:
            key = await self._store.adopt(found)
        except Conflict:
            return self.runs.find(found.workspace, found.conversation_id, found.id)
        try:
            loaded, plan = await adopted_plan(self._store, found, key, self._casting, self._clock)
        except InvalidRequest as error:
            end = RunEnd(ended_at=self._clock.now(), state="failed", error=error.message, code=error.status_code)
            await StoredJournal(self._store, found.head, key).fail(end)
            return None
        journal = StoredJournal(self._store, plan.history.head, key)
        run = Run(plan, journal, self._upstream, ids=self._ids, clock=self._clock, bounds=self._bounds)
        log.info("run.adopted", run_id=run.id, conversation_id=run.conversation_id, outputs=len(plan.outputs))
        self.carry(run, loaded, stored=True)
        return run

    async def _taken_back(self, workspace: str, conversation_id: str, run_id: str) -> bool:
        """Take a failed run back that could not be taken back when it failed; False if it is no such run."""
        untaken = self._untaken.get((workspace, conversation_id))
        if untaken is None or untaken.id != run_id:
            return False
        await untaken.take_back()
        self._untaken.pop((workspace, conversation_id), None)
        return True

    async def _stored_run(self, workspace: str, conversation_id: str, run_id: str) -> RunRow:
        found = await self._store.run(workspace, conversation_id, run_id)
        if found is None:
            raise NotFound(f"Conversation {conversation_id} has no run {run_id}")
        return found

    async def _told(self, found: RunRow, cursor: Cursor | None) -> Sequence[Numbered]:
        """The events that a run which is over has left for whoever is at `cursor`."""
        outputs, again = await self._outputs(found), await self._left(found)
        return [*caught_up(found, outputs, cursor, self._clock, again), *last_events(found, self._clock)]

    async def _left(self, found: RunRow) -> Sequence[EntryRow]:
        """The calls that a run left open, and told again when it ended."""
        left = decode(found.request, Request).left if found.state == "done" else []
        if not left:
            return []
        row = await self._store.load(found.workspace, found.conversation_id)
        places = [await self._store.locate(found.workspace, row.ranges(), entry_id) for entry_id in left]
        ranges = [Range(place.owner, place.position - 1, place.position) for place in places if place is not None]
        return await self._store.entries(found.workspace, ranges)

    async def _outputs(self, found: RunRow) -> Sequence[EntryRow]:
        """The entries that a run made: behind its inputs, as far as they carry its own fencing numbers."""
        first = found.head + decode(found.request, Request).inputs
        rows = await self._store.entries(found.workspace, [Range(found.conversation_id, first, first + 4096)])
        mine = list[EntryRow]()
        for row in rows:
            private = decode(row.private, Private) if row.private else Private()
            if private.epoch is None or private.epoch > found.fence:
                break
            mine.append(row)
        return mine

    def _shown(self, row: RunRow) -> ConversationRun:
        run = self.runs.find(row.workspace, row.conversation_id, row.id) if row.state == "running" else None
        seconds = ((row.ended_at or self._clock.now()) - row.started_at).total_seconds()
        return ConversationRun(
            id=row.id, conversation_id=row.conversation_id, operation=row.operation, state=row.state,
            started_at=row.started_at, ended_at=row.ended_at,
            bounds=self._used(run or row, seconds),
            usage=decode(row.usage, ConversationUsageInfo) if row.usage else ConversationUsageInfo(),
            error=RunError(code=row.code or 500, message=row.error) if row.error else None,
        )  # fmt: skip

    def _used(self, run: Run | RunRow, seconds: float) -> RunBounds:
        return RunBounds(
            model_calls=run.model_calls, max_model_calls=self._bounds.model_calls, handoffs=run.handoffs,
            max_handoffs=self._bounds.handoffs, seconds=round(seconds, 3), max_seconds=self._bounds.seconds,
        )  # fmt: skip

    async def _beat(self) -> None:
        """Say every few seconds that this owner lives; give everything up if another has taken the store."""
        while True:
            await asyncio.sleep(self._beat_seconds)
            try:
                for (workspace, conversation_id), run in list(self._untaken.items()):
                    await self._taken_back(workspace, conversation_id, run.id)
                if await self._store.beat():
                    continue
            except CauserieError as trouble:
                log.warning("owner.beat_failed", reason=trouble.message)
                continue
            self.stopping = TakenOver()
            log.error("owner.superseded")
            for run in self.runs:
                run.stop(self.stopping, abandon=True)
            return


def _error(error: CauserieError) -> RunError:
    code = error.status_code if isinstance(error, APIError) else ServerFault.status_code
    return RunError(code=code, message=error.message)
