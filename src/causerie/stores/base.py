"""The port to where conversations live, in the engine's words.

A store keeps rows and moves heads; what an entry means it does not know. Every call names the workspace. Nothing
that a caller passes in is kept or changed after the call returns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from .agents import AgentQuery, AgentRow, AgentStore, AliasRow

__all__ = [
    "BEYOND", "WAITED", "AgentQuery", "AgentRow", "AgentStore", "AliasRow", "ConversationRow", "EntryRow", "Operation",
    "Place", "Range", "Recalled", "Recorded", "Repeat", "Reservation", "RunEnd", "RunKey", "RunRow", "RunStart",
    "RunState", "Segment", "Settlement", "Store",
]  # fmt: skip

Operation = Literal["start", "append", "restart"]
RunState = Literal["running", "done", "failed", "cancelled"]
BEYOND = 2**62  # as a position: everything that is there, also beyond the head
WAITED = "call "  # a reservation whose key begins so, and ends with an entry, holds until that call is settled


class Range(NamedTuple):
    """The entries of `owner` at positions after `after` up to and including `upto`."""

    owner: str
    after: int
    upto: int


class Segment(NamedTuple):
    """A branch stands on `owner`'s entries up to `upto`, from where its previous segment ends (D6)."""

    owner: str
    upto: int


class EntryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One stored entry.

    Attributes:
        position: its place in the conversation, from 1, absolute across segments.
        body: its JSON exactly as the API returns it.
        prompt: the chat messages as sent upstream, without brackets, of this entry and the `covers` - 1 before it;
            None where a later entry covers this one.
        private: what only the engine needs, as JSON; it never leaves.
    """

    position: int
    id: str
    kind: str
    body: bytes
    tool_call_id: str | None = None
    prompt: bytes | None = None
    covers: int = 0
    private: bytes | None = None


class Settlement(NamedTuple):
    """The caller's word on a call that waited for it: the call itself is never edited (D1).

    Attributes:
        position: whatever stands here or later comes after it. One position past the head where nothing does yet.
        entry: the id of the call's entry.
    """

    position: int
    entry: str
    status: Literal["allowed", "denied"]


class ConversationRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored conversation. `head` is how many entries are committed; a run in progress is named in `run_id`.

    Attributes:
        settlements: the words that were said on its calls, those under a branch included; only `Store.load` tells.
    """

    workspace: str
    id: str
    created_at: datetime
    updated_at: datetime
    settings: bytes
    name: str | None = None
    description: str | None = None
    metadata: bytes | None = None
    head: int = 0
    segments: tuple[Segment, ...] = ()
    parent_id: str | None = None
    parent_entry_id: str | None = None
    run_id: str | None = None
    settlements: tuple[Settlement, ...] = ()

    def ranges(self, upto: int | None = None) -> list[Range]:
        """Where the first `upto` entries are (all committed ones where not given), oldest first."""
        limit = self.head if upto is None else upto
        found, after = list[Range](), 0
        for owner, last in (*self.segments, Segment(self.id, limit)):
            end = min(last, limit)
            if end > after:
                found.append(Range(owner, after, end))
            after = max(after, end)
        return found


class Repeat(NamedTuple):
    """An idempotency key: what it is bound to, a digest of the body that came with it, and how long it is kept."""

    scope: str
    key: str
    digest: bytes
    expires_at: datetime


class RunStart(msgspec.Struct, frozen=True, kw_only=True):
    """What is written when a run begins.

    Attributes:
        conversation: the row as it will be; for start and restart it is new and `head` 0 or where the branch is cut.
        head: what the run starts from; it begins only if the stored head is still that.
        waiting: the entries of calls that it takes to be waiting for a word; it begins only if none has had one, which
            moves no head if it denies.
        announced: whether the id leaves before the run ends (it streams); then a failed start still exists, empty.
        request: what an adopter needs to carry the run on (D4).
        repeat: under which idempotency key it was asked for, if any.
    """

    run_id: str
    operation: Operation
    conversation: ConversationRow
    head: int
    entries: Sequence[EntryRow]
    started_at: datetime
    announced: bool
    waiting: Sequence[str] = ()
    request: bytes = b"{}"
    repeat: Repeat | None = None


class RunEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run has come, or how it ended: figures and, if it failed, why.

    Attributes:
        response: the answer in bytes, kept for whoever asks again under the run's idempotency key.
        settlements: the words on calls that count from the commit on.
    """

    ended_at: datetime
    state: RunState = "done"
    model_calls: int = 0
    handoffs: int = 0
    usage: bytes | None = None
    error: str | None = None
    code: int | None = None
    response: bytes | None = None
    settlements: Sequence[Settlement] = ()


class RunRow(msgspec.Struct, frozen=True, kw_only=True):
    """A stored run."""

    workspace: str
    id: str
    conversation_id: str
    operation: Operation
    state: RunState
    fence: int
    head: int
    request: bytes
    model_calls: int
    handoffs: int
    usage: bytes | None
    error: str | None
    code: int | None
    started_at: datetime
    ended_at: datetime | None


class Recalled(NamedTuple):
    """What is known under an idempotency key: whose it is, and the answer once there is one."""

    digest: bytes
    run_id: str
    conversation_id: str
    response: bytes | None


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that is about to be made (D5).

    Attributes:
        key: what makes it the same call when a later run asks for it again.
    """

    key: str
    tool: str
    arguments: bytes


