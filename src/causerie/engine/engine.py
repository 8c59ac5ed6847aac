"""The engine: the eleven operations, in process. It begins runs and hands them out; a caller reads and may leave.

It knows ports only: a store, an upstream, toolsets. How an answer is sent is not known here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import OrderedDict
from collections.abc import Mapping, Sequence

import msgspec

from causerie.errors import CauserieError, Conflict, InvalidRequest, NotFound, Stopping
from causerie.ids import Clock, Ids
from causerie.stores.base import ConversationRow, Operation, Place, RunStart, Segment, Store
from causerie.tools.base import Toolset
from causerie.types.base import UnsetType, encode
from causerie.types.completion import CompletionArgs
from causerie.types.entries import ConversationInputs, Entry
from causerie.types.requests import AppendRequest, ListRequest, RestartRequest, StartRequest
from causerie.types.responses import AgentConversation, ModelConversation
from causerie.upstreams.base import Upstream

from . import admission
from .conversation import ConversationSettings, encode_metadata, entity, settings_of
from .history import History, check, rows
from .journal import Journal, NoJournal, StoredJournal
from .offer import offer
from .run import Bounds, Outcome, Plan, Run


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as a run needs it."""

    row: ConversationRow
    settings: ConversationSettings
    history: History


class Engine:
    """Runs conversations over a store and an upstream."""

    def __init__(
        self, store: Store, upstream: Upstream, *, toolsets: Mapping[str, Toolset] | None = None,
        default_model: str | None = None, bounds: Bounds | None = None, ids: Ids | None = None,
        clock: Clock | None = None, cache_bytes: int = 64 * 1024 * 1024,
    ) -> None:  # fmt: skip
        """Take the ports.

        Args:
            toolsets: who runs each wire type of server tool, such as ``web_search``.
            default_model: what runs where a start names neither model nor agent.
            cache_bytes: how much of recent conversations' prompts is kept in memory.
        """
        self._store, self._upstream = store, upstream
        self._toolsets = dict(toolsets or {})
        self._default_model = default_model
        self._bounds = bounds or Bounds()
        self._ids, self._clock = ids or Ids(), clock or Clock()
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{self._ids.new('own')}"
        self._runs: dict[tuple[str, str], Run] = {}
        self._recent = Recent(cache_bytes)
        self._closing = False

    async def open(self) -> None:
        """Open the store; see `Store.open` for what it raises."""
        await self._store.open()

    async def close(self, grace: float = 10.0) -> None:
        """Let running runs end for up to `grace` seconds, give up the rest, and close the ports."""
        self._closing = True
        if running := list(self._runs.values()):
            waiting = [asyncio.ensure_future(run.wait()) for run in running]
            await asyncio.wait(waiting, timeout=grace)
            for run in running:
                run.stop(Stopping())
            await asyncio.wait(waiting)
        await self._upstream.close()
        await self._store.close()

    async def start(self, workspace: str, request: StartRequest) -> Run:
        """Create a conversation and run it.

        Raises:
            InvalidRequest: the request is wrong by itself, or an input does not fit the ones before it.
            BadRequest: the inputs leave function calls without their results.
        """
        model = admission.check_start(request, self._default_model, self._toolsets)
        settings = ConversationSettings(
            model=model, instructions=request.instructions, tools=request.tools,
            completion_args=request.completion_args,
        )  # fmt: skip
        now = self._clock.now()
        row = ConversationRow(
            workspace=workspace, id=self._ids.new("conv"), created_at=now, updated_at=now,
            settings=encode(settings), name=request.name, description=request.description,
            metadata=encode_metadata(request.metadata),
        )  # fmt: skip
        loaded = Loaded(row=row, settings=settings, history=History())
        inputs = admission.complete(request.inputs, self._ids, self._clock)
        return await self._run(loaded, inputs, request, "start")

    async def append(self, workspace: str, conversation_id: str, request: AppendRequest) -> Run:
        """Run a conversation on its history and new entries.

        Raises:
            NotFound: there is no such conversation.
            Conflict: it is running already.
            InvalidRequest: there is nothing to run on, or an input does not fit.
            BadRequest: function calls would be left without their results; nothing is stored.
        """
        admission.check_append(request)
        if request.store is not False:
            self._check_free(workspace, conversation_id)
        loaded = await self._load(workspace, conversation_id)
        if request.store is not False:
            self._check_free(workspace, conversation_id)  # a run may have begun while it was being read
            loaded = self._recent.get(workspace, conversation_id) or loaded
        admission.check_confirmations(request.tool_confirmations or [])
        inputs = await self._new_entries(loaded.row, request.inputs)
        return await self._run(loaded, inputs, request, "append")

    async def restart(self, workspace: str, conversation_id: str, request: RestartRequest) -> Run:
        """Branch a conversation after one of its entries and run the branch (D6). The original is untouched.

        Raises:
            NotFound: there is no such conversation, or it has no such entry.
            Conflict: the entry belongs to a run that has not ended.
            InvalidRequest: there is nothing to run on, or an input does not fit.
            BadRequest: function calls before the cut are left without their results.
        """
        admission.check_restart(request)
        parent = await self._store.load(workspace, conversation_id)
        place = await self._locate(parent, request.from_entry_id)
        history = History().extended(await self._store.entries(workspace, parent.ranges(place.position)))
        settings, now = settings_of(parent), self._clock.now()
        metadata = request.metadata
        row = ConversationRow(
            workspace=workspace, id=self._ids.new("conv"), created_at=now, updated_at=now,
            settings=parent.settings, name=parent.name, description=parent.description,
            metadata=parent.metadata if isinstance(metadata, UnsetType) else encode_metadata(metadata),
            head=place.position, segments=_segments(parent, place), parent_id=parent.id,
            parent_entry_id=request.from_entry_id,
        )  # fmt: skip
        inputs = await self._new_entries(row, request.inputs)
        if not inputs and not history.open and not history.can_run:
            raise InvalidRequest(
                "Nothing to answer: the branch ends with an entry of the model's. Give inputs, or restart from a user "
                "message or a function result.", loc=("body", "inputs"),
            )  # fmt: skip
        return await self._run(Loaded(row=row, settings=settings, history=history), inputs, request, "restart")

    async def get(self, workspace: str, conversation_id: str) -> ModelConversation | AgentConversation:
        """Return a conversation's settings; raises `NotFound`."""
        return entity(await self._store.load(workspace, conversation_id))

    async def list(self, workspace: str, request: ListRequest) -> Sequence[ModelConversation | AgentConversation]:
        """Return a page of conversations, newest first; raises `InvalidRequest` for a bad page."""
        admission.check_list(request)
        found = await self._store.page(
            workspace, offset=request.page * request.page_size, limit=request.page_size,
            metadata=request.metadata or {},
        )  # fmt: skip
        return [entity(row) for row in found]

    async def delete(self, workspace: str, conversation_id: str) -> None:
        """Delete a conversation. A run of it is given up; branches of it live on. Raises `NotFound`."""
        await self._store.delete(workspace, conversation_id, self._clock.now())
        self._recent.forget(workspace, conversation_id)
        if run := self._runs.get((workspace, conversation_id)):
            run.stop(NotFound(f"Conversation {conversation_id} was deleted while run {run.id} was under way."))

    async def get_history(self, workspace: str, conversation_id: str) -> Sequence[bytes]:
        """Return all entries, oldest first, each as the JSON that the API shows; raises `NotFound`."""
        row = await self._store.load(workspace, conversation_id)
        return await self._store.bodies(workspace, row.ranges())

    async def get_messages(self, workspace: str, conversation_id: str) -> Sequence[bytes]:
        """Return all messages, oldest first, each as the JSON that the API shows; raises `NotFound`."""
        row = await self._store.load(workspace, conversation_id)
        return await self._store.bodies(workspace, row.ranges(), messages_only=True)

    async def ready(self, workspace: str) -> None:
        """See that the store answers; raises `StoreUnavailable`."""
        await self._store.page(workspace, offset=0, limit=1, metadata={})

    async def models(self) -> Sequence[str]:
        """Return the names of the models that conversations can be started with."""
        names = await self._upstream.models()
        return names if not self._default_model or self._default_model in names else [self._default_model, *names]

    async def _run(
        self, loaded: Loaded, inputs: Sequence[Entry], request: StartRequest | AppendRequest | RestartRequest,
        operation: Operation,
    ) -> Run:  # fmt: skip
        """Begin a run and return it once its inputs are durable."""
        if self._closing:
            raise Stopping
        check(inputs, loaded.history)
        row, stored = loaded.row, request.store is not False
        new_rows = rows(inputs, loaded.history)
        offered = await offer(loaded.settings.tools or [], self._toolsets)
        if stored and operation == "append":
            self._check_free(row.workspace, row.id)
        args = loaded.settings.completion_args or CompletionArgs()
        plan = Plan(
            run_id=self._ids.new("run"), workspace=row.workspace, conversation_id=row.id, operation=operation,
            model=loaded.settings.model or "", instructions=loaded.settings.instructions,
            args=args if operation == "start" else args.overridden_by(request.completion_args),
            offer=offered, history=loaded.history, inputs=new_rows, stream=bool(request.stream),
        )  # fmt: skip
        journal: Journal = NoJournal()
        if stored:
            journal = StoredJournal(self._store, RunStart(
                run_id=plan.run_id, operation=operation, conversation=row, head=loaded.history.head, entries=new_rows,
                started_at=self._clock.now(), announced=bool(request.stream), owner=self._owner,
            ))  # fmt: skip
        run = Run(plan, journal, self._upstream, ids=self._ids, clock=self._clock, bounds=self._bounds)
        key = (row.workspace, row.id if stored else run.id)
        self._runs[key] = run
        run.start(lambda outcome: self._ended(key, loaded if stored else None, outcome))
        if error := await asyncio.shield(run.begun):
            raise error
        return run

    def _ended(self, key: tuple[str, str], loaded: Loaded | None, outcome: Outcome | CauserieError) -> None:
        """A run is over and its conversation free: `loaded` is what it began with, None where nothing is stored."""
        self._runs.pop(key, None)
        if loaded is None:
            return
        if isinstance(outcome, Outcome):
            self._recent.keep(msgspec.structs.replace(loaded, history=outcome.history))
        else:
            self._recent.forget(*key)

    def _check_free(self, workspace: str, conversation_id: str) -> None:
        if run := self._runs.get((workspace, conversation_id)):
            raise busy(run.id)

    async def _load(self, workspace: str, conversation_id: str) -> Loaded:
        if recent := self._recent.get(workspace, conversation_id):
            return recent
        row = await self._store.load(workspace, conversation_id)
        history = History().extended(await self._store.entries(workspace, row.ranges()))
        return Loaded(row=row, settings=settings_of(row), history=history)

    async def _locate(self, parent: ConversationRow, entry_id: str) -> Place:
        """Find where to cut; only what is committed can be stood on (D6)."""
        place = await self._store.locate(parent.workspace, parent.ranges(), entry_id)
        if place is not None:
            return place
        run = self._runs.get((parent.workspace, parent.id))
        if run is not None and run.announces(entry_id):
            raise Conflict(f"Entry {entry_id} is still being written by run {run.id}. Restart from it when that ends.")
        raise NotFound(f"Conversation {parent.id} has no entry {entry_id}")

    async def _new_entries(self, row: ConversationRow, inputs: ConversationInputs | None) -> Sequence[Entry]:
        for index, entry_id in admission.given_ids(inputs):
            if await self._store.locate(row.workspace, row.ranges(), entry_id):
                raise admission.repeated_id(index, entry_id)
        return admission.complete(inputs, self._ids, self._clock)


