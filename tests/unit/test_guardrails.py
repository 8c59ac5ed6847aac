"""The verdict of guardrails is a function of scores and configurations: what holds for all of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from causerie.engine.guardrails import Guards, check_config, judge, texts_of, unanswered
from causerie.engine.history import History, rows
from causerie.errors import Blocked, InvalidRequest, UpstreamUnavailable
from causerie.moderation.base import NOTHING, Offered, Score, Scored
from causerie.types.base import UNSET
from causerie.types.completion import CATEGORIES, CATEGORIES_V1, CATEGORIES_V2, GuardrailConfig
from causerie.types.completion import CategoryThresholdsV2 as Thresholds
from causerie.types.completion import ModerationConfigV2 as Config
from causerie.types.content import ImageURLChunk, TextChunk
from causerie.types.entries import (
    AgentHandoffEntry,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)

ALL = Offered(frozenset(CATEGORIES), by_model=True)
MODEL = Config().model_name
shares = st.floats(0, 1)
names = st.sampled_from(CATEGORIES_V2)
configs = st.builds(
    lambda thresholds, ignore, action: Config(
        custom_category_thresholds=Thresholds(**thresholds), ignore_other_categories=ignore, action=action
    ),
    st.dictionaries(names, st.none() | shares, min_size=1), st.booleans(), st.sampled_from(["none", "block"]),
)  # fmt: skip
scored = st.lists(
    st.fixed_dictionaries({name: st.builds(Score, shares, st.booleans()) for name in CATEGORIES_V2}), min_size=1,
    max_size=3,
)  # fmt: skip


def violated(config: Config, results: list[dict[str, Score]]) -> set[str]:
    """Say by the letter of the documentation which categories are violated."""
    found, given_ = set(), config.custom_category_thresholds
    for name in CATEGORIES_V2:
        threshold = getattr(given_, name)
        if config.ignore_other_categories and threshold is UNSET:
            continue
        for scores in results:
            over = scores[name].flagged if threshold in (None, UNSET) else scores[name].value > threshold
            found |= {name} if over else set()
    return found


@given(st.lists(configs, min_size=1, max_size=4), scored)
def test_a_guardrail_blocks_exactly_when_one_that_may_is_violated(
    several: list[Config], results: list[dict[str, Score]]
) -> None:
    guardrails = [GuardrailConfig(moderation_llm_v2=one) for one in several]
    expected = [violated(one, results) for one in several]
    try:
        reports = judge(guardrails, {MODEL: Scored(results)})
    except Blocked as error:
        assert any(found and one.action == "block" for found, one in zip(expected, several, strict=True))
        decisions = error.guardrails["results"]["moderation_llm_v2"]
        assert (decisions["violated"], decisions["action"]) == (True, "block")
    else:
        assert not any(found and one.action == "block" for found, one in zip(expected, several, strict=True))
        for report, found in zip(reports, expected, strict=True):
            categories = report["moderation_llm_v2"]["categories"]
            assert {name for name, one in categories.items() if one["violated"]} == found
            assert all(one["score"] == max(row[name].value for row in results) for name, one in categories.items())


@given(configs, st.sets(names))
def test_what_has_no_score_is_refused_unless_it_is_switched_off(config: Config, there: set[str]) -> None:
    guardrails = [GuardrailConfig(moderation_llm_v2=config)]
    named = {name for name in CATEGORIES_V2 if getattr(config.custom_category_thresholds, name) is not UNSET}
    needed = named if config.ignore_other_categories else set(CATEGORIES_V2)
    needed -= {name for name in named if getattr(config.custom_category_thresholds, name) == 1}
    row = {name: Score(0.0, flagged=False) for name in there}
    if needed <= there:
        check_config(guardrails, Offered(frozenset(there)))
        judge(guardrails, {MODEL: Scored([row])})
        return
    with pytest.raises(InvalidRequest) as before:
        check_config(guardrails, Offered(frozenset(there)))
    with pytest.raises(InvalidRequest) as after:
        judge(guardrails, {MODEL: Scored([row], "it is too old")})
    assert before.value.loc == after.value.loc
    missing = [name for name in CATEGORIES_V2 if name in needed - there]
    assert before.value.message.startswith(f"Nobody here can score {', '.join(missing)}. ")
    assert after.value.message.startswith(f"Nobody here can score {', '.join(missing)} (it is too old). ")


def test_a_violation_is_told_before_a_failure() -> None:
    other = Config(model_name="other", action="block")
    guardrails = [
        GuardrailConfig(block_on_error=True, moderation_llm_v2=Config()), GuardrailConfig(moderation_llm_v2=other),
    ]  # fmt: skip
    bad = Scored([{name: Score(1.0, flagged=True) for name in CATEGORIES_V2}])
    with pytest.raises(Blocked) as error:
        judge(guardrails, {MODEL: UpstreamUnavailable(), "other": bad})
    assert error.value.code == 3200
    with pytest.raises(Blocked) as error:
        judge(guardrails, {MODEL: UpstreamUnavailable(), "other": Scored([])})
    assert error.value.code == 3201


def test_without_anybody_to_ask_no_guardrail_can_be_kept() -> None:
    assert Guards(None).offered == NOTHING
    check_config(None, NOTHING)
    check_config([], NOTHING)
    with pytest.raises(InvalidRequest):
        check_config([GuardrailConfig(moderation_llm_v2=Config())], NOTHING)


def test_there_are_nine_and_eleven_categories() -> None:
    check_config([GuardrailConfig(moderation_llm_v2=Config(), moderation_llm_v1=None)], ALL)
    assert len(CATEGORIES_V1) == 9
    assert len(CATEGORIES_V2) == 11


def user(content: Any) -> MessageInputEntry:
    return MessageInputEntry(role="user", content=content)


ENTRIES: list[Entry] = [
    user("Hello"),
    user([TextChunk(text="One"), ImageURLChunk(image_url="https://example.com/a.png"), TextChunk(text="two")]),
    user(" \n"),
    MessageInputEntry(role="assistant", content="I said"),
    MessageOutputEntry(content="I say"),
    FunctionCallEntry(tool_call_id="callAAAA1", name="f", arguments='{"said": "by the model"}'),
    FunctionResultEntry(tool_call_id="callAAAA1", result="42"),
    ToolExecutionEntry(name="web_search", arguments="{}", info={"said": "by a tool"}),
    AgentHandoffEntry(previous_agent_id="a", previous_agent_name="A", next_agent_id="b", next_agent_name="B"),
]


def test_what_the_caller_brings_is_checked_and_nothing_else() -> None:
    assert texts_of(ENTRIES) == ["Hello", "One\ntwo", "42"]


@pytest.mark.parametrize(
    ("entries", "texts"),
    [
        ([], []),
        ([user("a")], ["a"]),
        ([user("a"), MessageOutputEntry(content="b")], []),
        ([user("a"), MessageOutputEntry(content="b"), user("c"), user("d")], ["c", "d"]),
        ([user("a"), ENTRIES[5], ENTRIES[6]], ["42"]),
        ([user("a"), ENTRIES[8], user("b")], ["a", "b"]),
    ],
)
def test_of_a_history_its_end_is_unanswered(entries: list[Entry], texts: list[str]) -> None:
    complete = [msgspec.structs.replace(one, id=f"id_{place}") for place, one in enumerate(entries)]
    assert texts_of(unanswered(rows(complete, History()))) == texts
