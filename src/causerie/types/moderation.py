"""Moderation on its own: texts, or the last messages of chats, and how far each is of which category (PROTOCOL §11)."""

from __future__ import annotations

from typing import Any, Literal

from .base import UNSET, Struct, UnsetType


class ClassificationRequest(Struct, kw_only=True):
    """moderate: one text, or several."""

    model: str
    input: str | list[str]
    metadata: dict[str, Any] | None | UnsetType = UNSET


class ChatMessage(Struct, kw_only=True):
    """A message of a chat, as model servers have it."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None | UnsetType = UNSET
    prefix: bool | UnsetType = UNSET
    tool_calls: list[dict[str, Any]] | None | UnsetType = UNSET
    tool_call_id: str | None | UnsetType = UNSET

    @property
    def text(self) -> str:
        """What is said in it, without images and the like."""
        if not isinstance(self.content, list):
            return self.content or ""
        texts = (chunk.get("text", "") for chunk in self.content if chunk.get("type") == "text")
        return "\n".join(map(str, texts))


class ChatModerationRequest(Struct, kw_only=True):
    """moderate_chat: one chat, or several."""

    model: str
    input: list[ChatMessage | list[ChatMessage]]


class ModerationObject(Struct, kw_only=True):
    """What one text came to, in the categories that the server can score."""

    categories: dict[str, bool] = {}
    category_scores: dict[str, float] = {}


class ModerationResponse(Struct, kw_only=True):
    """One result for each text or chat, in their order."""

    id: str
    model: str
    results: list[ModerationObject]
