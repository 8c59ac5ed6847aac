"""What a scripted moderation server answers to one test: scores, failures and gates. Plain values, without I/O."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from typing import Any

from causerie.types.completion import CATEGORIES

from .replies import Failure, Gate

HARMLESS = 0.01
Scores = Mapping[str, float]


class Moderations:
    """The answers that are queued; with none left every text is harmless in every category."""

    def __init__(self) -> None:
        """Queue nothing yet."""
        self._answers: deque[Any] = deque()

    def scores(
        self, *texts: Scores, only: bool = False, flags: Mapping[str, bool] | None = None, before: Gate | None = None
    ) -> None:
        """Queue the scores of each text; of one, for every text.

        Args:
            only: leave out the categories that are not named, which are harmless otherwise.
            flags: what the server holds for too much, where that is not what is over a half.
            before: a gate that holds the answer back.
        """
        rows = [dict(row) if only else dict.fromkeys(CATEGORIES, HARMLESS) | row for row in texts]
        self._answers.append((rows, flags, before))

    def body(self, body: bytes) -> None:
        """Queue a body as it is."""
        self._answers.append(body)

    def fail(self, status: int, message: str = "the scripted moderation fails", **headers: str) -> None:
        """Queue an HTTP error."""
        self._answers.append(Failure(status, json.dumps({"message": message}).encode(), headers))

    async def answer(self, asked: Mapping[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        """Return what answers a request. The server calls this."""
        answer = self._answers.popleft() if self._answers else ([dict.fromkeys(CATEGORIES, HARMLESS)], None, None)
        if isinstance(answer, Failure):
            return answer.status, answer.body, answer.headers
        if isinstance(answer, bytes):
            return 200, answer, {}
        rows, flags, before = answer
        if before is not None:
            await before.hold()
        count = len(asked["input"]) if isinstance(asked["input"], list) else 1
        results = [_result(row, flags) for row in (rows * count if len(rows) == 1 else rows)]
        return 200, json.dumps({"id": "mod-1", "model": asked["model"], "results": results}).encode(), {}


def _result(row: Scores, flags: Mapping[str, bool] | None) -> dict[str, Any]:
    over = {name: score > 0.5 for name, score in row.items()}
    return {"categories": over | dict(flags or {}), "category_scores": dict(row)}