class Recent:
    """The conversations that ran last, so that the next turn reads nothing: their histories, up to a size."""

    def __init__(self, most_bytes: int) -> None:
        """Keep up to `most_bytes` of prompts."""
        self._most, self._size = most_bytes, 0
        self._kept: OrderedDict[tuple[str, str], Loaded] = OrderedDict()

    def get(self, workspace: str, conversation_id: str) -> Loaded | None:
        """Return what is kept, as of the last commit."""
        found = self._kept.get((workspace, conversation_id))
        if found is not None:
            self._kept.move_to_end((workspace, conversation_id))
        return found

    def keep(self, loaded: Loaded) -> None:
        """Keep a conversation in the place of what was kept of it before."""
        self.forget(loaded.row.workspace, loaded.row.id)
        row = msgspec.structs.replace(loaded.row, head=loaded.history.head)
        self._kept[row.workspace, row.id] = msgspec.structs.replace(loaded, row=row)
        self._size += _weight(loaded)
        while self._size > self._most:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _weight(dropped)

    def forget(self, workspace: str, conversation_id: str) -> None:
        """Drop a conversation."""
        if dropped := self._kept.pop((workspace, conversation_id), None):
            self._size -= _weight(dropped)


def busy(run_id: str) -> Conflict:
    """Return the refusal of a second run; it names the one in the way (D3)."""
    return Conflict(f"Conversation is already being processed by run {run_id}. Wait for it to end, then try again.")


def _weight(loaded: Loaded) -> int:
    return len(loaded.history.prompt) + len(loaded.row.settings) + 2048


def _segments(parent: ConversationRow, place: Place) -> tuple[Segment, ...]:
    """Point at whoever owns the entries: a hundred regenerations stay one segment deep."""
    return tuple(Segment(part.owner, part.upto) for part in parent.ranges(place.position))
