"""The engine: the eleven operations, in process. It begins runs and hands them out; a caller reads and may leave.

It knows ports only: a store, an upstream, toolsets. How an answer is sent is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from causerie.errors import Conflict, InvalidRequest, NotFound
from causerie.ids import Clock, Ids
from causerie.moderation.base import Moderator
from causerie.stores.base import WAITED, ConversationRow, EntryRow, Operation, Place, Repeat, RunStart, Segment, Store
from causerie.tools.base import Toolset
from causerie.types.base import UnsetType, encode
from causerie.types.completion import CompletionArgs
from causerie.types.entries import ConversationInputs, Entry
from causerie.types.requests import AppendRequest, ListRequest, RestartRequest, StartRequest
from causerie.types.responses import AgentConversation, ConversationRun, ModelConversation
from causerie.upstreams.base import Upstream

from . import admission
from .agents import Agents
from .classifiers import Classifiers
from .confirmations import Word, check_offered, left, seen, shown, taken_up, told, words
from .conversation import encode_metadata, entity, of_branch, of_start, settings_of
from .guardrails import Guards, guarding, texts_of, unanswered
from .history import History, check, rows
from .journal import Journal, NoJournal, StoredJournal
from .offer import Offer
from .plan import Bounds, Plan, Request
from .recent import Loaded
from .repeats import Repeats
from .replay import Answerable, Following
from .run import Run
from .runlog import Cursor
from .speaker import Casting
from .structured import Form
from .supervisor import Supervisor


class Engine:
    """Runs conversations over a store and an upstream."""

    def __init__(
        self, store: Store, upstream: Upstream, *, toolsets: Mapping[str, Toolset] | None = None,
        moderator: Moderator | None = None, default_model: str | None = None, bounds: Bounds | None = None,
        ids: Ids | None = None, clock: Clock | None = None, cache_bytes: int = 64 * 1024 * 1024,
        keep_seconds: float = 300, beat_seconds: float = 5,
    ) -> None:  # fmt: skip
        """Take the ports.

        Args:
            toolsets: who runs each wire type of server tool, such as ``web_search``.
            moderator: who scores texts for guardrails; without one a guardrail is refused.
            default_model: what runs where a start names neither model nor agent.
            cache_bytes: how much of recent conversations' prompts is kept in memory.
            keep_seconds: how long a run that ended can be followed piece by piece; later its entries come whole.
            beat_seconds: how often this process says in the store that it is alive.
        """
        self._store, self._upstream = store, upstream
        self._toolsets = dict(toolsets or {})
        self._default_model = default_model
        self._bounds = bounds or Bounds()
        self._ids, self._clock = ids or Ids(), clock or Clock()
        self.guards, self.classifiers = Guards(moderator), Classifiers(moderator, self._ids)
        self.agents = Agents(
            store, self._ids, self._clock, self._toolsets, self.guards.offered, check_serving=self._check_serving
        )
        self._casting = Casting(self.agents, self._toolsets)
        self._supervisor = Supervisor(
            store, upstream, casting=self._casting, bounds=self._bounds, ids=self._ids, clock=self._clock,
            cache_bytes=cache_bytes, keep_seconds=keep_seconds, beat_seconds=beat_seconds,
        )  # fmt: skip
        self._recent, self._runs = self._supervisor.recent, self._supervisor.runs
        self._repeats = Repeats(store, self._supervisor, self._clock)

    async def open(self, *, adopt: bool = False) -> None:
        """Open the store; see `Store.open` for what it raises.

        Args:
            adopt: carry on at once every run that a crash interrupted. Otherwise each waits until its conversation
                is touched: opening a file spends no tokens (D15).
        """
        await self._store.open(self._ids.new("own"))
        await self._supervisor.open(adopt=adopt)

    async def close(self, grace: float = 10.0) -> None:
        """Let runs end for up to `grace` seconds, leave the rest to the next owner, and close the ports."""
        await self._supervisor.close(grace)
        await self._upstream.close()
        await self.guards.close()
        await self._store.close()

    async def start(self, workspace: str, request: StartRequest, key: str | None = None) -> Answerable:
        """Create a conversation and run it.

        Args:
            key: an idempotency key: whoever asks again under it gets this run, not another.

        Raises:
            InvalidRequest: the request is wrong by itself, or an input does not fit the ones before it.
            NotFound: there is no such agent, or it has no such version.
            BadRequest: the inputs leave function calls without their results.
            Blocked: a guardrail blocks the inputs; nothing is stored, and the model is not asked.
        """
        model = admission.check_start(request, self._default_model, self._toolsets, self.guards.offered)
        repeat = self._repeats.bound("start", key, request)
        async with self._repeats.in_turn(workspace, repeat, stream=bool(request.stream)) as earlier:
            if earlier:
                return earlier
            settings, now = of_start(request, model), self._clock.now()
            row = ConversationRow(
                workspace=workspace, id=self._ids.new("conv"), created_at=now, updated_at=now,
                settings=encode(settings), name=request.name, description=request.description,
                metadata=encode_metadata(request.metadata),
            )  # fmt: skip
            loaded = Loaded(row=row, settings=settings, history=History())
            inputs = admission.complete(request.inputs, self._ids, self._clock)
            return await self._run(loaded, inputs, request, "start", repeat)

    async def append(
        self, workspace: str, conversation_id: str, request: AppendRequest, key: str | None = None
    ) -> Answerable:
        """Run a conversation on its history and new entries.

        Raises:
            NotFound: there is no such conversation, or its agent was deleted.
            Conflict: it is running already.
            InvalidRequest: there is nothing to run on, or an input does not fit.
            BadRequest: function calls would be left without their results; nothing is stored.
            Blocked: a guardrail of the conversation blocks the inputs; nothing is stored.
        """
        admission.check_append(request)
        loaded = await self._load(workspace, conversation_id)
        repeat = self._repeats.bound(f"append {conversation_id}", key, request)
        async with self._repeats.in_turn(workspace, repeat, stream=bool(request.stream)) as earlier:
            if earlier:
                return earlier
            if request.store is not False:
                await self._supervisor.attend(loaded.row)
                self._runs.check_free(workspace, conversation_id)
                loaded = self._recent.get(workspace, conversation_id) or loaded  # a run may have ended meanwhile
            said = words(request.tool_confirmations or [], loaded.history)
            inputs = await self._new_entries(loaded.row, request.inputs, loaded.history)
            return await self._run(loaded, inputs, request, "append", repeat, said=said)

    async def restart(
        self, workspace: str, conversation_id: str, request: RestartRequest, key: str | None = None
    ) -> Answerable:
        """Branch a conversation after one of its entries and run the branch (D6). The original is untouched.

        Raises:
            NotFound: there is no such conversation, it has no such entry, or its agent no such version.
            Conflict: the entry belongs to a run that has not ended.
            InvalidRequest: there is nothing to run on, or an input does not fit.
            BadRequest: function calls before the cut are left without their results.
            Blocked: a guardrail blocks the inputs, or what is answered of the branch; nothing is stored.
        """
        admission.check_restart(request, self.guards.offered)
        parent = await self._store.load(workspace, conversation_id)
        repeat = self._repeats.bound(f"restart {conversation_id}", key, request)
        async with self._repeats.in_turn(workspace, repeat, stream=bool(request.stream)) as earlier:
            if earlier:
                return earlier
            place = await self._locate(parent, request.from_entry_id)
            kept = await self._store.entries(workspace, parent.ranges(place.position))
            history = History().extended(kept, seen(parent, place.position))
            settings = of_branch(settings_of(parent), request)
            now, metadata = self._clock.now(), request.metadata
            if settings.agent_id is not None and not isinstance(request.agent_version, UnsetType):
                await self.agents.resolve(workspace, settings.agent_id, settings.agent_version)  # also where it waits
            row = ConversationRow(
                workspace=workspace, id=self._ids.new("conv"), created_at=now, updated_at=now,
                settings=encode(settings), name=parent.name, description=parent.description,
                metadata=parent.metadata if isinstance(metadata, UnsetType) else encode_metadata(metadata),
                head=place.position, segments=_segments(parent, place), parent_id=parent.id,
                parent_entry_id=request.from_entry_id,
            )  # fmt: skip
            inputs = await self._new_entries(row, request.inputs, history)
            if not inputs and not history.open and not history.can_run:
                raise InvalidRequest(
                    "Nothing to answer: the branch ends with an entry of the model's. Give inputs, or restart from a "
                    "user message or a function result.", loc=("body", "inputs"),
                )  # fmt: skip
            loaded = Loaded(row=row, settings=settings, history=history)
            return await self._run(loaded, inputs, request, "restart", repeat, kept=kept)

    async def get(self, workspace: str, conversation_id: str) -> ModelConversation | AgentConversation:
        """Return a conversation's settings; raises `NotFound`."""
        return entity(await self._store.load(workspace, conversation_id))

    async def list(self, workspace: str, request: ListRequest) -> Sequence[ModelConversation | AgentConversation]:
        """Return a page of conversations, newest first."""
        found = await self._store.page(
            workspace, offset=request.page * request.page_size, limit=request.page_size,
            metadata=request.metadata or {},
        )  # fmt: skip
        return [entity(row) for row in found]

    async def delete(self, workspace: str, conversation_id: str) -> None:
        """Delete a conversation. A run of it is given up; branches of it live on. Raises `NotFound`."""
        self._check_serving()
        await self._store.delete(workspace, conversation_id, self._clock.now())
        self._recent.forget(workspace, conversation_id)
        self._runs.forget(workspace, conversation_id)
        if run := self._runs.of(workspace, conversation_id):
            run.delete()

    async def get_history(self, workspace: str, conversation_id: str) -> Sequence[bytes]:
        """Return all entries, oldest first, each as the JSON that the API shows; raises `NotFound`."""
        row = await self._store.load(workspace, conversation_id)
        if row.settlements:
            return shown(await self._store.entries(workspace, row.ranges()), row.settlements)
        return await self._store.bodies(workspace, row.ranges())

    async def get_messages(self, workspace: str, conversation_id: str) -> Sequence[bytes]:
        """Return all messages, oldest first, each as the JSON that the API shows; raises `NotFound`."""
        row = await self._store.load(workspace, conversation_id)
        return await self._store.bodies(workspace, row.ranges(), messages_only=True)

    async def list_runs(self, workspace: str, conversation_id: str) -> Sequence[ConversationRun]:
        """Return the newest runs of a conversation, newest first; raises `NotFound`."""
        await self._store.load(workspace, conversation_id)
        return await self._supervisor.list(workspace, conversation_id)

    async def get_run(self, workspace: str, conversation_id: str, run_id: str) -> ConversationRun:
        """Return one run of a conversation; raises `NotFound`."""
        return await self._supervisor.show(workspace, conversation_id, run_id)

    async def follow_run(self, workspace: str, conversation_id: str, run_id: str, cursor: Cursor | None) -> Following:
        """Return a run's events behind `cursor`, and those that it still writes; raises `NotFound`."""
        return await self._supervisor.follow(workspace, conversation_id, run_id, cursor)

    async def cancel_run(self, workspace: str, conversation_id: str, run_id: str) -> ConversationRun:
        """End a run now; what it has made is kept, and the conversation is free. Raises `NotFound`.

        One that has ended already is returned as it is.
        """
        run = self._runs.find(workspace, conversation_id, run_id)
        if run is None:
            row = await self._store.load(workspace, conversation_id)
            run = await self._supervisor.attend(row) if row.run_id == run_id else None
        if run is None:
            return await self._supervisor.show(workspace, conversation_id, run_id)
        await self._supervisor.cancel(run)
        return await self._supervisor.show(workspace, conversation_id, run_id, run)

    async def cancel(self, workspace: str, conversation_id: str) -> Sequence[ConversationRun]:
        """End whatever runs in a conversation now; return what was ended, an empty list if nothing ran.

        Raises:
            NotFound: there is no such conversation.
        """
        row = await self._store.load(workspace, conversation_id)
        run = await self._supervisor.attend(row)
        if run is None:
            return []
        await self._supervisor.cancel(run)
        return [await self._supervisor.show(workspace, conversation_id, run.id)]

    async def ready(self, workspace: str) -> None:
        """See that the store answers and is ours; raises `StoreUnavailable` or `Stopping`."""
        self._check_serving()
        await self._store.page(workspace, offset=0, limit=1, metadata={})

    async def models(self) -> Sequence[str]:
        """Return the names of the models that conversations can be started with."""
        names = await self._upstream.models()
        return names if not self._default_model or self._default_model in names else [self._default_model, *names]

    async def _run(
        self, loaded: Loaded, inputs: Sequence[Entry], request: StartRequest | AppendRequest | RestartRequest,
        operation: Operation, repeat: Repeat | None, *, said: Sequence[Word] = (), kept: Sequence[EntryRow] = (),
    ) -> Answerable:  # fmt: skip
        """Begin a run and return it once its inputs are durable; `kept` is what a branch stands on."""
        check(inputs, loaded.history, waits=bool(said) or (operation == "restart" and bool(loaded.history.pending)))
        row, stored, settings = loaded.row, request.store is not False, loaded.settings
        override = None if operation == "start" else request.completion_args
        first = loaded.history.agent or settings.agent_id
        cast = await self._casting.cast(row.workspace, settings, first, override)
        speaker, reports = await cast.speaker(first), None
        check_offered(said, speaker.offer)
        # Awaited before anything of the run is: neither the model nor the store sees what a guardrail blocks.
        if guardrails := guarding(settings, speaker.agent):
            reports = await self.guards.check(guardrails, texts_of([*unanswered(kept), *inputs]))
        said = await self._true_words(row, said, speaker.offer) if stored else said  # as late as can be
        plan = Plan(
            run_id=self._ids.new("run"), workspace=row.workspace, conversation_id=row.id, operation=operation,
            speaker=speaker, cast=cast, history=loaded.history,
            inputs=rows(inputs, loaded.history), stream=bool(request.stream), started_at=self._clock.now(),
            handoff_execution=request.handoff_execution or "server", repeats=repeat is not None, repeat=repeat,
            guardrails=reports, words=said,
        )  # fmt: skip
        Form.of(plan.speaker.args, plan.speaker.offer.rendered)  # refuses a schema that cannot be checked beside tools
        self._check_serving()
        # From here to the run's registration nothing is awaited: nobody can come between.
        journal: Journal = NoJournal()
        if stored:
            if operation == "append":
                self._runs.check_free(row.workspace, row.id)
            journal = StoredJournal(self._store, plan.history.head, self._run_start(plan, row, override))
        run = Run(plan, journal, self._upstream, ids=self._ids, clock=self._clock, bounds=self._bounds)
        self._supervisor.carry(run, loaded, stored=stored)
        if error := await run.begun():
            raise error
        return run

    async def _true_words(self, row: ConversationRow, said: Sequence[Word], offer: Offer) -> Sequence[Word]:
        """Take a denial that comes too late for none: a run that failed has made the call, and that is what is told."""
        found = list[Word]()
        for word in said:
            (call,) = taken_up([word._replace(allowed=True)])
            if not word.allowed and offer.runs(call):
                made = await self._store.recorded(row.workspace, row.id, f"{WAITED}{word.call.id}")
                late = made is not None and (made.result is not None or not offer.served[call.name].repeatable)
                found.append(word._replace(allowed=late))
            else:
                found.append(word)
        return found

    def _check_serving(self) -> None:
        if self._supervisor.stopping:
            raise self._supervisor.stopping

    def _run_start(self, plan: Plan, row: ConversationRow, override: CompletionArgs | None) -> RunStart:
        request = Request(
            args=override, inputs=len(plan.inputs), agents=plan.cast.versions, handoffs=plan.handoff_execution,
            stream=plan.stream, repeats=plan.repeats, guardrails=plan.guardrails, confirmations=told(plan.words),
            left=[row.id for row in left(plan.history, plan.words, plan.inputs)],
        )  # fmt: skip
        return RunStart(
            run_id=plan.run_id, operation=plan.operation, conversation=row, head=plan.history.head,
            entries=plan.inputs, started_at=plan.started_at, announced=plan.stream,
            waiting=[row.id for row in plan.history.pending.values()], request=encode(request), repeat=plan.repeat,
        )  # fmt: skip

    async def _load(self, workspace: str, conversation_id: str) -> Loaded:
        if recent := self._recent.get(workspace, conversation_id):
            return recent
        row = await self._store.load(workspace, conversation_id)
        history = History().extended(await self._store.entries(workspace, row.ranges()), row.settlements)
        return Loaded(row=row, settings=settings_of(row), history=history)

    async def _locate(self, parent: ConversationRow, entry_id: str) -> Place:
        """Find where to cut; only what is committed can be stood on (D6)."""
        place = await self._store.locate(parent.workspace, parent.ranges(), entry_id)
        if place is not None:
            return place
        run = self._runs.of(parent.workspace, parent.id)
        if run is not None and run.announces(entry_id):
            raise Conflict(f"Entry {entry_id} is still being written by run {run.id}. Restart from it when that ends.")
        raise NotFound(f"Conversation {parent.id} has no entry {entry_id}")

    async def _new_entries(
        self, row: ConversationRow, inputs: ConversationInputs | None, history: History
    ) -> Sequence[Entry]:
        echo = admission.echoes(inputs, history.handoff)
        for index, entry_id in admission.given_ids(inputs):
            if (index or not echo) and await self._store.locate(row.workspace, row.ranges(), entry_id):
                raise admission.repeated_id(index, entry_id)
        return admission.complete(inputs, self._ids, self._clock)[echo:]


def _segments(parent: ConversationRow, place: Place) -> tuple[Segment, ...]:
    """Point at whoever owns the entries: a hundred regenerations stay one segment deep."""
    return tuple(Segment(part.owner, part.upto) for part in parent.ranges(place.position))
