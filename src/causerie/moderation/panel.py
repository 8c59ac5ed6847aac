"""Several moderators behind one: each category goes to whoever scores it, or to the next where that one does not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from .base import ModerationRequest, Moderator, Offered, Score, Scored


class Panel:
    """A moderator that asks others."""

    def __init__(self, routes: Mapping[str, Sequence[Moderator]]) -> None:
        """Take, for each category, who is asked for it: the first that has a score for every text."""
        self._routes = {category: list(row) for category, row in routes.items() if row}
        named = any(one.offered.by_model for row in self._routes.values() for one in row)
        self._offered = Offered(frozenset(self._routes), by_model=named)

    @property
    def offered(self) -> Offered:
        """See `Moderator.offered`."""
        return self._offered

    async def score(self, request: ModerationRequest) -> Scored:
        """See `Moderator.score`; all who are asked are asked together, and nobody who is not needed.

        What they say beside what is wanted is handed on where they are the first to be asked for it.
        """
        results: list[dict[str, Score]] = [{} for _ in request.texts]
        why = list[str]()
        needed = {id(row[0]) for category, row in self._routes.items() if category in request.categories}
        rows = {category: row for category, row in self._routes.items() if id(row[0]) in needed}
        while rows:
            asked = {id(row[0]): row[0] for row in rows.values()}
            answers = await asyncio.gather(*(one.score(request) for one in asked.values()), return_exceptions=True)
            told = dict(zip(asked, [_good(answer) for answer in answers], strict=True))
            why += [answer.why for answer in told.values() if answer.why]
            left = dict[str, list[Moderator]]()
            for category, row in rows.items():
                scores = [one[category] for one in told[id(row[0])].results if category in one]
                if len(scores) == len(results):
                    for result, score in zip(results, scores, strict=True):
                        result[category] = score
                elif row[1:] and category in request.categories:
                    left[category] = row[1:]
            rows = left
        return Scored(results, "; ".join(why))

    async def close(self) -> None:
        """See `Moderator.close`."""
        every = {id(one): one for row in self._routes.values() for one in row}
        await asyncio.gather(*(one.close() for one in every.values()))


def _good(answer: Scored | BaseException) -> Scored:
    if isinstance(answer, BaseException):
        raise answer
    return answer
