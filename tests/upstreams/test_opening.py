"""A caller's prefix begins the answer, exactly once."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from causerie.upstreams.base import CallDelta, Delta, FinishDelta, ReasoningDelta, TextDelta
from causerie.upstreams.opening import Opening

texts = st.lists(st.text(max_size=4), max_size=6)


def opened(prefix: str, parts: list[str]) -> str:
    opening = Opening(prefix)
    deltas = [delta for part in parts for delta in opening.pass_on([TextDelta(part)])]
    deltas += opening.pass_on([FinishDelta("stop")])
    assert deltas[-1] == FinishDelta("stop")
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


@settings(deadline=None)
@given(st.text(alphabet="ab", min_size=1, max_size=4), st.lists(st.text(alphabet="ab", max_size=3), max_size=5))
def test_the_text_begins_with_the_prefix_once(prefix: str, parts: list[str]) -> None:
    text = "".join(parts)
    assert opened(prefix, parts) == (text if text.startswith(prefix) else prefix + text)


@settings(deadline=None)
@given(texts, texts)
def test_without_a_prefix_and_after_it_nothing_is_held_back(before: list[str], after: list[str]) -> None:
    opening = Opening(None)
    deltas: list[Delta] = [TextDelta(text) for text in before]
    assert opening.pass_on(deltas) is deltas
    opening = Opening("p")
    opening.pass_on([TextDelta("p")])
    deltas = [TextDelta(text) for text in after]
    assert opening.pass_on(deltas) is deltas


def test_reasoning_passes_while_the_prefix_is_undecided() -> None:
    opening = Opening("Hello")
    assert opening.pass_on([TextDelta("He"), ReasoningDelta("hm")]) == [ReasoningDelta("hm")]
    assert opening.pass_on([CallDelta(0, "a", "f")]) == [TextDelta("HelloHe"), CallDelta(0, "a", "f")]