class Recorded(NamedTuple):
    """A tool call that was made before: its result, None where nobody knows whether it took effect."""

    result: bytes | None


class Place(NamedTuple):
    """Where an entry was found: the conversation that owns it, its position, and its kind."""

    owner: str
    position: int
    kind: str


class RunKey(NamedTuple):
    """A run's right to write: its conversation and the fencing number it was given when it began (D2)."""

    workspace: str
    conversation_id: str
    run_id: str
    fence: int


class Store(AgentStore, Protocol):
    """Where conversations live, and agents. Every method may raise `StoreUnavailable`."""

    async def open(self, owner: str) -> None:
        """Make ready for `owner`: take the lock, bring the schema up to date, drop what nobody can ask for.

        Raises:
            StoreInUse: another process has it; the message says which.
            SchemaMismatch: it was written by a newer version.
        """
        ...

    async def close(self) -> None:
        """Finish what was submitted and let go."""
        ...

    async def load(self, workspace: str, conversation_id: str, *, announced: bool = True) -> ConversationRow:
        """Return a conversation; with `announced` False also one that nobody was told of yet.

        Raises:
            NotFound: there is none, or it was deleted, or it is not (yet) announced.
        """
        ...

    async def page(
        self, workspace: str, *, offset: int, limit: int, metadata: Mapping[str, Any]
    ) -> list[ConversationRow]:
        """Return conversations, newest first, whose metadata has every pair of `metadata`, values compared whole."""
        ...

    async def entries(self, workspace: str, ranges: Sequence[Range]) -> list[EntryRow]:
        """Return the rows of `ranges` in order, with all that a prompt is made of."""
        ...

    async def bodies(self, workspace: str, ranges: Sequence[Range], *, messages_only: bool = False) -> list[bytes]:
        """Return the entries of `ranges` in order, as the API returns them."""
        ...

    async def locate(self, workspace: str, ranges: Sequence[Range], entry_id: str) -> Place | None:
        """Find an entry in `ranges`; None if it is not there."""
        ...

    def begin(self, start: RunStart) -> Awaitable[RunKey]:
        """Write the run, its conversation if new, and its inputs beyond the head, durably.

        Submitted when called, so that other work may go on beside it; awaiting tells when it is done.

        Raises:
            NotFound: the conversation is gone.
            Conflict: another run is in the way, the head is no longer `start.head`, or a call of `start.waiting` has
                had a word.
            RepeatedKey: its idempotency key is taken.
            TakenOver: another process has the store by now.
        """
        ...

    def journal(self, key: RunKey, entries: Sequence[EntryRow], progress: RunEnd) -> Awaitable[None]:
        """Write entries beyond the head, and how far the run has come, durably.

        Raises:
            Superseded: the run has lost its right to write.
        """
        ...

    def commit(
        self, key: RunKey, entries: Sequence[EntryRow], *, start: int, head: int, end: RunEnd
    ) -> Awaitable[None]:
        """Write the last entries, move the head from `start` to `head` and free the conversation, in one statement.

        Raises:
            Superseded: the run has lost its right to write, or the head is not `start`.
        """
        ...

    def fail(self, key: RunKey, end: RunEnd) -> Awaitable[bool]:
        """Take back what the run wrote beyond the head and free the conversation.

        False if it has lost its right to write: then it is not for this owner to say that the run failed.
        """
        ...

    async def unfinished(self) -> list[RunRow]:
        """Return the runs that were under way when their owner went, oldest first."""
        ...

    async def runs(self, workspace: str, conversation_id: str, *, limit: int) -> list[RunRow]:
        """Return the newest runs of a conversation, newest first."""
        ...

    async def run(self, workspace: str, conversation_id: str, run_id: str) -> RunRow | None:
        """Return one run of a conversation; None if there is none of that id."""
        ...

    def adopt(self, run: RunRow) -> Awaitable[RunKey]:
        """Take a run over: from now on only the returned key may write.

        Raises:
            Superseded: it has ended, or somebody else was quicker.
            TakenOver: another process has the store by now.
        """
        ...

    def announce(self, workspace: str, conversation_id: str) -> Awaitable[None]:
        """Note that a conversation's id has left: from now on it exists, whatever becomes of its first run.

        Raises:
            NotFound: its first run has failed, and it is gone.
        """
        ...

    async def recall(self, workspace: str, scope: str, key: str) -> Recalled | None:
        """Return what is known under an idempotency key."""
        ...

    def reserve(self, key: RunKey, call: Reservation) -> Awaitable[Recorded | None]:
        """Note durably that a tool is about to be called; None: call it. Otherwise it was called before.

        Raises:
            Superseded: the run has lost its right to write.
        """
        ...

    async def recorded(self, workspace: str, conversation_id: str, reservation: str) -> Recorded | None:
        """Return what is known of a reserved call; None: it was not made since its conversation's head moved."""
        ...

    def settle(self, key: RunKey, reservation: str, result: bytes) -> Awaitable[None]:
        """Note durably what a reserved call came to; this outlives a failed run."""
        ...

    def beat(self) -> Awaitable[bool]:
        """Say that this owner is alive; False if another process has taken the store over in the meantime."""
        ...

    def delete(self, workspace: str, conversation_id: str, at: datetime) -> Awaitable[None]:
        """Delete a conversation; entries that a branch stands on stay until the last such branch goes (D6).

        Raises:
            NotFound: there is none.
        """
        ...
