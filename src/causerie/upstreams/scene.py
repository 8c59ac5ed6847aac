"""What the rehearsal model makes of the messages: who spoke last, what came back, and how often it was asked.

Pure. Everything is told from the messages alone, so the same conversation is answered in the same way by any
process, and a branch of it in the way that fits the branch.
"""

from __future__ import annotations

from typing import Any

import msgspec

from causerie.errors import BadRequest

from .base import ModelRequest
from .reply import pieces
from .trouble import REFUSED_PROMPT


class Result(msgspec.Struct, frozen=True):
    """What a function returned."""

    name: str
    output: str


class Scene(msgspec.Struct, frozen=True):
    """The moment in which the model is asked.

    Attributes:
        user: the text of the last user message.
        images: how many images came with it.
        turn: how many user messages there were.
        results: what functions returned since the last call; empty when the user has just spoken.
    """

    user: str = ""
    images: int = 0
    turn: int = 0
    results: tuple[Result, ...] = ()


class _Part(msgspec.Struct, gc=False):
    type: str = "text"
    text: str = ""


class _Function(msgspec.Struct, gc=False):
    name: str = ""
    arguments: Any = ""


class _ToolCall(msgspec.Struct, gc=False):
    id: str = ""
    function: _Function = msgspec.field(default_factory=_Function)


class _Message(msgspec.Struct, gc=False):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None
    name: str | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join([part.text for part in self.content if part.type == "text"])
        return self.content or ""

    def images(self) -> int:
        return sum(part.type == "image_url" for part in self.content) if isinstance(self.content, list) else 0


_decode = msgspec.json.Decoder(list[_Message]).decode

# Servers count an image as the tokens of its tiles; a fixed number keeps the count steady.
_IMAGE_TOKENS = 256


class Conversation:
    """The messages of a request.

    Attributes:
        scenes: the moments of the earlier calls of the model, oldest first, and at last the present one.
    """

    def __init__(self, request: ModelRequest) -> None:
        """Read the messages.

        Raises:
            BadRequest: they are not chat messages.
        """
        try:
            self._messages = _decode(request.messages)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise BadRequest(f"The rehearsal model cannot read the messages: {error}", code=REFUSED_PROMPT) from error
        if request.prefix is not None and self._messages and self._messages[-1].role == "assistant":
            # The answer goes on with this one; it is no earlier answer.
            self._messages.pop()
        self._tools = request.tools
        self.scenes = self._played()

    def tokens(self) -> int:
        """Return the length of the prompt as the rehearsal model counts it."""
        count = len(pieces(self._tools.decode())) if self._tools else 0
        for message in self._messages:
            count += len(pieces(message.text())) + _IMAGE_TOKENS * message.images()
            for call in message.tool_calls or ():
                count += len(pieces(f"{call.function.name} {call.function.arguments}"))
        return count

    def _played(self) -> list[Scene]:
        scenes = []
        now = Scene()
        names: dict[str, str] = {}
        for message in self._messages:
            if message.role == "user":
                now = Scene(message.text(), message.images(), now.turn + 1)
            elif message.role == "tool":
                result = Result(message.name or names.get(message.tool_call_id or "", ""), message.text())
                now = msgspec.structs.replace(now, results=(*now.results, result))
            elif message.role == "assistant":
                scenes.append(now)
                now = msgspec.structs.replace(now, results=())
                names |= {call.id: call.function.name for call in message.tool_calls or ()}
        return [*scenes, now]
