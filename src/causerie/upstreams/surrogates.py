"""Halves of characters: a server that escapes an emoji may send its two halves in two pieces.

JSON writes such a character as two escapes. A half alone cannot be encoded, so it is held until the
other arrives; one that stays alone becomes U+FFFD.
"""

from __future__ import annotations

import json
from typing import Any


def loads(data: bytes) -> Any:
    """Decode JSON that may hold halves of characters, or bytes that are no UTF-8 at all.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested too deep.
    """
    return json.loads(data.decode(errors="replace"))


def whole(text: str) -> str:
    """Return `text` with halves that belong together joined, and the others replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class Halves:
    """The halves that wait for their other half, one to a channel (the text, the reasoning, each call)."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: dict[Any, str] = {}

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._waiting)

    def join(self, channel: Any, text: str) -> str:
        """Return what can be passed on of `text`, with what waited in front of it."""
        text = self._waiting.pop(channel, "") + text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._waiting[channel] = text[-1]
            text = text[:-1]
        return whole(text)

    def waiting(self) -> list[Any]:
        """Return the channels in which a half stayed alone."""
        return list(self._waiting)
