"""Answers of servers that know more than we do: nothing that is new there is fatal here.

Bytes are decoded strictly, which is fast. Only where that fails are they decoded as plain JSON and fitted to the
types: keys that a type does not have are dropped, kinds that we do not know are kept whole as `Unknown`, and
values are taken as they are.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

from causerie.errors import ConnectionFailed

T = TypeVar("T")


class Unknown:
    """A thing of a kind that this version does not know.

    Attributes:
        type: what the server calls the kind.
        raw: the whole thing, as plain Python objects.
    """

    is_unknown = True

    def __init__(self, type: str, raw: Any) -> None:  # noqa: A002  # as on the wire
        """Keep it."""
        self.type, self.raw = type, raw

    def __eq__(self, other: object) -> bool:
        """Whether it is the same thing."""
        return isinstance(other, Unknown) and (self.type, self.raw) == (other.type, other.raw)

    def __hash__(self) -> int:
        """By its kind: what it holds can change."""
        return hash(self.type)

    def __repr__(self) -> str:
        """Show all of it."""
        return f"{type(self).__name__}({self.type!r}, {self.raw!r})"

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> Any:  # noqa: ARG002  # as its likes
        """Return it as it came."""
        return self.raw

    def model_dump_json(self, *, exclude_none: bool = False) -> str:  # noqa: ARG002  # as its likes
        """Return it as JSON text."""
        return msgspec.json.encode(self.raw).decode()


class UnknownEvent(Unknown):
    """An event of a kind that this version does not know."""


class Reading(Generic[T]):
    """Decodes one type, strictly where that is possible."""

    def __init__(self, kind: Any, unknown: type[Unknown] = Unknown) -> None:
        """Read `kind`, a type or a union of types."""
        self._kind, self._unknown = kind, unknown
        try:
            self._strict: Any = msgspec.json.Decoder(kind).decode
        except TypeError:  # a union that nothing on the wire tells apart; its members are told apart by their fields
            self._strict = _never

    def read(self, data: bytes) -> T:
        """Return what the bytes are.

        Raises:
            ConnectionFailed: they are not JSON.
        """
        try:
            found: T = self._strict(data)
        except msgspec.ValidationError:
            pass
        except msgspec.DecodeError as error:
            raise ConnectionFailed(f"The server's answer is not JSON: {error}.") from error
        else:
            return found
        try:
            plain = msgspec.json.decode(data)
        except msgspec.DecodeError as error:
            raise ConnectionFailed(f"The server's answer is not JSON: {error}.") from error
        fitted: T = self.fit(plain)
        return fitted

    def fit(self, plain: Any) -> Any:
        """Return what plain Python objects are."""
        return _fit(plain, _described(self._kind), self._unknown)


def _never(_: bytes) -> Any:
    raise msgspec.ValidationError


@cache
def _described(kind: Any) -> inspect.Type:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return inspect.type_info(kind)
    # The description of a union of structs alone is refused where strict decoding would be; one by one they are not.
    return inspect.UnionType(tuple(_described(one) for one in _members(kind))) if _members(kind) else _listed(kind)


def _members(kind: Any) -> tuple[Any, ...]:
    origin = getattr(kind, "__origin__", None)
    return () if origin is list else getattr(kind, "__args__", ())


def _listed(kind: Any) -> inspect.Type:
    if getattr(kind, "__origin__", None) is list:
        return inspect.ListType(_described(kind.__args__[0]))
    return inspect.type_info(kind)


def _fit(value: Any, kind: inspect.Type, unknown: type[Unknown]) -> Any:
    if isinstance(kind, inspect.Metadata):
        return _fit(value, kind.type, unknown)
    if isinstance(kind, inspect.UnionType):
        return _fit_one_of(value, kind.types, unknown)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        return _fit_struct(value, kind)
    if isinstance(kind, inspect.ListType) and isinstance(value, list):
        return [_fit(item, kind.item_type, Unknown) for item in value]
    if isinstance(kind, inspect.DictType) and isinstance(value, dict):
        return {key: _fit(item, kind.value_type, Unknown) for key, item in value.items()}
    if isinstance(kind, inspect.DateTimeType) and isinstance(value, str):
        try:
            return msgspec.convert(value, datetime)
        except msgspec.ValidationError:
            return value
    return value


def _fit_struct(value: dict[str, Any], kind: inspect.StructType) -> Any:
    known = {field.name: field for field in kind.fields}
    given = {key: _fit(item, known[key].type, Unknown) for key, item in value.items() if key in known}
    # What a server leaves out although it must not is null: it is missed where it is used, and not before.
    given |= {name: None for name, field in known.items() if field.required and name not in given}
    return kind.cls(**given)


def _fit_one_of(value: Any, kinds: tuple[inspect.Type, ...], unknown: type[Unknown]) -> Any:
    if isinstance(value, dict):
        structs = [one for one in kinds if isinstance(one, inspect.StructType)]
        if not structs:
            return next((_fit(value, one, unknown) for one in kinds if isinstance(one, inspect.DictType)), value)
        if len(structs) == 1 and structs[0].tag is None:
            return _fit_struct(value, structs[0])
        tagged = [one for one in structs if one.tag is not None and value.get(one.tag_field or "type") == one.tag]
        if tagged:
            return _fit_struct(value, tagged[0])
        fitting = [one for one in structs if one.tag is None and _required(one) <= value.keys()]
        return _fit_struct(value, fitting[0]) if fitting else unknown(str(value.get("type", "")), value)
    if isinstance(value, list):
        return next((_fit(value, one, unknown) for one in kinds if isinstance(one, inspect.ListType)), value)
    if isinstance(value, str):
        return next((_fit(value, one, unknown) for one in kinds if isinstance(one, inspect.DateTimeType)), value)
    return value


def _required(kind: inspect.StructType) -> set[str]:
    return {field.name for field in kind.fields if field.required}
