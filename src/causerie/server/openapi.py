"""The OpenAPI document of this server, generated from the types and the table of operations."""

from __future__ import annotations

import re
from typing import Any, get_args, get_origin

import msgspec

from causerie.types.events import Event
from causerie.types.operations import BY_KEY, Operation

_REF = "#/components/schemas/{name}"
_ERRORS = {
    "400": "The request does not fit the conversation, or the model refused it.",
    "404": "There is no such conversation or agent.",
    "409": "The conversation is running already.",
    "413": "The body is too large.",
    "415": "The body is not sent as JSON.",
    "422": "A field is missing, unknown or wrong; `detail` says which.",
    "429": "The model server asks for patience; see `Retry-After`.",
    "502": "The model server failed.",
    "503": "The model server or the store cannot be reached.",
    "504": "The model server, or the whole run, took too long.",
}


def document(version: str) -> dict[str, Any]:
    """Return the document as plain data."""
    kinds = [
        struct
        for one in BY_KEY.values()
        for kind in (None if one.in_query else one.request, one.response)
        for struct in _structs(kind)
    ]
    _, components = msgspec.json.schema_components([*dict.fromkeys(kinds), Event], ref_template=_REF)
    components["Error"] = _error_schema()
    components["ConversationEvents"] = _frame_schema()
    paths: dict[str, dict[str, Any]] = {}
    for one in BY_KEY.values():
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    paths["/health"] = {"get": _plain("health", "Whether the server can serve.", {"type": "object"})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Causerie",
            "version": version,
            "summary": "The Conversations API on your own machine.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _structs(kind: Any) -> list[Any]:
    """The structs that a type of the table is made of: one, a union of some, or a list of those."""
    if kind is None:
        return []
    return [struct for part in get_args(kind) for struct in _structs(part)] if get_args(kind) else [kind]


def _schema(kind: Any) -> dict[str, Any]:
    if get_origin(kind) is list:
        return {"type": "array", "items": _schema(get_args(kind)[0])}
    references = [{"$ref": _REF.format(name=struct.__name__)} for struct in _structs(kind)]
    return references[0] if len(references) == 1 else {"anyOf": references}


def _operation(one: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.names[0], "tags": [one.group], "summary": one.summary, "responses": _responses(one),
    }  # fmt: skip
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", one.path)
    ]
    if one.in_query:
        parameters += _query(one.request)
    elif one.request is not None:
        body = {"application/json": {"schema": _schema(one.request)}}
        described["requestBody"] = {"required": True, "content": body}
    if one.stream:
        described["x-stream-operation-id"] = one.stream
    return described | ({"parameters": parameters} if parameters else {})


def _responses(one: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if one.response is not None:
        content["application/json"] = {"schema": _schema(one.response)}
    if one.stream:
        content["text/event-stream"] = {"schema": {"$ref": _REF.format(name="ConversationEvents")}}
    success = {"description": one.summary} | ({"content": content} if content else {})
    error = {"application/json": {"schema": {"$ref": _REF.format(name="Error")}}}
    relevant = _ERRORS if one.stream else {code: _ERRORS[code] for code in ("404", "422", "503")}
    return {str(one.status): success} | {
        code: {"description": text, "content": error} for code, text in relevant.items()
    }


def _query(kind: Any) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([kind], ref_template=_REF)
    described = components[kind.__name__]
    found = []
    for name, schema in described["properties"].items():
        required = {"required": True} if name in described["required"] else {}
        # Metadata is JSON in one parameter (PROTOCOL §2.7).
        said = {"content": {"application/json": {"schema": schema}}} if name == "metadata" else {"schema": schema}
        found.append({"name": name, "in": "query", **required, **said})
    return found


def _plain(name: str, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"operationId": name, "summary": summary, "responses": {"200": {"description": summary, "content": content}}}


def _frame_schema() -> dict[str, Any]:
    """One frame of a stream: what stands in its event line, and its data line parsed."""
    data = [{"$ref": _REF.format(name=kind.__name__)} for kind in get_args(Event)]
    return {
        "type": "object",
        "required": ["event", "data"],
        "properties": {"event": {"type": "string"}, "data": {"anyOf": data}},
    }


def _error_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["object", "message", "type", "code"],
        "properties": {
            "object": {"const": "Error"},
            "message": {"type": "string"},
            "type": {"type": "string"},
            "code": {"type": "integer"},
            "detail": {"type": "array", "items": {"type": "object"}, "description": "With a 422 only."},
        },
    }
