"""The port to whoever says how far a text is of a category: texts go in, scores come out.

A moderator knows no conversation and no guardrail: thresholds, and what follows from a score, are the engine's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec


class Score(NamedTuple):
    """How far a text is of a category, from 0 to 1, and whether that is too far where nobody says otherwise."""

    value: float
    flagged: bool


Scores = Mapping[str, Score]


class ModerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Texts to be scored.

    Attributes:
        model: the moderation model as the caller named it; a moderator may know it by another name, or need none.
        texts: what is scored, at least one.
        categories: what is wanted. More may come back, and less.
        chats: a JSON array of chats whose last messages the texts are, for whoever can read those in context.
    """

    model: str
    texts: Sequence[str]
    categories: frozenset[str]
    chats: bytes | None = None


class Scored(NamedTuple):
    """The scores of each text, in order, and why there are fewer than were wanted, where that is known."""

    results: Sequence[Scores]
    why: str = ""


class Offered(NamedTuple):
    """The categories that may be scored, and whether the model that a caller names makes any difference."""

    categories: frozenset[str] = frozenset()
    by_model: bool = False


NOTHING = Offered()
"""Where there is nobody to ask."""


class Moderator(Protocol):
    """Whoever scores texts."""

    @property
    def offered(self) -> Offered:
        """What can be asked of it. A server may turn out to score less; then those scores are missing."""
        ...

    async def score(self, request: ModerationRequest) -> Scored:
        """Score texts.

        Raises:
            BadRequest: whoever was asked does not take these texts.
            RateLimited: it asks for patience.
            UpstreamUnavailable: it cannot be reached.
            UpstreamTimeout: it took too long.
            UpstreamError: it failed, or answered with something that is not an answer.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
