"""Guardrails: what a caller says is scored before the model sees it, and a verdict is made of the scores.

Deciding is pure: `check_config` sees that a guardrail can be kept, `judge` makes scores into reports or a refusal. What
a model said is never checked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import structlog

from causerie.errors import APIError, BadRequest, Blocked, InvalidRequest, RateLimited, UpstreamError
from causerie.moderation.base import NOTHING, ModerationRequest, Moderator, Offered, Score, Scored, Scores
from causerie.stores.base import EntryRow
from causerie.types.agents import Agent
from causerie.types.base import UNSET, UnsetType, decode
from causerie.types.completion import (
    CATEGORIES_V1,
    CATEGORIES_V2,
    GuardrailConfig,
    ModerationConfigV1,
    ModerationConfigV2,
)
from causerie.types.content import TextChunk
from causerie.types.entries import Entry, FunctionResultEntry, MessageInputEntry

from .conversation import ConversationSettings

log = structlog.get_logger("causerie.guardrails")

MAX_GUARDRAILS = 32
OFF = 1.0
"""The threshold that switches a category off: no score is above it."""
UNEVALUATED = "Request blocked due to error in guardrail evaluation and block_on_error is set to True."
UNEVALUATED_CODE = 3201
_HOW_TO_RESTRICT = (
    "Name those that are meant in custom_category_thresholds and set ignore_other_categories, or have the server's "
    "operator say who scores them (setting moderation)."
)

Config = ModerationConfigV1 | ModerationConfigV2
Reports = list[dict[str, Any]]
Outcomes = Mapping[str, Scored | APIError]
"""What came of asking, by the name of the model that was asked for."""


class Check(NamedTuple):
    """One check of a guardrail: which guardrail, which member of it, and what that says."""

    place: int
    kind: str
    config: Config

    @property
    def thresholds(self) -> dict[str, float | None]:
        """The categories that are named, in the order in which the API lists them; None where no score is given."""
        given = self.config.custom_category_thresholds
        named = {} if given is None or isinstance(given, UnsetType) else msgspec.structs.asdict(given)
        return {category: value for category, value in named.items() if value is not UNSET}

    @property
    def categories(self) -> list[str]:
        """What is checked, in the order in which the API lists it."""
        if self.config.ignore_other_categories:
            return list(self.thresholds)
        return list(CATEGORIES_V1 if isinstance(self.config, ModerationConfigV1) else CATEGORIES_V2)

    @property
    def needed(self) -> list[str]:
        """What has to be scored: what is checked and not switched off."""
        thresholds = self.thresholds
        return [category for category in self.categories if thresholds.get(category) != OFF]

    def refusal(self, message: str, *loc: str) -> InvalidRequest:
        """Return a refusal that points into this check."""
        return InvalidRequest(message, loc=("body", "guardrails", self.place, self.kind, *loc))


def checks(guardrails: Sequence[GuardrailConfig]) -> Iterator[Check]:
    """Yield the checks of guardrails, in order."""
    for index, one in enumerate(guardrails):
        members = {"moderation_llm_v1": one.moderation_llm_v1, "moderation_llm_v2": one.moderation_llm_v2}
        for kind, config in members.items():
            if isinstance(config, ModerationConfigV1 | ModerationConfigV2):
                yield Check(index, kind, config)


def check_config(guardrails: Sequence[GuardrailConfig] | None, offered: Offered) -> None:
    """See that guardrails can be kept by who scores texts here; a request or an agent may have them then.

    Raises:
        InvalidRequest: one checks nothing, or something that nobody here can score; the message names it.
    """
    given = guardrails or []
    if len(given) > MAX_GUARDRAILS:
        raise InvalidRequest(
            f"{len(given)} guardrails were given; at most {MAX_GUARDRAILS} are taken.", loc=("body", "guardrails")
        )
    found = list(checks(given))
    idle = set(range(len(given))) - {check.place for check in found}
    if idle:
        raise InvalidRequest(
            "This guardrail checks nothing: give moderation_llm_v1 or moderation_llm_v2.",
            loc=("body", "guardrails", min(idle)),
        )  # fmt: skip
    for check in found:
        _check_one(check, offered)


def guarding(settings: ConversationSettings, agent: Agent | None) -> Sequence[GuardrailConfig]:
    """Return what guards a run: the conversation's guardrails where it was given any, also none; else its agent's."""
    given = settings.guardrails
    if given is None and agent is not None:
        given = agent.guardrails
    return given or []


def texts_of(entries: Iterable[Entry]) -> list[str]:
    """Return what is checked of entries: what users say and what functions return, not what a model said."""
    found = []
    for entry in entries:
        if isinstance(entry, FunctionResultEntry):
            found.append(entry.result)
        elif isinstance(entry, MessageInputEntry) and entry.role == "user":
            parts = [entry.content] if isinstance(entry.content, str) else _texts(entry.content)
            found.append("\n".join(parts))
    return [text for text in found if text.strip()]


def unanswered(rows: Sequence[EntryRow]) -> list[Entry]:
    """Return the entries at the end of a history that no model has answered yet."""
    found = list[Entry]()
    for row in reversed(rows):
        if row.kind == "agent.handoff":
            continue  # whoever is handed over to answers what came before
        if row.kind not in ("message.input", "function.result"):
            break
        found.append(decode(row.body, Entry))  # type: ignore[arg-type]  # a union is a type
    return found[::-1]


def judge(guardrails: Sequence[GuardrailConfig], outcomes: Outcomes) -> Reports:
    """Make of the scores one report for each guardrail.

    Raises:
        Blocked: a guardrail says so.
        InvalidRequest: a category has no score, for it turned out that nobody here can give one.
    """
    reports: Reports = [{} for _ in guardrails]
    failed, decisions = False, list[tuple[Check, dict[str, Any]]]()
    for check in checks(guardrails):
        outcome = outcomes[check.config.model_name]
        report: dict[str, Any] = {"action": "none"}
        if isinstance(outcome, APIError):
            failing = guardrails[check.place].block_on_error
            failed = failed or failing
            report = {"action": "block" if failing else "none", "error": {"message": outcome.message}}
        else:
            decided = _decided(check, outcome)
            decisions.append((check, decided))
            report["categories"] = {
                category: {"score": one["score"], "violated": one["violated"]} for category, one in decided.items()
            }
        reports[check.place][check.kind] = report
    _refuse(decisions, several=len(guardrails) > 1)
    if failed:
        raise Blocked(UNEVALUATED, code=UNEVALUATED_CODE, guardrails=reports)
    return reports


class Guards:
    """Asks a moderator on behalf of guardrails."""

    def __init__(self, moderator: Moderator | None) -> None:
        """Ask `moderator`; without one no guardrail can be kept."""
        self._moderator = moderator

    @property
    def offered(self) -> Offered:
        """What guardrails may check here."""
        return NOTHING if self._moderator is None else self._moderator.offered

    async def check(self, guardrails: Sequence[GuardrailConfig], texts: Sequence[str]) -> Reports:
        """Check texts; return one report for each guardrail.

        Raises:
            Blocked: a guardrail says so, or could not be checked and demands that it is.
            InvalidRequest: one of them cannot be kept here.
        """
        check_config(guardrails, self.offered)
        wanted = dict[str, set[str]]()
        for check in checks(guardrails):
            wanted.setdefault(check.config.model_name, set()).update(check.needed)
        answers = await asyncio.gather(*(self._ask(model, texts, row) for model, row in wanted.items()))
        return judge(guardrails, dict(zip(wanted, answers, strict=True)))

    async def close(self) -> None:
        """Let the moderator go."""
        if self._moderator is not None:
            await self._moderator.close()

    async def _ask(self, model: str, texts: Sequence[str], categories: Iterable[str]) -> Scored | APIError:
        request = ModerationRequest(model=model, texts=texts, categories=frozenset(categories))
        if self._moderator is None or not texts or not request.categories:
            return Scored([])
        try:
            return await self._moderator.score(request)
        except (BadRequest, RateLimited, UpstreamError) as error:
            log.warning("guardrails.not_checked", model=model, reason=error.message)
            return error


def _check_one(check: Check, offered: Offered) -> None:
    if not check.categories:
        raise check.refusal(
            "This guardrail checks nothing: ignore_other_categories leaves the categories of "
            "custom_category_thresholds, and none is named.", "custom_category_thresholds",
        )  # fmt: skip
    missing = [category for category in check.needed if category not in offered.categories]
    if missing:
        raise _unscored(check, missing)
    if check.config.model_name != type(check.config)().model_name and not offered.by_model:
        raise check.refusal(
            "This server's moderation does not go by the names of models: leave model_name out.", "model_name"
        )


def _unscored(check: Check, missing: Sequence[str], why: str = "") -> InvalidRequest:
    message = f"Nobody here can score {', '.join(missing)}{f' ({why})' if why else ''}. {_HOW_TO_RESTRICT}"
    if check.config.ignore_other_categories:
        return check.refusal(message, "custom_category_thresholds", missing[0])
    return check.refusal(message, "ignore_other_categories")


def _decided(check: Check, scored: Scored) -> dict[str, dict[str, Any]]:
    """Decide about each category: the highest score of all texts counts, and any text may violate."""
    if not scored.results:
        return {}  # nothing was said that could be checked
    found, thresholds = dict[str, dict[str, Any]](), check.thresholds
    there = [category for category in check.categories if all(category in one for one in scored.results)]
    if missing := [category for category in check.needed if category not in there]:
        raise _unscored(check, missing, scored.why)
    for category in there:
        score, threshold = _highest(scored.results, category), thresholds.get(category)
        violated = score.flagged if threshold is None else score.value > threshold
        found[category] = {"threshold": threshold, "score": score.value, "violated": violated}
    return found


def _highest(results: Sequence[Scores], category: str) -> Score:
    scores = [one[category] for one in results]
    return Score(max(score.value for score in scores), any(score.flagged for score in scores))


def _refuse(decisions: Sequence[tuple[Check, dict[str, Any]]], *, several: bool) -> None:
    """Raise the refusal that is documented, with the decisions of every guardrail, if one of them blocks."""
    shown = list[tuple[str, dict[str, Any]]]()
    for check, decided in decisions:
        violated = any(one["violated"] for one in decided.values())
        action = check.config.action if violated else "none"
        result = {"model_name": check.config.model_name, "decisions": decided, "violated": violated, "action": action}
        shown.append((check.kind, result))
    blocking = [one for one in shown if one[1]["action"] == "block"]
    if not blocking:
        return
    # Two guardrails may have the same member: under its name stands what blocks first.
    told: dict[str, Any] = {"results": dict([*shown, *reversed(blocking)])}
    if several:
        told["each"] = [{kind: result} for kind, result in shown]
    raise Blocked(guardrails=told)


def _texts(chunks: Iterable[Any]) -> list[str]:
    return [chunk.text for chunk in chunks if isinstance(chunk, TextChunk)]
