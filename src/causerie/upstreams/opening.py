"""The beginning that an answer must have: a caller's prefix, exactly once, whether the server repeats it or not.

Pure. Mistral repeats the prefix in its answer; most others go on where it ends.
"""

from __future__ import annotations

from .base import Delta, ReasoningDelta, TextDelta


class Opening:
    """Passes deltas on so that their text begins with `prefix`; holds text back only while that is undecided."""

    def __init__(self, prefix: str | None) -> None:
        """Without a prefix everything passes."""
        self._prefix = prefix or ""
        self._held = ""

    def pass_on(self, deltas: list[Delta]) -> list[Delta]:
        """Return what can be passed on now."""
        if not self._prefix:
            return deltas
        passed: list[Delta] = []
        for delta in deltas:
            if not self._prefix or isinstance(delta, ReasoningDelta):
                passed.append(delta)
            elif isinstance(delta, TextDelta):
                self._held += delta.text
                if self._held.startswith(self._prefix):
                    passed.append(self._settled(self._held))
                elif not self._prefix.startswith(self._held):
                    passed.append(self._settled(self._prefix + self._held))
            else:
                passed += [self._settled(self._prefix + self._held), delta]
        return passed

    def _settled(self, text: str) -> TextDelta:
        self._prefix = self._held = ""
        return TextDelta(text)
