"""A conversation as the engine sees it at one head: the prompt so far, and the calls that are still open.

The invariant of the log is checked here (D1): a result follows its call, a call has at most one, and no message
comes between them. A `History` is never changed; what is appended makes a new one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from causerie.errors import BadRequest, InvalidRequest
from causerie.ids import is_tool_call_id
from causerie.stores.base import EntryRow, Settlement
from causerie.types.base import decode, encode
from causerie.types.entries import (
    AgentHandoffEntry,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)

from .prompt import DENIED, Rendered, assistant_message, prefix_message, render, text_of, tool_message

MOST_PARTS = 64
OPEN_CALLS = "Not the same number of function calls and responses"
_KINDS: dict[type, str] = {
    MessageInputEntry: "message.input",
    MessageOutputEntry: "message.output",
    FunctionCallEntry: "function.call",
    FunctionResultEntry: "function.result",
    ToolExecutionEntry: "tool.execution",
    AgentHandoffEntry: "agent.handoff",
}


class Private(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is kept of an entry for the engine alone.

    Attributes:
        epoch, event: where in its run's events an output ends: the fencing number, and the last event's number.
        cut: whether the run was cancelled while the model was still writing it.
        pending: whether it is a call that the server makes once the caller allows it.
        settled: whether it is a call that was allowed or denied elsewhere, so that nothing is to come of it here.
    """

    upstream_id: str | None = None
    prefix: bool = False
    epoch: int | None = None
    event: int | None = None
    output_index: int | None = None
    cut: bool = False
    pending: bool = False
    settled: bool = False


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What there is at `head`.

    Attributes:
        parts: the chat messages so far, without brackets; joined now and then, for joining at every step would copy a
            long conversation several times a turn.
        loose: the last entries where their chat message is not written yet: a group that a cut went through, or a
            prefix that waits for its answer.
        calls: the open calls, by their ids outwards.
        last: the kind of the last entry; empty before the first.
        told: whether the model was told since then that a call is denied.
        agent: who the server handed over to last; None where it never did.
        handoff: the last entry, where that is a handoff that the server made.
        prefix: what the next answer has to begin with, where the last entry asks for that.
    """

    head: int = 0
    parts: tuple[bytes, ...] = ()
    loose: tuple[EntryRow, ...] = ()
    calls: dict[str, EntryRow] = {}
    last: str = ""
    told: bool = False
    agent: str | None = None
    handoff: AgentHandoffEntry | None = None
    prefix: str | None = None

    def extended(self, rows: Sequence[EntryRow], settlements: Sequence[Settlement] = ()) -> History:
        """Return the history with `rows` after it.

        Args:
            settlements: what was said of calls, those among `rows` included; what is settled already stays so.
        """
        history, start = self, 0
        for place in sorted({one.position for one in settlements}):
            end = start + sum(row.position < place for row in rows[start:])
            said = [one for one in settlements if one.position == place]
            history, start = history.followed(rows[start:end]).settled(said), end
        return history.followed(rows[start:])

    def settled(self, settlements: Sequence[Settlement]) -> History:
        """Return the history with words on open calls; what an allowed one came to is told by the next entry."""
        words = {one.entry: one.status for one in settlements}
        settled = {call: row for call, row in self.calls.items() if row.id in words}
        denied = [tool_message(call_id(row), DENIED) for row in settled.values() if words[row.id] == "denied"]
        history = msgspec.structs.replace(
            self, calls={call: row for call, row in self.calls.items() if call not in settled}
        )
        if not denied:
            return history
        parts = _compact([*self.parts, *_rendered(self.loose), *denied])
        return msgspec.structs.replace(history, parts=parts, loose=(), told=True)

    def followed(self, rows: Sequence[EntryRow]) -> History:
        """Return the history with `rows` after it, on none of which anything was said."""
        if not rows:
            return self
        parts, loose = list(self.parts), list(self.loose)
        calls, prefix = dict(self.calls), self.prefix
        agent, handoff = self.agent, self.handoff
        for row in rows:
            private = decode(row.private, Private) if row.private else None
            if row.kind == "function.call" and row.tool_call_id and not (private and private.settled):
                calls[row.tool_call_id] = row
            elif row.kind == "function.result" and row.tool_call_id:
                calls.pop(row.tool_call_id, None)
            prefix = text_of(decode(row.body, MessageInputEntry).content) if private and private.prefix else None
            handoff = decode(row.body, AgentHandoffEntry) if _handed_over(row, private) else None
            agent = handoff.next_agent_id if handoff else agent
            loose.append(row)
            if row.prompt is not None:
                parts += _rendered(loose[: len(loose) - row.covers])
                parts.append(row.prompt)
                loose = []
        return History(
            head=rows[-1].position, parts=_compact(parts), loose=tuple(loose), calls=calls, last=rows[-1].kind,
            agent=agent, handoff=handoff, prefix=prefix,
        )  # fmt: skip

    @property
    def open(self) -> dict[str, str]:
        """Each open call's id outwards, with the upstream's id for it."""
        return {call: call_id(row) for call, row in self.calls.items()}

    @property
    def pending(self) -> dict[str, EntryRow]:
        """The open calls that are not the caller's to answer: they wait for a word, allow or deny."""
        return {call: row for call, row in self.calls.items() if _private(row).pending}

    @property
    def prompt(self) -> bytes:
        """The chat messages so far, joined, without brackets."""
        return b",".join(self.parts)

    @property
    def size(self) -> int:
        """The bytes of the prompt."""
        return sum(map(len, self.parts))

    def tail(self) -> list[bytes]:
        """Return the chat messages of the loose entries, to be sent after `prompt`."""
        if self.prefix is not None:
            return [*_rendered(self.loose[:-1]), prefix_message(self.prefix)]
        return _rendered(self.loose)

    @property
    def can_run(self) -> bool:
        """Whether the model has something to answer without more input (O4)."""
        return not self.calls and (self.last in ("message.input", "function.result") or self.handoff is not None)

    @property
    def ends_with_result(self) -> bool:
        """Whether the last chat message is what came of a call, and nobody has answered it."""
        told = self.told or self.last in ("function.result", "tool.execution")
        return not self.calls and (told or self.handoff is not None)


