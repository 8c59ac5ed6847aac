"""What must hold of one conversation's entries in their order (D1, D7): the log is valid, and so is its prompt.

Pure, and slower than it could be: nothing here trusts what the code that wrote the rows believes of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from causerie.types.entries import Entry, FunctionCallEntry, FunctionResultEntry

from .base import EntryRow, Settlement

_ENTRY: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


class _Private(msgspec.Struct):
    """What the engine keeps of an entry, as far as it says how the prompt goes on."""

    upstream_id: str | None = None
    prefix: bool = False
    pending: bool = False
    settled: bool = False


class _Call(msgspec.Struct):
    id: str


class _Message(msgspec.Struct):
    role: str
    tool_calls: list[_Call] = []
    tool_call_id: str | None = None


_PRIVATE = msgspec.json.Decoder(_Private)
_MESSAGES = msgspec.json.Decoder(list[_Message])


class Log:
    """Goes through a history, entry by entry; each is asked what is wrong with it where it stands."""

    def __init__(self, cuts: Collection[int]) -> None:
        """Begin with nothing; `cuts` are the positions that a branch was made at."""
        self._cuts = cuts
        self._ids = set[str]()
        self._open = dict[str, str]()  # calls without a result, and what the upstream calls them
        self._due = set[str]()  # those of them whose turn is over: only their results can follow
        self._pending = dict[str, str]()  # by their entries the calls that wait to be settled
        self._allowed = ""  # the call that was allowed just now: the next entry says what came of it
        self._late = set[str]()  # those that something came before all the same: that is said once
        self._loose = list[tuple[EntryRow, _Private]]()  # entries whose chat message comes with a later one
        self._asked = set[str]()  # calls of the prompt that no chat message has answered yet
        self._late_asked = set[str]()  # likewise

    def feed(self, row: EntryRow) -> list[str]:
        """Take the next entry; return what is wrong with it."""
        return [*self._shape(row), *self._order(row), *self._prompt(row)]

    def settle(self, said: Settlement) -> list[str]:
        """A call is settled here; return what is wrong with that."""
        call = self._pending.pop(said.entry, None)
        if call is None:
            return [f"{said.entry} is settled, but waits for nothing here"]
        theirs = self._open.pop(call)
        if said.status == "allowed":
            self._allowed = call
            return []
        left, self._loose = self._loose, []
        faults = self._unrendered(left) if left else []
        self._asked.discard(theirs)
        return faults

    def close(self) -> list[str]:
        """The history ends here; return what is wrong with its last entry."""
        faults = [] if self._may_wait(self._loose) else ["no chat message of the prompt stands for it"]
        if self._allowed:
            faults.append(f"call {self._allowed} was allowed, but nothing came of it")
        elif set(self._open.values()) != self._asked | _called(self._loose):
            faults.append("the calls that are open behind it are not those that the prompt leaves open")
        return faults

    def _shape(self, row: EntryRow) -> Iterator[str]:
        if row.id in self._ids:
            yield f"its id {row.id} was given to an earlier entry already"
        self._ids.add(row.id)
        try:
            entry = _ENTRY.decode(row.body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            yield f"its body is no entry: {error}"
            return
        kind = entry.__struct_config__.tag
        if kind != row.kind:
            yield f"its row says {row.kind}, its body {kind}"
        if entry.id != row.id:
            yield f"its row says {row.id}, its body {entry.id}"
        call = entry.tool_call_id if isinstance(entry, (FunctionCallEntry, FunctionResultEntry)) else None
        if call != row.tool_call_id:
            yield f"its row is about call {row.tool_call_id}, its body about {call}"

    def _order(self, row: EntryRow) -> Iterator[str]:
        call, allowed, self._allowed = str(row.tool_call_id), self._allowed, ""
        if allowed and row.kind == "tool.execution":
            return  # it may come before the results of other calls: each is allowed by itself
        if allowed:
            yield f"it is not what came of call {allowed}, which was allowed"
        late = (self._open.keys() if row.kind == "message.input" else self._open.keys() & self._due) - self._late
        if row.kind == "function.result":
            if call not in self._open or call in self._pending.values():
                yield f"it answers call {call}, which is not open here"
            self._open.pop(call, None)
        elif late:
            self._late |= late
            yield f"it comes before the results of the calls {', '.join(sorted(late))}"
        if row.kind == "function.call":
            if call in self._open:
                yield f"it makes call {call}, which is open already"
            self._call(row, call, _private(row) or _Private())
        if row.prompt is not None or row.position in self._cuts:
            self._due = set(self._open)

    def _call(self, row: EntryRow, call: str, private: _Private) -> None:
        if not private.settled:
            self._open[call] = private.upstream_id or call
        if private.pending:
            self._pending[row.id] = call

    def _prompt(self, row: EntryRow) -> list[str]:
        private = _private(row)
        self._loose.append((row, private or _Private()))
        faults = [] if private else ["what the engine keeps of it cannot be read"]
        if row.prompt is None:
            return [*faults, "it covers entries without a chat message"] if row.covers else faults
        count = len(self._loose)
        if not 0 < row.covers <= count:
            faults.append(f"its chat messages cover {row.covers} entries, of the {count} that have none yet")
        left, self._loose = self._loose[: max(count - row.covers, 0)], []
        return [*faults, *self._unrendered(left), *self._messages(row.prompt)]

    def _unrendered(self, left: Sequence[tuple[EntryRow, _Private]]) -> list[str]:
        """Pass over entries that are rendered from themselves, as those before a cut through their turn."""
        self._asked |= _called(left)
        if self._may_wait(left):
            return []
        return [f"no chat message of the prompt stands for the entries before it, from {left[0][0].position} on"]

    def _may_wait(self, left: Sequence[tuple[EntryRow, _Private]]) -> bool:
        return not left or left[-1][0].position in self._cuts or all(private.prefix for _, private in left)

    def _messages(self, prompt: bytes) -> Iterator[str]:
        try:
            messages = _MESSAGES.decode(b"[%b]" % prompt)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            yield f"its chat messages cannot be read: {error}"
            return
        if not messages:
            yield "its chat messages are none"
        for message in messages:
            if message.role == "tool":
                if message.tool_call_id not in self._asked:
                    yield f"a chat message answers call {message.tool_call_id}, which the prompt has not left open"
                self._asked.discard(str(message.tool_call_id))
                continue
            if message.role not in {"user", "assistant"}:
                yield f"a chat message is of role {message.role}"
            if late := self._asked - self._late_asked:
                self._late_asked |= late
                yield f"a chat message comes before the results of the calls {', '.join(sorted(late))}"
            self._asked |= {call.id for call in message.tool_calls}


def _called(rows: Sequence[tuple[EntryRow, _Private]]) -> set[str]:
    """Return what the upstream calls the calls among rows that something is to come of."""
    return {
        private.upstream_id or str(row.tool_call_id)
        for row, private in rows
        if row.kind == "function.call" and not private.settled
    }


def _private(row: EntryRow) -> _Private | None:
    try:
        return _PRIVATE.decode(row.private) if row.private else _Private()
    except (msgspec.MsgspecError, UnicodeError):
        return None
