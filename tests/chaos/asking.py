"""What is asked of the model: the answer stands in the question, so that the model is a function of its messages.

Everything in a question is unique: its tag, and the argument of every call that it leads to. Whatever turns up twice
was therefore done twice.
"""

from __future__ import annotations

import random

import msgspec

PAY, LOOK, ASK = "pay", "look", "ask_me"
WIRE_TYPE = "web_search"
SERVED = {PAY: False, LOOK: True}
"""The tools that the server runs, and whether running one twice does no harm."""

FUNCTION = {
    "type": "function",
    "function": {"name": ASK, "parameters": {"type": "object", "properties": {"call": {"type": "string"}}}},
}
TOOLS = [{"type": WIRE_TYPE}, FUNCTION]


class Act(msgspec.Struct, frozen=True):
    """One call that the model makes.

    Attributes:
        call: the argument that no other call has.
        before, after: milliseconds that a tool of the server's takes before and after it takes effect.
    """

    tool: str
    call: str
    before: int = 0
    after: int = 0


class Turn(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer of the model.

    Attributes:
        say: how many pieces of text.
        think: how many pieces of reasoning before them.
        acts: the calls after them.
        pace: milliseconds between two pieces, and before the first.
        short: whether call ids have the nine characters that can be shown outwards.
        fail: whether the first to ask gets an error instead.
    """

    say: int = 0
    think: int = 0
    acts: list[Act] = []
    pace: int = 0
    short: bool = False
    fail: bool = False


class Question(msgspec.Struct, frozen=True):
    """What a user says: a tag that no other question has, and what the model is to answer, turn by turn."""

    tag: str
    turns: list[Turn]

    @property
    def text(self) -> str:
        """The message."""
        return msgspec.json.encode(self).decode()

    @classmethod
    def read(cls, text: str) -> Question:
        """Read it back; raises `msgspec.MsgspecError` for anything else."""
        return msgspec.json.decode(text, type=cls)

    @property
    def is_only_text(self) -> bool:
        """Whether it can be asked again without any call being made twice."""
        return not any(turn.acts for turn in self.turns)


def question(dice: random.Random, tag: str, *, may_fail: bool) -> Question:
    """Think up a question.

    Args:
        may_fail: whether the model may refuse one of its turns once.
    """
    turns = [_tools(dice, f"{tag}/{number}") for number in range(dice.choice([0, 0, 0, 1, 1, 2, 3]))]
    if dice.random() < 0.15:
        turns.append(_functions(dice, f"{tag}/f"))
    turns.append(Turn(say=dice.randint(1, 8), think=dice.choice([0, 0, 0, 2]), pace=_pace(dice)))
    if may_fail and dice.random() < 0.15:
        place = dice.randrange(len(turns))
        turns[place] = msgspec.structs.replace(turns[place], fail=True)
    return Question(tag, turns)


def result_of(call: str) -> str:
    """What a call comes to, whoever answers it."""
    return f"done {call}"


def _tools(dice: random.Random, place: str) -> Turn:
    acts = [
        Act(dice.choice([PAY, LOOK]), f"{place}/{number}", dice.randint(0, 15), dice.randint(0, 15))
        for number in range(dice.choice([1, 1, 2, 3]))
    ]
    return Turn(say=dice.choice([0, 0, 2]), acts=acts, pace=_pace(dice), short=dice.random() < 0.5)


def _functions(dice: random.Random, place: str) -> Turn:
    acts = [Act(ASK, f"{place}/{number}") for number in range(dice.choice([1, 2]))]
    if dice.random() < 0.4:
        acts.insert(dice.randint(0, len(acts)), Act(dice.choice([PAY, LOOK]), f"{place}/s", dice.randint(0, 15)))
    return Turn(say=dice.choice([0, 1]), acts=acts, pace=_pace(dice), short=dice.random() < 0.5)


def _pace(dice: random.Random) -> int:
    return dice.choice([1, 2, 5, 12])
