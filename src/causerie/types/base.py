"""The base of all wire types: msgspec structs with the few methods that code written for the official SDK calls.

A type is declared once and is the wire form, the engine's form and (encoded) the stored form. Nothing here knows
what the API is about.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

__all__ = ["UNSET", "Struct", "Tagged", "UnsetType", "decode", "dumped", "encode", "given", "to_utc"]

T = TypeVar("T")


def dumped(thing: Any) -> Any:
    """Return what a thing that is no wire type, but can say what it would be on the wire, says.

    Raises:
        TypeError: it cannot.
    """
    if hasattr(thing, "model_dump"):
        return thing.model_dump(mode="json")
    raise TypeError(f"Encoding objects of type {type(thing).__name__} is unsupported")


encode = msgspec.json.Encoder(enc_hook=dumped).encode


class Struct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A wire type. Fields that may be absent are `UNSET` when they are; null is None."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """Return the fields as plain Python objects, nested; absent fields are left out.

        Args:
            mode: ``"python"`` keeps datetimes as they are, ``"json"`` writes them as text.
            exclude_none: leave out what is null, at every depth.
        """
        kept = (datetime,) if mode == "python" else ()
        plain: dict[str, Any] = msgspec.to_builtins(self, builtin_types=kept, enc_hook=dumped)
        return _without_none(plain) if exclude_none else plain

    def model_dump_json(self, *, exclude_none: bool = False) -> str:
        """Return the JSON text that goes over the wire."""
        return encode(self.model_dump(exclude_none=True) if exclude_none else self).decode()


class Tagged(Struct, kw_only=True):
    """A wire type that is one of several kinds, told apart by `type`."""

    @property
    def type(self) -> str:
        """Which kind it is."""
        return str(self.__struct_config__.tag)


def given(value: T | None | UnsetType, default: T) -> T:
    """Return `value`, or `default` where it is null or absent."""
    return default if value is None or isinstance(value, UnsetType) else value


def to_utc(moment: datetime) -> datetime:
    """Return `moment` in UTC; a time without an offset is taken to be UTC already.

    Raises:
        OverflowError: in UTC it would be before year 1 or after year 9999.
    """
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def decode(data: bytes, kind: type[T]) -> T:
    """Decode JSON that we or a trusted peer wrote.

    Raises:
        msgspec.MsgspecError: the data is not such a thing.
    """
    return msgspec.json.decode(data, type=kind)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_none(item) for item in value]
    return value
