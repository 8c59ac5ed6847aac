"""How a function is described to a model, and what its arguments and its result become on the way."""

from __future__ import annotations

import asyncio
import enum
import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import jsonschema_rs
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from causerie.client.models import FunctionCallEntry
from causerie.client.run import Function
from causerie.client.run.docstrings import described
from causerie.client.run.functions import written
from causerie.client.run.performing import make
from causerie.client.run.shapes import Misfit, Shape, schema_of


class Colour(enum.Enum):
    """A colour."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Place:
    """Where somebody is."""

    city: str
    near: list[Place] = field(default_factory=list)


class Trip(msgspec.Struct):
    """Where somebody goes."""

    to: Place
    on: date
    days: Annotated[int, msgspec.Meta(ge=1, description="how long")] = 1


class Options(TypedDict):
    """What else."""

    loud: bool
    note: NotRequired[str]


Kind = Literal["day", "week"]


def plan(to: Place, colours: list[Colour], *, options: Options | None = None, kind: Kind = "day") -> Any:
    """Plan a trip.

    It is not booked.

    Args:
        to: where to,
            and no further
        colours (list): of the ticket.
        options: what else:
            - loud: yes or no

    Returns:
        Something.

    Raises:
        LookupError: there is no such place.
    """
    return to, colours, options, kind


def call(arguments: Any, name: str = "plan") -> FunctionCallEntry:
    """Return a call as the server tells of it."""
    text = arguments if isinstance(arguments, str | dict) else json.dumps(arguments)
    return FunctionCallEntry(tool_call_id="callAAAA1", name=name, arguments=text)


def made(function: Function, arguments: Any = "{}") -> str:
    """Make a call and return what the model would read."""
    with ThreadPoolExecutor(1) as threads:
        return asyncio.run(make(function, call(arguments), threads))


def test_a_function_is_described_by_its_hints_and_its_docstring() -> None:
    offered = Function(plan).tool.function
    assert (offered.name, offered.strict) == ("plan", False)
    assert offered.description == "Plan a trip.\n\nIt is not booked."
    parameters = offered.parameters
    assert parameters["type"] == "object"
    assert parameters["required"] == ["to", "colours"]
    assert parameters["additionalProperties"] is False
    told = {name: one.get("description") for name, one in parameters["properties"].items()}
    assert told == {"to": "where to, and no further", "colours": "of the ticket.", "kind": None,
                    "options": "what else: - loud: yes or no"}  # fmt: skip
    assert parameters["properties"]["colours"]["items"] == {"$ref": "#/$defs/Colour"}
    assert parameters["properties"]["kind"] == {"enum": ["day", "week"], "default": "day"}
    assert set(parameters["$defs"]) == {"Colour", "Place", "Options"}
    assert parameters["$defs"]["Place"]["additionalProperties"] is False
    assert jsonschema_rs.meta.is_valid(parameters)


def test_arguments_come_as_the_types_that_were_asked_for() -> None:
    found = Function(plan).arguments(call({"to": {"city": "Lyon"}, "colours": ["red"], "options": {"loud": True}}))
    assert found == {"to": Place("Lyon"), "colours": [Colour.RED], "options": {"loud": True}, "kind": "day"}


@pytest.mark.parametrize(("arguments", "what"), [
    ("{", "truncated"), ("[]", "Expected `object`"), ("{}", "missing required field `to`"),
    ({"to": {"city": 1}, "colours": []}, r"Expected `str`, got `int` - at `\$\.to\.city`"),
    ({"to": {"city": "x"}, "colours": ["green"]}, "green"),
    ({"to": {"city": "x"}, "colours": [], "surprise": 1}, "surprise"),
])  # fmt: skip
def test_arguments_that_do_not_fit_are_told_where(arguments: Any, what: str) -> None:
    with pytest.raises(Misfit, match=what):
        Function(plan).arguments(call(arguments))


def test_a_model_that_quotes_numbers_is_understood() -> None:
    def sleep(seconds: int, *, deep: bool = False) -> str:
        return f"{seconds + 1} {deep}"

    assert made(Function(sleep), {"seconds": "8", "deep": "true"}) == "9 True"


def test_a_function_may_be_many_things() -> None:
    class Counter:
        def __call__(self, step: int) -> int:
            """Count on."""
            return step + 1

        def method(self, step: int) -> int:
            """Count on, from here."""
            return step + 2

        @staticmethod
        async def later(step: int) -> int:
            """Count on, some day."""
            return step + 3

    def add(step: int, more: int) -> int:
        """Add something."""
        return step + more

    functions = [
        Function(Counter(), name="count"), Function(Counter().method), Function(Counter.later),
        Function(partial(add, more=4), name="add-4"), Function(partial(Counter.later), name="later4"),
    ]  # fmt: skip
    assert [made(one, {"step": 1}) for one in functions] == ["2", "3", "4", "5", "4"]
    assert [one.tool.function.description for one in functions] == [
        "Count on.", "Count on, from here.", "Count on, some day.", "Add something.", "Count on, some day.",
    ]  # fmt: skip
    assert Function(add, name="sum", description="").tool.function.description == ""


def test_a_default_is_the_functions_own() -> None:
    nothing, several = object(), [1, 2]

    def count(a: Any = nothing, b: list[int] = several) -> str:
        return f"{a is nothing} {b is several}"

    function = Function(count)
    assert made(function) == "True True"
    assert "required" not in function.tool.function.parameters or not function.tool.function.parameters["required"]


def positional(one: int, /) -> None: ...
def starred(*ones: int) -> None: ...
def open_ended(**ones: int) -> None: ...
def complex_(one: complex) -> None: ...
def unknown_hint(one: Nowhere) -> None: ...  # noqa: F821  # type: ignore[name-defined]


@pytest.mark.parametrize(("function", "what"), [
    (positional, "cannot be passed by a name"), (starred, "cannot be passed by a name"),
    (open_ended, "cannot be passed by a name"), (complex_, "complex"), (unknown_hint, "Nowhere"),
    (lambda: None, "'<lambda>'"), (partial(plan), "''"),
])  # fmt: skip
def test_what_a_model_cannot_call_is_refused(function: Callable[..., Any], what: str) -> None:
    with pytest.raises(TypeError, match=what):
        Function(function)


@pytest.mark.parametrize(("value", "text"), [
    ("a\n", "a\n"), ("", ""), (None, "null"), (5, "5"), (Place("Lyon"), '{"city":"Lyon","near":[]}'),
    ({"ü": [1]}, '{"ü":[1]}'),
    (datetime(2026, 1, 2, 3, 4, 5), '"2026-01-02T03:04:05"'), (Colour.RED, '"red"'),  # noqa: DTZ001
])  # fmt: skip
def test_a_result_is_text_or_json(value: Any, text: str) -> None:
    assert written(value) == text


def test_a_result_that_json_cannot_hold_is_an_error() -> None:
    with pytest.raises(TypeError, match="type object is unsupported"):
        written(object())


@pytest.mark.parametrize(("docstring", "purpose", "parameters"), [
    (None, "", {}),
    ("Do it.", "Do it.", {}),
    ("Do it.\n\n:param int a: the first\n  of them\n:param b: the second\n:returns: nothing\n", "Do it.",
     {"a": "the first of them", "b": "the second"}),
    ("Do it.\n\nArgs:\n    *a: x\n    b (int): y: z\n\n    c:\n        later\nReturns:\n    d: nothing", "Do it.",
     {"a": "x", "b": "y: z", "c": "later"}),
    ("Note: this is text.\nSo: is this.", "Note: this is text.\nSo: is this.", {}),
    ("Args:\n        a: x\n    ", "", {"a": "x"}),
    ("Do it.\n\nArgs:\n    a: x\n\nBut not: twice.\nRaises:\n    b: c\nEver.", "Do it.\n\nBut not: twice.\nEver.",
     {"a": "x"}),
])  # fmt: skip
def test_a_docstring_is_taken_apart(docstring: str | None, purpose: str, parameters: dict[str, str]) -> None:
    assert described(docstring) == (purpose, parameters)


def test_a_type_that_refers_to_itself_has_a_schema() -> None:
    schema = schema_of(Place)
    assert schema["type"] == "object"
    assert schema["properties"]["near"]["items"] == {"$ref": "#/$defs/Place"}
    assert jsonschema_rs.is_valid(schema, {"city": "a", "near": [{"city": "b", "near": []}]})
    assert not jsonschema_rs.is_valid(schema, {"city": "a", "near": [{"city": 1}]})


def test_an_output_is_read_strictly() -> None:
    trip = Shape[Trip](Trip).read('{"to": {"city": "Lyon"}, "on": "2026-01-02"}')
    assert trip == Trip(Place("Lyon"), date(2026, 1, 2))
    for text in ("", "Lyon", "[]", "{}", '{"to": {"city": "Lyon"}, "on": "2026-01-02", "days": 0}',
                 '{"to": {"city": "Lyon"}, "on": "2026-01-02", "days": "1"}'):  # fmt: skip
        with pytest.raises(Misfit):
            Shape(Trip).read(text)


class Foreign:
    """What a model of another library looks like from here."""

    def __init__(self, size: int) -> None:
        self.size = size

    @classmethod
    def model_json_schema(cls) -> dict[str, Any]:
        size = {"size": {"$ref": "#/$defs/Size"}}
        return {"type": "object", "properties": size, "$defs": {"Size": {"type": "integer"}}}

    @classmethod
    def model_validate(cls, plain: Any) -> Foreign:
        if not isinstance(plain.get("size"), int):
            raise ValueError("size is no number")  # noqa: TRY004
        return cls(plain["size"])


def test_a_class_that_describes_itself_is_taken_at_its_word() -> None:
    assert schema_of(Foreign)["$defs"] == {"Size": {"type": "integer"}}
    inner = schema_of(list[Foreign] | None)
    assert inner["$defs"] == {"Size": {"type": "integer"}}
    assert jsonschema_rs.is_valid(inner, [{"size": 5}])
    assert not jsonschema_rs.is_valid(inner, [{"size": "5"}])
    assert Shape[Foreign](Foreign).read('{"size": 5}').size == 5
    assert [one.size for one in Shape[list[Foreign]](list[Foreign]).read('[{"size": 5}]')] == [5]
    for kind, text in ((Foreign, "{}"), (list[Foreign], "[{}]")):
        with pytest.raises(Misfit, match="size is no number"):
            Shape(kind).read(text)


LEAVES: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (int, st.integers(-(2**53), 2**53)), (str, st.text()), (bool, st.booleans()), (type(None), st.none()),
    (float, st.floats(allow_nan=False, allow_infinity=False)), (Colour, st.sampled_from(Colour)),
    (Literal["a", 1], st.sampled_from(["a", 1])), (date, st.dates()),
]  # fmt: skip


NUMBERS = itertools.count()
"""Two types of one name in one module cannot be told apart."""


def wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return types made of smaller ones, each with a strategy for its values."""
    lists = inner.map(lambda one: (list[one[0]], st.lists(one[1], max_size=3)))
    named = inner.map(lambda one: (dict[str, one[0]], st.dictionaries(st.text(), one[1], max_size=3)))
    several = st.lists(inner, min_size=1, max_size=3).map(_struct)
    return lists | named | several


