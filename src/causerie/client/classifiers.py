"""The operations of `classifiers` that score texts by category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from causerie.types.base import UNSET, UnsetType
from causerie.types.moderation import ChatMessage, ModerationResponse

from .operations import Operations, awaited, plain
from .request import Call, Options, Retries

Message = ChatMessage | Mapping[str, Any]


class Classifiers(Operations):
    """Moderation: how far texts, or the last messages of chats, are of which category."""

    def _moderate(
        self,
        *,
        model: str,
        inputs: str | Iterable[str],
        metadata: Mapping[str, Any] | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ModerationResponse]:
        """Score one text, or several."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        body = {"model": model, "input": inputs, "metadata": metadata}
        return Call("classifiers.moderate", options, body=body)

    def _moderate_chat(
        self,
        *,
        inputs: Iterable[Message] | Iterable[Iterable[Message]],
        model: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ModerationResponse]:
        """Score the last message of one chat, or of several."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("classifiers.moderate_chat", options, body={"input": inputs, "model": model})

    moderate, moderate_async = plain(_moderate), awaited(_moderate)
    moderate_chat, moderate_chat_async = plain(_moderate_chat), awaited(_moderate_chat)