def check(entries: Sequence[Entry], history: History, *, waits: bool = False) -> None:
    """See that `entries` may follow `history` and leave no call open.

    Args:
        waits: whether calls may go on waiting for a word, and the caller's own beside them if none of those is
            answered.

    Raises:
        InvalidRequest: a result for a call that is not open or not the caller's, or a call under an id that is open.
        BadRequest: anything but results while calls are being answered, a message of the caller's while calls are
            open, or calls left without their results; nothing was stored.
    """
    calls, pending, answering = set(history.calls), history.pending, bool(history.calls)
    settled = _settled_elsewhere(entries)
    for index, entry in enumerate(entries):
        if isinstance(entry, FunctionResultEntry):
            _close(entry, calls, pending, index)
            answering = bool(calls)
        elif answering or (calls and isinstance(entry, MessageInputEntry)):
            raise _unanswered(calls, pending)
        elif isinstance(entry, FunctionCallEntry) and index not in settled:
            _open(entry, calls, index)
    if calls and not (waits and (calls <= pending.keys() or calls == history.calls.keys())):
        raise _unanswered(calls, pending)


def rows(entries: Sequence[Entry], history: History) -> list[EntryRow]:
    """Turn entries that a caller handed in, complete with ids, into rows that follow `history`."""
    settled = _settled_elsewhere(entries)
    rendered = dict(_ends(render(entries, history.open, {str(entries[index].id) for index in settled}), 0))
    if history.ends_with_result and entries and _is_users(entries[0]):
        # Some servers refuse a user who speaks right after a result: somebody has to have answered that.
        rendered[0] = Rendered(assistant_message("") + b"," + rendered[0].prompt, 1)
    found = list[EntryRow]()
    for index, entry in enumerate(entries):
        last = index == len(entries) - 1
        prefix = last and isinstance(entry, MessageInputEntry) and entry.prefix
        private = Private(prefix=prefix, settled=index in settled)
        one = None if private.prefix else rendered.get(index)
        found.append(row(entry, history.head + 1 + index, one, private))
    return found


