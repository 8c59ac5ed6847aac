"""The tools that hand over: their names tell agents apart, and stay what they are."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from causerie.engine import handoffs
from causerie.types.agents import Agent

ACCEPTED = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What model servers take for a function's name."""


def agent(name: str, id_: str = "ag_019a") -> Agent:
    """An agent."""
    at = datetime(2025, 3, 1, tzinfo=UTC)
    return Agent(
        id=id_, name=name, model="m", version=0, versions=[0], created_at=at, updated_at=at, deployment_chat=False,
        source="api",
    )  # fmt: skip


def named(*agents: Agent, taken: tuple[str, ...] = ()) -> list[str]:
    """Name handoffs to these agents."""
    found = handoffs.names(agents, taken)
    assert list(found.values()) == list(agents)
    assert all(ACCEPTED.fullmatch(name) for name in found), found
    return list(found)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("websearch-agent", "handoff_to_websearch-agent"),
        ("Web search!", "handoff_to_Web_search"),
        ("  a / b  ", "handoff_to_a_b"),
        ("Café-Ärzte", "handoff_to_Caf_-_rzte"),
        ("天气", "handoff_to_ag_019a"),
        ("a" * 200, "handoff_to_" + "a" * 53),
    ],
)
def test_a_name_is_made_of_the_agents(name: str, expected: str) -> None:
    assert named(agent(name)) == [expected]


def test_agents_of_one_name_are_told_apart_by_their_ids() -> None:
    one, other = agent("rates", "ag_00000000aaaaaaaa"), agent("rates!", "ag_00000000bbbbbbbb")
    assert named(one, other) == ["handoff_to_rates_aaaaaaaa", "handoff_to_rates_bbbbbbbb"]
    assert named(other, one) == ["handoff_to_rates_bbbbbbbb", "handoff_to_rates_aaaaaaaa"], "in whatever order"
    assert named(one) == ["handoff_to_rates"]


def test_long_names_that_differ_only_at_their_end_are_told_apart() -> None:
    one, other = agent("a" * 80 + "1", "ag_00000000aaaaaaaa"), agent("a" * 80 + "2", "ag_00000000bbbbbbbb")
    assert len(set(named(one, other))) == 2


def test_no_function_is_taken_for_a_handoff() -> None:
    target = agent("rates", "ag_00000000aaaaaaaa")
    assert named(target, taken=("handoff_to_rates",)) == ["handoff_to_rates_aaaaaaaa"]
    assert named(target, taken=("handoff_to_rates", "handoff_to_rates_aaaaaaaa")) == ["handoff_to_rates_2"]


def test_even_ids_that_end_alike_are_told_apart() -> None:
    one, other = agent("rates", "ag:1:aaaaaaaa"), agent("rates", "ag:2:aaaaaaaa")
    assert named(one, other) == ["handoff_to_rates_aaaaaaaa", "handoff_to_rates_2"]
