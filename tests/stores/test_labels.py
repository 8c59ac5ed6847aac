"""How metadata is found: the same JSON has the same label, whatever way it was written."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from causerie.stores.labels import labels

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def rewritten(value: Any) -> Any:
    """Return the same JSON value with whole numbers the other way and keys in the other order."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int) and int(float(value)) == value:
        return float(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [rewritten(item) for item in value]
    if isinstance(value, dict):
        return {key: rewritten(value[key]) for key in reversed(value)}
    return value


def canonical(value: Any) -> Any:
    """Return a form in which JSON values that are the same compare equal, and others do not."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return (type(value).__name__, value)
    if isinstance(value, list):
        return ("list", [canonical(item) for item in value])
    if isinstance(value, dict):
        return ("dict", {key: canonical(item) for key, item in value.items()})
    return ("number", value)


@settings(derandomize=True, deadline=None)
@given(values)
def test_how_a_value_is_written_makes_no_difference(value: Any) -> None:
    assert labels({"key": value}) == labels({"key": rewritten(value)})
    assert labels({"key": value}) == labels(json.loads(json.dumps({"key": value})))


@settings(derandomize=True, deadline=None)
@given(values, values)
def test_what_a_value_is_makes_one(one: Any, other: Any) -> None:
    assert (labels({"key": one}) == labels({"key": other})) is (canonical(one) == canonical(other))


def test_every_pair_has_a_label() -> None:
    found = labels({"b": 1, "a": 1, "": None})
    assert [key for key, _ in found] == ["b", "a", ""]
    assert found[0][1] == found[1][1] != found[2][1]
    assert labels({}) == []
