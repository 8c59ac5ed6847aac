"""The port to whoever serves the models: one method that asks, and what comes back from it.

An upstream speaks its server's dialect and nothing else: it knows no conversation, no entry, no event. What it
yields is batched as it was read, so that one read upstream becomes one write to the caller.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Literal, Protocol

import msgspec

from causerie.types.completion import CompletionArgs

ReasoningField = Literal["reasoning_content", "reasoning", "content"]


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call of a model.

    Attributes:
        model: the name as the caller gave it; an upstream may map it to its own.
        messages: a JSON array of chat messages, sent as it is: its bytes are the model's prefix cache key.
        tools: a JSON array of ``{"type": "function", ...}`` tools in canonical order, or None.
        args: sampling and format, already merged from all the places that may set them.
        stream: whether to ask for a stream. A plain answer is yielded as if it had been one.
        prefix: the text that the last message (an assistant's) ends with and that the answer has to begin with.
    """

    model: str
    messages: bytes
    tools: bytes | None = None
    args: CompletionArgs = msgspec.field(default_factory=CompletionArgs)
    stream: bool = True
    prefix: str | None = None


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of what the model thinks before it answers, and the field of the message that it came in."""

    text: str
    field: ReasoningField = "reasoning_content"
    signature: str | None = None


class CallDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a tool call. `index` tells parallel calls apart; `id` and `name` come once, whole or in pieces."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


class UsageDelta(msgspec.Struct, frozen=True, gc=False):
    """Tokens of this call, as the upstream counted them."""

    prompt_tokens: int
    completion_tokens: int


class FinishDelta(msgspec.Struct, frozen=True, gc=False):
    """Why the model stopped: ``stop``, ``length``, ``tool_calls``, or what the upstream calls it."""

    reason: str


Delta = TextDelta | ReasoningDelta | CallDelta | UsageDelta | FinishDelta


class Upstream(Protocol):
    """Whoever answers for a model."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Ask the model; yield what each read brought. Closing the generator gives the request up at once.

        Raises:
            BadRequest: the upstream refused what was asked (context too long, bad schema); code 3003 for a model
                that it does not have.
            RateLimited: it asks for patience; ``Retry-After`` is handed on.
            UpstreamUnavailable: it cannot be reached.
            UpstreamTimeout: it was silent for too long.
            UpstreamError: it failed, or answered with something that is not an answer.
        """
        ...

    async def models(self) -> list[str]:
        """Return the names of the models that can be asked for; empty where the upstream does not say."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
