"""A panel asks whoever has a category, then the next where that one turns out not to have it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from causerie.errors import UpstreamTimeout
from causerie.moderation.base import ModerationRequest, Moderator, Offered, Score, Scored
from causerie.moderation.panel import Panel


@dataclass
class Judge:
    """A moderator that gives every text the same score in some categories."""

    value: float
    categories: Sequence[str]
    why: str = ""
    by_model: bool = False
    fails: bool = False
    asked: list[ModerationRequest] = field(default_factory=list)
    closed: int = 0

    @property
    def offered(self) -> Offered:
        return Offered(frozenset(self.categories), by_model=self.by_model)

    async def score(self, request: ModerationRequest) -> Scored:
        self.asked.append(request)
        if self.fails:
            raise UpstreamTimeout
        row = {category: Score(self.value, flagged=True) for category in self.categories}
        return Scored([row for _ in request.texts], self.why)

    async def close(self) -> None:
        self.closed += 1


def values(panel: Panel, *categories: str, texts: Sequence[str] = ("a", "b")) -> list[dict[str, float]]:
    request = ModerationRequest(model="m", texts=texts, categories=frozenset(categories))
    scored = asyncio.run(panel.score(request))
    return [{name: score.value for name, score in row.items()} for row in scored.results]


def test_each_category_comes_from_its_own() -> None:
    one, two = Judge(0.1, ["law", "pii"]), Judge(0.2, ["law", "pii"])
    panel = Panel({"law": [one], "pii": [two], "health": []})

    assert values(panel, "law", "pii", "health") == [{"law": 0.1, "pii": 0.2}] * 2
    assert panel.offered == Offered(frozenset({"law", "pii"}))
    assert [len(judge.asked) for judge in (one, two)] == [1, 1]


def test_who_is_not_needed_is_not_asked() -> None:
    one, two = Judge(0.1, ["law"]), Judge(0.2, ["pii"])
    assert values(Panel({"law": [one], "pii": [two]}), "pii") == [{"pii": 0.2}] * 2
    assert one.asked == []


def test_the_next_is_asked_for_what_the_first_has_not() -> None:
    first, second = Judge(0.1, ["law"], why="there is no pii"), Judge(0.2, ["law", "pii"])
    rows: dict[str, list[Moderator]] = {"law": [first, second], "pii": [first, second], "health": [first]}
    panel = Panel(rows)

    assert values(panel, "law", "pii", "health") == [{"law": 0.1, "pii": 0.2}] * 2
    assert [len(judge.asked) for judge in (first, second)] == [1, 1]
    scored = asyncio.run(panel.score(ModerationRequest(model="m", texts=["a"], categories=frozenset({"pii"}))))
    assert scored.why == "there is no pii"


def test_what_was_not_wanted_is_handed_on_and_asked_of_nobody() -> None:
    first, second = Judge(0.1, ["law", "pii"]), Judge(0.2, ["health"])
    panel = Panel({"law": [first], "pii": [first], "health": [first, second]})
    assert values(panel, "law") == [{"law": 0.1, "pii": 0.1}] * 2
    assert second.asked == []


def test_a_failure_is_not_made_up_for_by_the_next() -> None:
    first, second = Judge(0.1, ["pii"], fails=True), Judge(0.2, ["pii"])
    with pytest.raises(UpstreamTimeout):
        values(Panel({"pii": [first, second]}), "pii")
    assert second.asked == []


def test_a_model_makes_a_difference_where_it_does_to_one() -> None:
    assert Panel({"law": [Judge(0, ["law"], by_model=True)], "pii": [Judge(0, ["pii"])]}).offered.by_model
    assert not Panel({"pii": [Judge(0, ["pii"])]}).offered.by_model


def test_each_is_closed_once() -> None:
    judge = Judge(0, ["law", "pii"])
    asyncio.run(Panel({"law": [judge], "pii": [judge]}).close())
    assert judge.closed == 1
