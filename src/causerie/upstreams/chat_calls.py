"""Tool calls as they come in pieces: which call a piece belongs to, whatever the server forgot to say.

Pure. OpenAI numbers its calls and names them once. Others give no index, give every call the index 0, repeat the id
and the name on every piece, send no id, or send the arguments as an object in place of its text.
"""

from __future__ import annotations

from typing import Any

import msgspec

from causerie.types.base import encode

from .base import CallDelta


class CalledFunction(msgspec.Struct, gc=False):
    """The function of a piece of a call."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class CallPiece(msgspec.Struct, gc=False):
    """A piece of a call, or a whole one."""

    index: int | None = None
    id: str | None = None
    function: CalledFunction | None = None


class _Call:
    """What is known of one call so far."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def is_whole(self) -> bool:
        try:
            msgspec.json.decode("".join(self.arguments))
        except (ValueError, RecursionError):
            return False
        return True


class Calls:
    """The calls of one answer, numbered from 0 in the order in which they came."""

    def __init__(self) -> None:
        """No call yet."""
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __bool__(self) -> bool:
        """Whether there was any."""
        return bool(self._calls)

    def read(self, piece: CallPiece) -> CallDelta:
        """Return what this piece adds to its call. The id and the name are passed on once."""
        function = piece.function or CalledFunction()
        arguments = function.arguments if function.arguments is not None else ""
        if not isinstance(arguments, str):
            arguments = encode(arguments).decode()
        name = function.name or ""
        call = self._call(piece, name, arguments)
        new_id = piece.id if piece.id and not call.id else None
        new_name = name if name and name != call.name else None
        if new_id:
            call.id = new_id
            self._by_id[new_id] = call
        if new_name:
            call.name += new_name
        if arguments:
            call.arguments.append(arguments)
        return CallDelta(call.number, new_id, new_name, arguments)

    def _call(self, piece: CallPiece, name: str, arguments: str) -> _Call:
        index, id_ = piece.index, piece.id
        if index is not None:
            call = self._by_index.get(index)
        elif id_:
            call = self._by_id.get(id_)
        else:
            # Without an index and an id, a name is all that can begin a call.
            call = self._calls[-1] if self._calls and not name else None
        if call is not None and id_ and call.id and id_ != call.id:
            call = self._by_id.get(id_)
        if call is not None and name and call.name and arguments and call.is_whole():
            call = None
        if call is None:
            call = _Call(len(self._calls))
            self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call
