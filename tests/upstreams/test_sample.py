"""The smallest instance of a schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from causerie.upstreams.sample import Unsampled, sample

NODE = {
    "$defs": {
        "Node": {
            "type": "object",
            "required": ["v", "next"],
            "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]}},
        }
    },
    "$ref": "#/$defs/Node",
}
LOOP = {
    "$defs": {"Node": {"properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]}},
    "$ref": "#/$defs/Node",
}
WIDE: dict[str, Any] = {"$ref": "#/$defs/0", "$defs": {"30": {"type": "integer"}}}
for level in range(30):
    both = {"$ref": f"#/$defs/{level + 1}"}
    WIDE["$defs"][str(level)] = {"type": "object", "properties": {"a": both, "b": both}, "required": ["a", "b"]}


@pytest.mark.parametrize(
    ("schema", "instance"),
    [
        ({}, ""),
        ({"type": "string"}, ""),
        ({"type": "string", "minLength": 3, "maxLength": 3}, "aaa"),
        ({"type": "string", "pattern": "^[A-Z]{2}$", "minLength": 2}, "AA"),
        ({"type": "string", "format": "date-time"}, "2026-01-01T00:00:00Z"),
        ({"type": "string", "format": "email"}, "user@example.com"),
        ({"type": "string", "format": "uuid"}, "00000000-0000-4000-8000-000000000000"),
        ({"type": "string", "format": "our-own"}, ""),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 3}, 3),
        ({"type": "integer", "exclusiveMinimum": 3}, 4),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "exclusiveMaximum": -3}, -4),
        ({"type": "integer", "minimum": 4, "multipleOf": 5}, 5),
        ({"type": "integer", "maximum": -4, "multipleOf": 5}, -5),
        ({"type": "number", "minimum": 1.5}, 2),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "number", "minimum": 0.5, "maximum": 0.5}, 0.5),
        ({"minimum": 2}, 2),
        ({"type": "boolean"}, False),
        ({"type": "null"}, None),
        ({"type": ["string", "null"]}, ""),
        ({"type": ["null", "string"]}, None),
        ({"enum": ["c", "f"]}, "c"),
        ({"const": {"x": 1}}, {"x": 1}),
        ({"anyOf": [{"type": "integer", "minimum": 3, "maximum": 2}, {"const": "z"}]}, "z"),
        ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, 0),
        ({"type": "array", "items": {"type": "integer"}}, []),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 2}, [0, 0]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [0, 1, 2]),
        ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "uniqueItems": True}, ["a", "b"]),
        ({"prefixItems": [{"const": 1}], "items": {"const": 2}, "minItems": 3}, [1, 2, 2]),
        ({"type": "object"}, {}),
        ({"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["b"]}, {"b": ""}),
        ({"properties": {"a": {"const": 1}, "b": {"const": 2}}, "minProperties": 1}, {"a": 1}),
        ({"required": ["x"], "additionalProperties": {"type": "integer"}}, {"x": 0}),
        ({"properties": {"a": {"const": 1}}, "required": ["b", "a"]}, {"a": 1, "b": ""}),
        (NODE, {"v": 0, "next": None}),
        ({"$ref": "#/definitions/a~1b", "definitions": {"a/b": {"const": 1}}}, 1),
        (
            {
                "$defs": {"A": {"type": "integer", "title": "A"}},
                "properties": {"a": {"$ref": "#/$defs/A", "title": "Mine", "minimum": 2}},
                "required": ["a"],
            },
            {"a": 2},
        ),
        (
            {
                "allOf": [{"$ref": "#/$defs/A"}, {"properties": {"b": {}, "a": {"maximum": 5}}, "required": ["b"]}],
                "$defs": {"A": {"properties": {"a": {"type": "number", "minimum": 1}}, "required": ["a"]}},
            },
            {"a": 1, "b": ""},
        ),
        ({"allOf": [{"minimum": 1, "type": "number"}, {"minimum": 4, "type": "integer"}]}, 4),
        ({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, 2),
        ({"items": True, "minItems": 1}, [""]),
    ],
)
def test_the_smallest_instance_is_made(schema: dict[str, Any], instance: Any) -> None:
    made = sample(schema)
    assert json.dumps(made) == json.dumps(instance)
    assert sample(schema) == made


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (LOOP, r"\$defs/Node at \$.next holds itself without end"),
        (WIDE, "too many values"),
        ({"type": "array", "minItems": 10**9}, "cannot have 1000000000 items"),
        ({"type": "string", "minLength": 10**9}, "too long"),
        ({"type": "string", "format": "date", "maxLength": 3}, "cannot be that short"),
        ({"type": "string", "pattern": "(a+)+b", "minLength": 40}, "the pattern at"),
        ({"type": "string", "pattern": "("}, "no JSON Schema"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "between the bounds"),
        ({"type": "number", "exclusiveMinimum": 1, "exclusiveMaximum": 1}, "between the bounds"),
        ({"type": "array", "items": {"type": "null"}, "minItems": 2, "uniqueItems": True}, "only one value"),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 3, "uniqueItems": True}, "only two values"),
        ({"type": "array", "items": {"enum": [1]}, "minItems": 2, "uniqueItems": True}, "no 2 values"),
        ({"type": "array", "items": {"type": "object"}, "minItems": 2, "uniqueItems": True}, "only one object"),
        ({"type": "object", "minProperties": 1}, "'minProperties'"),
        ({"required": ["x"], "additionalProperties": False}, r"nothing is allowed at \$.x"),
        ({"not": {}}, "'not'"),
        ({"type": "text"}, "'text' at"),
        ({"$ref": "https://example.com/schema"}, "leads out"),
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ({"anyOf": []}, "nothing is allowed"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "two different 'type'"),
        ({"minLength": "x"}, "no JSON Schema"),
        ({"type": "object", "required": [["x"]]}, "no JSON Schema"),
        ({"$ref": 7}, "no JSON Schema"),
    ],
)
def test_what_cannot_be_made_up_is_said(schema: dict[str, Any], why: str) -> None:
    with pytest.raises(Unsampled, match=why):
        sample(schema)
