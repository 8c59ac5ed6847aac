"""The laws of handing over and of words on calls: whoever hands over to whom and allows what, whenever a process dies.

History stays valid, `output_index` never goes back, every run ends, each agent's prompts only grow, and what a run's
events fold to is what is stored and what history shows. A call that waits is made once it is allowed, and once; one
that is denied is not; what is refused changes nothing.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from .living import FOR_EVER
from .relay import MOVES, Member, Relay
from .spoken import ALLOW, DENY, LEAVE
from .world import laws

Step = tuple[str, tuple[Any, ...], dict[str, Any]]
numbers = st.integers(0, 99)
flags = st.booleans()
# Turns that do nothing but talk come by themselves, where a program ends.
moves = st.sampled_from([move for move in sorted(MOVES) if move != "say"])
programs = st.lists(moves, min_size=1, max_size=5) | st.just(["hand over"] * 6)
budgets = st.sampled_from([0, 1, 2, 3, 5, FOR_EVER, FOR_EVER, FOR_EVER])
tools = st.sampled_from([(), (0,), (1, 2), (0, 1, 2), (3,), (0, 3), (0, 1, 2, 3), (0, 1, 2, 3)])
choices = st.lists(st.sampled_from([ALLOW, ALLOW, DENY, LEAVE]), min_size=1, max_size=4)
odd = st.sampled_from(["", "", "", "", "", "twice", "settled", "message", "results"])
members = st.builds(Member, st.lists(st.integers(0, 3), max_size=3) | st.just([1, 2, 3]), tools)
how = {"client": flags, "stream": flags}
step = st.one_of(
    st.tuples(st.just("start"), st.tuples(numbers, programs, budgets), st.fixed_dictionaries(how)),
    st.tuples(st.just("append"), st.tuples(numbers, programs, budgets), st.fixed_dictionaries(how | {"echo": flags})),
    st.tuples(st.just("append"), st.tuples(numbers, programs, budgets), st.fixed_dictionaries(how | {"echo": flags})),
    st.tuples(
        st.just("restart"), st.tuples(numbers, numbers, programs, budgets), st.fixed_dictionaries(how | {"bare": flags})
    ),
    *[
        st.tuples(
            st.just("settle"),
            st.tuples(numbers, choices, programs, budgets),
            st.fixed_dictionaries({"stream": flags, "answer": flags, "odd": odd}),
        )
    ]
    * 3,
    st.tuples(st.just("delete"), st.tuples(numbers), st.just({})),
    st.tuples(st.just("advance"), st.tuples(numbers, budgets), st.just({})),
    st.tuples(st.just("cancel"), st.tuples(st.integers(0, 2)), st.just({})),
    st.tuples(st.just("rename"), st.tuples(numbers), st.just({})),
    st.tuples(st.just("doom"), st.tuples(st.integers(0, 5)), st.fixed_dictionaries({"heard": flags})),
    st.tuples(st.just("crash"), st.just(()), st.fixed_dictionaries({"adopt": flags})),
)


@laws(100)
@given(st.lists(members, min_size=1, max_size=4), st.lists(step, min_size=5, max_size=14))
def test_agents_hand_over_as_they_like(
    team: list[Member], steps: list[tuple[str, tuple[Any, ...], dict[str, Any]]]
) -> None:
    with closing(Relay(team)) as relay:
        for name, arguments, options in steps:
            getattr(relay, name)(*arguments, **options)
        relay.finish()
