"""Moderation asked for by itself: the same moderator that guardrails ask, without a conversation and a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from causerie.errors import InvalidRequest
from causerie.ids import Ids
from causerie.moderation.base import NOTHING, ModerationRequest, Moderator
from causerie.types.base import UnsetType, encode
from causerie.types.completion import CATEGORIES_V1, CATEGORIES_V2, ModerationConfigV1
from causerie.types.moderation import (
    ChatMessage,
    ChatModerationRequest,
    ClassificationRequest,
    ModerationObject,
    ModerationResponse,
)


class Classifiers:
    """The operations of `classifiers` that score texts."""

    def __init__(self, moderator: Moderator | None, ids: Ids) -> None:
        """Ask `moderator`."""
        self._moderator, self._ids = moderator, ids

    async def moderate(self, request: ClassificationRequest) -> ModerationResponse:
        """Score one text, or several.

        Raises:
            InvalidRequest: there is nothing to score, or nobody here to do it.
            APIError: as `Moderator.score` raises it.
        """
        if not isinstance(request.metadata, UnsetType) and request.metadata is not None:
            raise InvalidRequest("A moderation keeps no metadata: leave it out.", loc=("body", "metadata"))
        texts = [request.input] if isinstance(request.input, str) else request.input
        return await self._scored(request.model, texts)

    async def moderate_chat(self, request: ChatModerationRequest) -> ModerationResponse:
        """Score the last message of one chat, or of several; a server that can reads it in its context.

        Raises:
            InvalidRequest: there is nothing to score, or nobody here to do it.
            APIError: as `Moderator.score` raises it.
        """
        messages = [one for one in request.input if isinstance(one, ChatMessage)]
        chats = [one for one in request.input if not isinstance(one, ChatMessage)]
        if (messages and chats) or not all(chats):
            raise InvalidRequest("input is the messages of one chat, or a list of such chats.", loc=("body", "input"))
        chats = [messages] if messages else chats
        return await self._scored(request.model, [chat[-1].text for chat in chats], encode(chats))

    async def _scored(self, model: str, texts: Sequence[str], chats: bytes | None = None) -> ModerationResponse:
        if not texts:
            raise InvalidRequest("input must not be empty: give at least one text.", loc=("body", "input"))
        names = CATEGORIES_V1 if model == ModerationConfigV1().model_name else CATEGORIES_V2
        offered = NOTHING if self._moderator is None else self._moderator.offered
        wanted = offered.categories.intersection(names)
        if self._moderator is None or not wanted:
            raise InvalidRequest(
                "Nobody here scores texts: its operator can say who does (setting moderation).", loc=("body", "model")
            )
        asked = ModerationRequest(model=model, texts=texts, categories=wanted, chats=chats)
        scored = await self._moderator.score(asked)
        results = [{name: one[name] for name in names if name in one} for one in scored.results]
        if not all(results):
            raise InvalidRequest(
                f"Nobody here could score this: {scored.why or 'no reason given'}.", loc=("body", "model")
            )
        return ModerationResponse(
            id=self._ids.new("mod"), model=model,
            results=[
                ModerationObject(
                    categories={name: score.flagged for name, score in one.items()},
                    category_scores={name: score.value for name, score in one.items()},
                )
                for one in results
            ],
        )  # fmt: skip
