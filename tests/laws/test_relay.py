"""The laws of handing over and of words on calls: whoever hands over to whom and allows what, whenever a process dies.

History stays valid, `output_index` never goes back, every run ends, each agent's prompts only grow, and what a run's
events fold to is what is stored and what history shows. A call that waits is made once it is allowed, and once; one
that is denied is not; what is refused changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
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
sending = st.sampled_from([move for move in sorted(MOVES) if move.startswith("send")])
letters = st.tuples(sending, moves).map(list) | st.tuples(sending | moves).map(list)
replies = st.one_of(letters, st.just(["break"]), st.just([]), st.just(["break"]), sending.map(lambda move: [move]))
budgets = st.sampled_from([0, 1, 2, 3, 5, FOR_EVER, FOR_EVER, FOR_EVER])
tools = st.sampled_from([(), (0,), (1, 2), (0, 1, 2), (3,), (0, 1, 2, 3)])
members = st.builds(Member, st.lists(st.integers(0, 3), max_size=3) | st.just([1, 2, 3]), tools)
clerks = st.builds(Member, st.sampled_from([(), (1,), (0, 1)]), st.sampled_from([(3,), (0, 3), (0, 1, 2, 3)]))
how = {"client": flags, "stream": flags}
choices = st.lists(st.sampled_from([ALLOW, ALLOW, DENY, LEAVE]), min_size=1, max_size=4)
odd = st.sampled_from(["", "", "", "", "", "twice", "settled", "message", "results", "result"])


def begins(programs: st.SearchStrategy[list[str]]) -> list[st.SearchStrategy[Step]]:
    """Return the steps that begin a run: a start, an append, a restart."""
    return [
        st.tuples(st.just("start"), st.tuples(numbers, programs, budgets), st.fixed_dictionaries(how)),
        st.tuples(
            st.just("append"), st.tuples(numbers, programs, budgets), st.fixed_dictionaries(how | {"echo": flags})
        ),
        st.tuples(
            st.just("restart"), st.tuples(numbers, numbers, programs, budgets),
            st.fixed_dictionaries(how | {"bare": flags}),
        ),
    ]  # fmt: skip


def settles(programs: st.SearchStrategy[list[str]]) -> st.SearchStrategy[Step]:
    """Return the step that says words."""
    said = {"stream": flags, "answer": flags, "odd": odd, "cut": st.sampled_from([False, False, False, True])}
    return st.tuples(
        st.just("settle"), st.tuples(numbers, choices, programs, budgets), st.fixed_dictionaries(said)
    )  # fmt: skip


befalls = [
    st.tuples(st.just("advance"), st.tuples(numbers, budgets), st.just({})),
    st.tuples(st.just("cancel"), st.tuples(st.integers(0, 2)), st.just({})),
    st.tuples(st.just("doom"), st.tuples(st.integers(0, 5)), st.fixed_dictionaries({"heard": flags})),
    st.tuples(st.just("crash"), st.just(()), st.fixed_dictionaries({"adopt": flags})),
]
rename = st.tuples(st.just("rename"), st.tuples(numbers), st.just({}))
delete = st.tuples(st.just("delete"), st.tuples(numbers), st.just({}))
handing_over = st.one_of(*begins(programs), begins(programs)[1], settles(programs), *befalls, rename)
saying_words = st.one_of(
    *begins(letters), begins(letters)[2], begins(letters)[2], *(settles(replies) for _ in range(8)), *befalls, delete
)


def carried_out(relay: Relay, steps: Sequence[Step]) -> None:
    """Do what is to happen, and see that the laws hold."""
    for name, arguments, options in steps:
        getattr(relay, name)(*arguments, **options)
    relay.finish()


@laws(100)
@given(st.lists(members, min_size=1, max_size=4), st.lists(handing_over, min_size=5, max_size=14))
def test_agents_hand_over_as_they_like(team: list[Member], steps: list[Step]) -> None:
    with closing(Relay(team)) as relay:
        carried_out(relay, steps)


@laws(70)
@given(st.lists(clerks, min_size=1, max_size=2), sending, st.lists(saying_words, min_size=8, max_size=14))
def test_calls_wait_for_the_last_word(team: list[Member], first: str, steps: list[Step]) -> None:
    with closing(Relay(team, first)) as relay:
        carried_out(relay, steps)