def row(entry: Entry, position: int, rendered: Rendered | None, private: Private | None = None) -> EntryRow:
    """Turn one entry into its row."""
    call = entry.tool_call_id if isinstance(entry, (FunctionCallEntry, FunctionResultEntry)) else None
    return EntryRow(
        position=position, id=str(entry.id), kind=_KINDS[type(entry)], body=encode(entry), tool_call_id=call,
        prompt=rendered.prompt if rendered else None, covers=rendered.covers if rendered else 0,
        private=encode(private) if private and private != Private() else None,
    )  # fmt: skip


def _is_users(entry: Entry) -> bool:
    return isinstance(entry, MessageInputEntry) and entry.role == "user"


def _handed_over(row: EntryRow, private: Private | None) -> bool:
    # Handoffs among inputs are somebody else's: text, which hands over nothing.
    return row.kind == "agent.handoff" and private is not None and private.epoch is not None


def _compact(parts: list[bytes]) -> tuple[bytes, ...]:
    return tuple(parts) if len(parts) <= MOST_PARTS else (b",".join(parts),)


def outward_id(upstream_id: str | None, taken: set[str]) -> str | None:
    """The upstream's call id, if it can be shown outwards as it is: nine alphanumerics, and not in use."""
    return upstream_id if upstream_id and is_tool_call_id(upstream_id) and upstream_id not in taken else None


def _ends(groups: Sequence[Rendered], start: int) -> list[tuple[int, Rendered]]:
    found = []
    for group in groups:
        start += group.covers
        found.append((start - 1, group))
    return found


def _rendered(loose: Sequence[EntryRow]) -> list[bytes]:
    entries: list[Entry] = [decode(row.body, Entry) for row in loose]  # type: ignore[arg-type]
    ids = {row.tool_call_id: call_id(row) for row in loose if row.tool_call_id}
    settled = {row.id for row in loose if _private(row).settled}
    return [group.prompt for group in render(entries, ids, settled)]


def _settled_elsewhere(entries: Sequence[Entry]) -> set[int]:
    """Return the places of the calls that were allowed or denied, and that no result follows: they are not open."""
    found, answered = set[int](), set[str]()
    for index in reversed(range(len(entries))):
        entry = entries[index]
        if isinstance(entry, FunctionResultEntry):
            answered.add(entry.tool_call_id)
        elif isinstance(entry, FunctionCallEntry):
            if entry.confirmation_status in ("allowed", "denied") and entry.tool_call_id not in answered:
                found.add(index)
            answered.discard(entry.tool_call_id)
    return found


def _private(row: EntryRow) -> Private:
    return decode(row.private, Private) if row.private else Private()


def call_id(row: EntryRow) -> str:
    """Return what the upstream calls a call."""
    return _private(row).upstream_id or row.tool_call_id or ""


def _open(entry: FunctionCallEntry, calls: set[str], index: int) -> None:
    if entry.tool_call_id in calls:
        raise InvalidRequest(
            f"The call '{entry.tool_call_id}' is open already; give this one another id.",
            loc=("body", "inputs", index, "tool_call_id"), given=entry.tool_call_id,
        )  # fmt: skip
    calls.add(entry.tool_call_id)


def _close(entry: FunctionResultEntry, calls: set[str], pending: Collection[str], index: int) -> None:
    if entry.tool_call_id in pending:
        raise InvalidRequest(
            f"The call '{entry.tool_call_id}' is the server's to make: allow or deny it in tool_confirmations.",
            loc=("body", "inputs", index, "tool_call_id"), given=entry.tool_call_id,
        )  # fmt: skip
    if entry.tool_call_id not in calls:
        raise InvalidRequest(
            f"No open function call has the id '{entry.tool_call_id}'" + _choices(calls),
            loc=("body", "inputs", index, "tool_call_id"), given=entry.tool_call_id,
        )  # fmt: skip
    calls.discard(entry.tool_call_id)


def _choices(calls: set[str]) -> str:
    return f"; open are: {', '.join(sorted(calls))}." if calls else "; none is open."


def _unanswered(calls: set[str], pending: Collection[str]) -> BadRequest:
    what = list[str]()
    if own := sorted(calls.difference(pending)):
        what.append(f"{', '.join(own)} still open. Send a function.result for each of them, all in one request")
    if waiting := sorted(calls.intersection(pending)):
        what.append(f"{', '.join(waiting)} wait for a confirmation. Allow or deny them in tool_confirmations")
    return BadRequest(f"{OPEN_CALLS}: {'. '.join(what)}; nothing of this request was stored.")
