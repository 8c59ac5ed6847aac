"""Placeholder until the rehearsal model's own file lands."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from causerie.upstreams.base import Delta, FinishDelta, ModelRequest, TextDelta


class Rehearsal:
    """Says hello."""

    def __init__(self, script: str | None = None) -> None:
        """Take nothing."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Say hello."""
        yield [TextDelta("Hello from rehearsal."), FinishDelta("stop")]

    async def models(self) -> list[str]:
        """One."""
        return ["rehearsal"]

    async def close(self) -> None:
        """Nothing."""
