"""Python types as JSON: their schema, and their values read out of what a model wrote. No I/O.

Structs, dataclasses, typed dicts, enums and what else msgspec knows; classes with `model_json_schema` (pydantic's
models) describe and check themselves, and are never imported here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import msgspec

T = TypeVar("T")
Schema = dict[str, Any]

_NAMED = ("properties", "patternProperties", "$defs")
_SINGLE = ("items", "additionalProperties", "not")
_SEVERAL = ("anyOf", "allOf", "oneOf", "prefixItems")
_HERE = "#/$defs/"


class Misfit(ValueError):
    """A text is not the JSON of such a value; the message says where, in words for the model."""


class Shape(Generic[T]):
    """A type, and how it is written as JSON."""

    def __init__(self, kind: Any, *, strict: bool = True) -> None:
        """Describe `kind`.

        Args:
            kind: a type, or a union of types.
            strict: otherwise ``"5"`` is as good as 5, and the like.

        Raises:
            TypeError: it has no JSON Schema.
        """
        self._kind, self._strict = kind, strict
        self.name = str(getattr(kind, "__name__", "answer"))
        self.schema = schema_of(kind)

    def read(self, given: str | dict[str, Any]) -> T:
        """Return the value that JSON text, or an object, stands for.

        Raises:
            Misfit: it stands for none.
        """
        try:
            plain = msgspec.json.decode(given) if isinstance(given, str) else given
            found: T = _checked(self._kind, plain, strict=self._strict)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise Misfit(str(error)) from error
        return found


def schema_of(kind: Any) -> Schema:
    """Return the JSON Schema of a type: its own members at the root, what it refers to under ``$defs``.

    Objects take no members but those that are named, as models are asked for anyway.

    Raises:
        TypeError: it has none.
    """
    try:
        (root,), components = msgspec.json.schema_components(
            (kind,), ref_template=f"{_HERE}{{name}}", schema_hook=_foreign
        )
    except TypeError as error:  # the last line says why; those above, what somebody else could do about it
        why = str(error).rpartition("\n")[2]
        raise TypeError(f"{getattr(kind, '__name__', repr(kind))} has no JSON Schema: {why}") from error
    definitions: Schema = dict(components)
    for one in (root, *components.values()):
        _hoist(one, definitions)
    if (name := root.get("$ref", "").removeprefix(_HERE)) in definitions:
        root = {**definitions[name], **{key: value for key, value in root.items() if key != "$ref"}}
        if not any(_refers(one, name) for one in (root, *definitions.values())):
            del definitions[name]
    for one in (root, *definitions.values()):
        _close(one)
    return {**root, "$defs": definitions} if definitions else root


def _checked(kind: Any, plain: Any, *, strict: bool) -> Any:
    if hasattr(kind, "model_validate"):
        return kind.model_validate(plain)
    return msgspec.convert(plain, type=kind, strict=strict, dec_hook=_made)


def _foreign(kind: Any) -> Schema:
    if hasattr(kind, "model_json_schema"):
        schema: Schema = kind.model_json_schema()
        return schema
    raise NotImplementedError


def _made(kind: Any, plain: Any) -> Any:
    if hasattr(kind, "model_validate"):
        return kind.model_validate(plain)
    raise NotImplementedError(f"Values of {kind} cannot be read from JSON")


def _hoist(schema: Schema, definitions: Schema) -> None:
    """Move the definitions of a foreign schema, wherever it was put in, to the root: its references begin there."""
    for inner in _inside(schema):
        for name, found in inner.pop("$defs", {}).items():
            definitions.setdefault(name, found)
            _hoist(found, definitions)
        _hoist(inner, definitions)
    for name, found in schema.pop("$defs", {}).items():
        definitions.setdefault(name, found)
        _hoist(found, definitions)


def _close(schema: Schema) -> None:
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    for inner in _inside(schema):
        _close(inner)


def _refers(schema: Schema, name: str) -> bool:
    return schema.get("$ref") == _HERE + name or any(_refers(inner, name) for inner in _inside(schema))


def _inside(schema: Schema) -> Iterator[Schema]:
    """Yield the schemas in a schema."""
    for key in _NAMED:
        yield from (one for one in schema.get(key, {}).values() if isinstance(one, dict))
    for key in _SINGLE:
        if isinstance(one := schema.get(key), dict):
            yield one
    for key in _SEVERAL:
        yield from (one for one in schema.get(key, []) if isinstance(one, dict))
