"""The caller's words on calls that wait for them: what a run makes of them, and how history shows them (D1).

Pure. A call that asks first stands in history as its run left it, pending, for good. What was said of it is a row of
its own, written when the run that was told of it ends; before that nobody but the run knows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from causerie.errors import InvalidRequest
from causerie.stores.base import ConversationRow, EntryRow, Settlement
from causerie.types.base import decode, encode
from causerie.types.entries import FunctionCallEntry
from causerie.types.tools import ToolCallConfirmation

from .emit import Pending
from .history import History, call_id
from .offer import Offer


class Word(NamedTuple):
    """A call that waits, and whether the caller allows it."""

    call: EntryRow
    allowed: bool


def words(confirmations: Sequence[ToolCallConfirmation], history: History) -> list[Word]:
    """Return what the caller says of the calls that wait, in the order of the calls.

    Raises:
        InvalidRequest: no such call waits, or it was spoken of before (O11).
    """
    said, pending = dict[str, bool](), history.pending
    for index, one in enumerate(confirmations):
        if one.tool_call_id not in pending:
            raise _wrong(f"No call with the id '{one.tool_call_id}' waits for a confirmation.", one, index)
        if one.tool_call_id in said:
            raise _wrong(f"The call '{one.tool_call_id}' is confirmed twice in this request.", one, index)
        said[one.tool_call_id] = one.confirmation == "allow"
    return recalled(said, history)


def recalled(said: Mapping[str, bool], history: History) -> list[Word]:
    """Return words again from what is stored of a request."""
    return [Word(row, said[call]) for call, row in history.pending.items() if call in said]


def told(said: Sequence[Word]) -> dict[str, bool]:
    """Return what is stored of a request."""
    return {str(word.call.tool_call_id): word.allowed for word in said}


def check_offered(said: Sequence[Word], offer: Offer) -> None:
    """See that every call that is allowed can be made.

    Raises:
        InvalidRequest: its tool was taken away in the meantime.
    """
    for call in taken_up(said):
        if not offer.runs(call):
            raise InvalidRequest(
                f"The call '{call.tool_call_id}' cannot be made any more: there is no tool '{call.name}'. Deny it.",
                loc=("body", "tool_confirmations"), given=call.tool_call_id,
            )  # fmt: skip


def taken_up(said: Sequence[Word]) -> list[Pending]:
    """Return the calls that are allowed, to be made now."""
    found = []
    for call in (word.call for word in said if word.allowed):
        entry = decode(call.body, FunctionCallEntry)
        one = Pending()
        one.tool_call_id, one.name, one.arguments = entry.tool_call_id, entry.name, [str(entry.arguments)]
        one.upstream_id, one.waited_as = call_id(call), call.id
        found.append(one)
    return found


def settlements(said: Sequence[Word], head: int, made: Collection[str] | None = None) -> list[Settlement]:
    """Return what is stored of words once the run that was told of them ends.

    A branch sees one if it is cut behind what came of it: the execution, or whatever came next after a denial.

    Args:
        head: where the run's inputs end; the executions come next, in the order of the calls.
        made: the ids of the calls that were made, where not all were; the others go on waiting.
    """
    found, place = list[Settlement](), head
    for word in said:
        if not word.allowed:
            found.append(Settlement(head + 1, word.call.id, "denied"))
        elif made is None or word.call.tool_call_id in made:
            place += 1
            found.append(Settlement(place, word.call.id, "allowed"))
    return found


def left(history: History, said: Sequence[Word], inputs: Sequence[EntryRow]) -> list[EntryRow]:
    """Return the calls that stay open after words and results: they are told again, and the model is not asked."""
    ended = {word.call.tool_call_id for word in said} | {row.tool_call_id for row in inputs}
    return [row for call, row in history.calls.items() if call not in ended]


def seen(row: ConversationRow, upto: int) -> list[Settlement]:
    """Return the words that a branch sees which is cut at `upto`."""
    return [one for one in row.settlements if one.position <= upto]


def shown(rows: Sequence[EntryRow], said: Sequence[Settlement]) -> list[bytes]:
    """Return entries as history shows them, with the words that were said on them."""
    status = {one.entry: one.status for one in said}
    found = []
    for row in rows:
        body = row.body
        if row.id in status:
            entry = decode(body, FunctionCallEntry)
            body = encode(msgspec.structs.replace(entry, confirmation_status=status[row.id]))
        found.append(body)
    return found


def _wrong(message: str, one: ToolCallConfirmation, index: int) -> InvalidRequest:
    loc = ("body", "tool_confirmations", index, "tool_call_id")
    return InvalidRequest(message, loc=loc, given=one.tool_call_id)
