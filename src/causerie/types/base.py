"""The base of all wire types: msgspec structs with the few methods that code written for the official SDK calls.

A type is declared once and is the wire form, the engine's form and (encoded) the stored form. Nothing here knows
what the API is about.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

__all__ = ["UNSET", "Struct", "UnsetType", "decode", "encode", "given", "to_utc"]

T = TypeVar("T")

encode = msgspec.json.Encoder().encode


class Struct(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A wire type. Fields that may be absent are `UNSET` when they are; null is None."""

    def model_dump(self, *, mode: str = "python", exclude_none: bool = False) -> dict[str, Any]:
        """Return the fields as plain Python objects, nested; absent fields are left out.

        Args:
            mode: ``"python"`` keeps datetimes as they are, ``"json"`` writes them as text.
            exclude_none: leave out what is null, at every depth.
        """
        kept = (datetime,) if mode == "python" else ()
        plain: dict[str, Any] = msgspec.to_builtins(self, builtin_types=kept)
        return _without_none(plain) if exclude_none else plain

    def model_dump_json(self, *, exclude_none: bool = False) -> str:
        """Return the JSON text that goes over the wire."""
        return encode(self.model_dump(exclude_none=True) if exclude_none else self).decode()


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
