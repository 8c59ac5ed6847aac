"""The smallest value that fits a JSON Schema, the same one every time: what the rehearsal model answers with.

Pure. It makes what can be made without guessing and says `Unsampled`, with the place, where it cannot; it does not
validate, and it is bounded, for a schema may come from anybody.
"""

from __future__ import annotations

import math
import re
from typing import Any

Schema = dict[str, Any]

_MOST_VALUES = 2_000
_LONGEST = 2_000
_LONGEST_MATCHED = 8  # a pattern may take time exponential in the length of what it is tried on
_BEYOND = ("not", "if", "contains", "propertyNames", "dependentRequired", "dependentSchemas")
_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_MARKS = {
    "object": ("properties", "required", "additionalProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")
_REMARKS = ("title", "description", "default", "examples", "deprecated", "$comment", "$defs", "definitions", "$schema")


class Unsampled(Exception):
    """The schema asks for something that is not made up here. No error of the house: a caller turns it into one."""


def sample(schema: Schema) -> Any:
    """Return the smallest instance of `schema`.

    Raises:
        Unsampled: no instance could be made.
    """
    try:
        return _Sampler(schema).value(schema, "$", frozenset(), 0)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError, re.error) as error:
        raise Unsampled(f"it is no JSON Schema that can be read ({error})") from error


class _Sampler:
    """Goes down one schema. `at` is the path to the value, `within` the references that are being followed.

    `nth` asks for another value than the smallest, so that the items of a set can differ.
    """

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._made = 0

    def value(self, schema: Schema | bool, at: str, within: frozenset[str], nth: int) -> Any:
        self._made += 1
        if self._made > _MOST_VALUES:
            raise Unsampled("it asks for too many values")
        if isinstance(schema, bool):
            if not schema:
                raise Unsampled(f"nothing is allowed at {at}")
            return ""
        if "$ref" in schema:
            return self.value(*self._followed(schema, at, within), nth)
        if "allOf" in schema:
            rest = _without(schema, "allOf")
            for part in schema["allOf"]:
                whole, at, within = self._followed(part, at, within)
                rest = _both(rest, whole, at)
            return self.value(rest, at, within, nth)
        for word in ("anyOf", "oneOf"):
            if word in schema:
                rest = _without(schema, word)
                return self._first([_both(rest, branch, at) for branch in schema[word]], at, within, nth)
        return self._plain(schema, at, within, nth)

    def _followed(self, schema: Schema | bool, at: str, within: frozenset[str]) -> tuple[Any, str, frozenset[str]]:
        while isinstance(schema, dict) and "$ref" in schema:
            reference = schema["$ref"]
            if reference in within:
                raise Unsampled(f"{reference} at {at} holds itself without end")
            within |= {reference}
            schema = _both(_without(schema, "$ref"), self._target(reference, at), at)
        return schema, at, within

    def _target(self, reference: str, at: str) -> Any:
        if not reference.startswith("#"):
            raise Unsampled(f"the reference {reference} at {at} leads out of the schema")
        target: Any = self._root
        for step in reference.split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(target, dict) or key not in target:
                raise Unsampled(f"the reference {reference} at {at} leads nowhere")
            target = target[key]
        return target

    def _first(self, schemas: list[Any], at: str, within: frozenset[str], nth: int) -> Any:
        reasons = []
        for schema in schemas:
            try:
                return self.value(schema, at, within, nth)
            except Unsampled as reason:
                reasons.append(str(reason))
        raise Unsampled("; ".join(dict.fromkeys(reasons)) or f"nothing is allowed at {at}")

    def _plain(self, schema: Schema, at: str, within: frozenset[str], nth: int) -> Any:
        for word in _BEYOND:
            if word in schema:
                raise Unsampled(f"{word!r} at {at} is beyond it")
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else schema["enum"]
            if nth < len(values):
                return values[nth]
            raise Unsampled(f"there are no {nth + 1} values at {at}")
        kind = schema.get("type") or next(
            (kind for kind, words in _MARKS.items() if not schema.keys().isdisjoint(words)), "string"
        )
        if isinstance(kind, list):
            return self._first([{**schema, "type": one} for one in kind], at, within, nth)
        if kind == "object":
            return self._object(schema, at, within, nth)
        if kind == "array":
            return self._array(schema, at, within, nth)
        if kind in _SCALARS:
            return _SCALARS[kind](schema, at, nth)
        raise Unsampled(f"{kind!r} at {at} is no type")

    def _object(self, schema: Schema, at: str, within: frozenset[str], nth: int) -> Schema:
        properties = schema.get("properties", {})
        required = dict.fromkeys(schema.get("required", ()))
        optional = [key for key in properties if key not in required]
        missing = max(0, schema.get("minProperties", 0) - len(required))
        if missing > len(optional):
            raise Unsampled(f"'minProperties' at {at} is beyond it")
        wanted = {*required, *optional[:missing]}
        others = schema.get("additionalProperties", True)
        names = [*(key for key in properties if key in wanted), *(key for key in required if key not in properties)]
        made: Schema = {}
        for key in names:
            made[key] = self.value(properties.get(key, others), f"{at}.{key}", within, 0 if made else nth)
        if nth and not made:
            raise Unsampled(f"there is only one object at {at}")
        return made

    def _array(self, schema: Schema, at: str, within: frozenset[str], nth: int) -> list[Any]:
        size = schema.get("minItems", 0) + nth
        if size > min(schema.get("maxItems", size), _MOST_VALUES):
            raise Unsampled(f"the list at {at} cannot have {size} items")
        first = schema.get("prefixItems", [])
        items: list[Any] = []
        for place in range(size):
            item = first[place] if place < len(first) else schema.get("items", True)
            items.append(self.value(item, f"{at}[{place}]", within, place if schema.get("uniqueItems") else 0))
        return items