def _struct(members: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    kind = msgspec.defstruct(f"Made{next(NUMBERS)}", [(f"m{n}", one[0]) for n, one in enumerate(members)])
    return kind, st.builds(kind, **{f"m{n}": one[1] for n, one in enumerate(members)})


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(st.sampled_from(LEAVES), wider, max_leaves=6), st.data())
def test_what_a_type_holds_fits_its_schema_and_comes_back(made_up: tuple[Any, Any], data: st.DataObject) -> None:
    kind, values = made_up
    value = data.draw(values)
    shape = Shape[Any](kind)
    text = msgspec.json.encode(value).decode()
    assert jsonschema_rs.is_valid(shape.schema, json.loads(text))
    assert shape.read(text) == value


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(st.sampled_from(LEAVES), wider, max_leaves=4), st.data())
def test_what_a_function_is_passed_is_what_it_gets(made_up: tuple[Any, Any], data: st.DataObject) -> None:
    kind, values = made_up
    value = data.draw(values)

    def take(one: Any) -> None: ...

    take.__annotations__["one"] = kind
    function = Function(take)
    arguments = msgspec.json.encode({"one": value}).decode()
    assert jsonschema_rs.is_valid(function.tool.function.parameters, json.loads(arguments))
    assert function.arguments(call(arguments))["one"] == value