def _without(schema: Schema, word: str) -> Schema:
    return {key: value for key, value in schema.items() if key != word}


def _both(schema: Schema, other: Schema | bool, at: str) -> Schema | Any:
    """Return one schema that asks for what both ask for."""
    if isinstance(other, bool):
        return schema if other else False
    both = {**schema, **other}
    for key in schema.keys() & other.keys():
        both[key] = _agreed(key, schema[key], other[key], at)
    return both


def _agreed(key: str, one: Any, other: Any, at: str) -> Any:
    if one == other or key in _REMARKS:
        return other
    if key == "properties":
        common = {name: _both(one[name], other[name], at) for name in one.keys() & other.keys()}
        return {**one, **other, **common}
    if key in ("required", "allOf"):
        return [*one, *other]
    if key == "enum":
        return [value for value in other if value in one]
    if key == "type" and {str(one), str(other)} == {"integer", "number"}:
        return "integer"
    if key in _LOWER_BOUNDS:
        return max(one, other)
    if key in _UPPER_BOUNDS:
        return min(one, other)
    raise Unsampled(f"two different {key!r} at {at} are beyond it")


def _string(schema: Schema, at: str, nth: int) -> str:
    text = _FORMATS.get(schema.get("format", ""), "")
    if nth:
        if text:
            raise Unsampled(f"more than one {schema['format']} at {at} is beyond it")
        text = str(nth)
    if schema.get("minLength", 0) > _LONGEST:
        raise Unsampled(f"the text at {at} would be too long")
    text = text.ljust(schema.get("minLength", 0), "a")
    if len(text) > schema.get("maxLength", len(text)):
        raise Unsampled(f"the text at {at} cannot be that short")
    return _matched(text, schema["pattern"], at) if "pattern" in schema else text


def _matched(text: str, pattern: str, at: str) -> str:
    length = max(1, len(text))
    for tried in (text, "a" * length, "A" * length, "0" * length):
        if len(tried) <= _LONGEST_MATCHED and re.search(pattern, tried):
            return tried
    raise Unsampled(f"the pattern at {at} is beyond it")


def _integer(schema: Schema, at: str, nth: int) -> int:
    step = schema.get("multipleOf", 1)
    if step != int(step):
        raise Unsampled(f"'multipleOf' at {at} is beyond it")
    step = int(step)
    low = max(_bound(schema, "minimum", math.ceil), _bound(schema, "exclusiveMinimum", lambda n: math.floor(n) + 1))
    high = min(_bound(schema, "maximum", math.floor), _bound(schema, "exclusiveMaximum", lambda n: math.ceil(n) - 1))
    start = 0
    if low > 0:
        start = -(-int(low) // step) * step
    elif high < 0:
        start = int(high) // step * step
    for value in (start + nth * step, start - nth * step):
        if low <= value <= high:
            return value
    raise Unsampled(f"no number fits between the bounds at {at}")


def _bound(schema: Schema, word: str, rounded: Any) -> float:
    if word not in schema:
        return math.inf if word in _UPPER_BOUNDS else -math.inf
    bound: int = rounded(schema[word])
    return bound


def _number(schema: Schema, at: str, nth: int) -> float:
    try:
        return _integer(schema, at, nth)
    except Unsampled:
        if "multipleOf" in schema:
            raise
    low = max(schema.get(word, -math.inf) for word in ("minimum", "exclusiveMinimum"))
    high = min(schema.get(word, math.inf) for word in ("maximum", "exclusiveMaximum"))
    value: float = low + (high - low) * (nth + 1) / (nth + 2)
    if low < value < high or value == schema.get("minimum") == schema.get("maximum"):
        return value
    raise Unsampled(f"no number fits between the bounds at {at}")


def _boolean(_: Schema, at: str, nth: int) -> bool:
    if nth > 1:
        raise Unsampled(f"there are only two values at {at}")
    return nth == 1


def _null(_: Schema, at: str, nth: int) -> None:
    if nth:
        raise Unsampled(f"there is only one value at {at}")


_SCALARS = {"string": _string, "integer": _integer, "number": _number, "boolean": _boolean, "null": _null}
