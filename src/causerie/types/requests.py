"""What the eleven operations take (PROTOCOL §2), and how bytes become it. `on_disconnect` is ours.

Decoding refuses what the request alone shows to be wrong: malformed JSON, wrong types, unknown fields. Whether it
fits the conversation is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from causerie.errors import BadRequest, InvalidRequest

from .base import UNSET, Struct, UnsetType
from .completion import CompletionArgs, GuardrailConfig
from .entries import ConversationInputs
from .tools import Tool, ToolCallConfirmation

T = TypeVar("T")
HandoffExecution = Literal["client", "server"]
OnDisconnect = Literal["continue", "cancel"]
AgentVersion = str | int
Page = Annotated[int, Meta(ge=0, le=1_000_000_000)]
PageSize = Annotated[int, Meta(ge=1, le=1000)]

MAX_DEPTH = 128
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*+"', re.DOTALL)
_TO_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_HALF_PAIR = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)
_PATH = re.compile(r" - at `\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<name>[^.\[]+)|\[(?P<index>\d+|\.\.\.)\]")
_FIELD = re.compile(r"field `(?P<name>[^`]*)`")


class StartRequest(Struct, kw_only=True):
    """start and start_stream."""

    inputs: ConversationInputs
    stream: bool | None = None
    store: bool | None = None
    handoff_execution: HandoffExecution | None = None
    instructions: str | None = None
    tools: list[Tool] | None = None
    completion_args: CompletionArgs | None = None
    guardrails: list[GuardrailConfig] | None = None
    name: str | None = None
    description: str | None = None
    metadata: dict[str, Any] | None = None
    agent_id: str | None = None
    agent_version: AgentVersion | None = None
    model: str | None = None
    on_disconnect: OnDisconnect | None = None


class AppendRequest(Struct, kw_only=True):
    """append and append_stream. Tools, instructions and the like are the conversation's and are not repeated."""

    inputs: ConversationInputs | None = None
    stream: bool | None = None
    store: bool | None = None
    handoff_execution: HandoffExecution | None = None
    completion_args: CompletionArgs | None = None
    tool_confirmations: list[ToolCallConfirmation] | None = None
    on_disconnect: OnDisconnect | None = None


class RestartRequest(Struct, kw_only=True):
    """restart and restart_stream. An absent `metadata` is inherited, null is none (O6)."""

    from_entry_id: str
    inputs: ConversationInputs | None = None
    stream: bool | None = None
    store: bool | None = None
    handoff_execution: HandoffExecution | None = None
    completion_args: CompletionArgs | None = None
    guardrails: list[GuardrailConfig] | None | UnsetType = UNSET
    metadata: dict[str, Any] | None | UnsetType = UNSET
    agent_version: AgentVersion | None | UnsetType = UNSET
    on_disconnect: OnDisconnect | None = None


RunRequest = StartRequest | AppendRequest | RestartRequest


class ListRequest(Struct, kw_only=True):
    """list: a page of conversations, newest first, whose metadata has every pair of `metadata`."""

    page: Page = 0
    page_size: PageSize = 100
    metadata: dict[str, Any] | None = None


class FollowRequest(Struct, kw_only=True):
    """follow_run: the id of the last event that is known, where no ``Last-Event-ID`` says so; an empty one is none."""

    after: str | None = None


class Nothing(Struct, kw_only=True):
    """What a request carries that takes nothing: a body that is absent or empty, a query without parameters."""


def decode_request(data: bytes, kind: type[T]) -> T:
    """Decode a request body.

    Raises:
        BadRequest: it is not JSON, or not JSON that can be stored.
        InvalidRequest: a field is missing, unknown or of the wrong type; its `loc` says which.
    """
    if too_deep(data):
        raise BadRequest(f"The request body is nested more than {MAX_DEPTH} levels deep. Flatten it and try again.")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        plain = _plain(data)
        if not _infer_types(plain):
            raise invalid(error, plain) from None
        return _convert(plain, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error, data) from None


def too_deep(data: bytes) -> bool:
    """Whether JSON is nested deeper than anything is taken; every step is one pass at the speed of C."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return False
    brackets = _STRING.sub(b"", data).translate(_TO_SQUARE, _NO_BRACKETS)
    if b"[" * (MAX_DEPTH + 1) in brackets:
        return True
    for _ in range(MAX_DEPTH + 1):  # each pass takes away what is innermost
        outer = brackets.replace(b"[]", b"")
        if len(outer) == len(brackets):
            return False
        brackets = outer
    return True


def decode_query(given: Mapping[str, Any], kind: type[T]) -> T:
    """Make a request of query parameters; numbers and the like may come as text.

    Raises:
        InvalidRequest: a parameter is missing, unknown or wrong; its `loc` says which.
    """
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, given, root="query") from None


def invalid(error: msgspec.ValidationError, plain: Any = None, root: str = "body") -> InvalidRequest:
    """Turn msgspec's message into a refusal that points at the field (PROTOCOL §9: 422, `loc`)."""
    text = str(error)
    path = _PATH.search(text)
    loc: list[str | int] = [root]
    for step in _STEP.finditer(path["path"] if path else ""):
        index = step["index"]
        loc.append(int(index) if index and index.isdigit() else step["name"] or index)
    text = _PATH.sub("", text)
    kind, field = "value_error", _FIELD.search(text)
    if field and "unknown field" in text:
        kind, text = "extra_forbidden", f"Extra inputs are not permitted: there is no field '{field['name']}' here"
    elif field and "missing required field" in text:
        kind, text = "missing", f"Field required: '{field['name']}'"
    if kind != "value_error" and field:
        loc.append(field["name"])
    return InvalidRequest(text, loc=tuple(loc), kind=kind, given=_at(plain, loc[1:]))


def _convert(plain: Any, kind: type[T]) -> T:
    try:
        return msgspec.convert(plain, type=kind)
    except msgspec.ValidationError as error:
        raise invalid(error, plain) from None


def _plain(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(error, data) from None


def _malformed(error: Exception, data: bytes) -> BadRequest:
    if isinstance(error, RecursionError):
        return BadRequest(f"The request body is nested more than {MAX_DEPTH} levels deep. Flatten it and try again.")
    if isinstance(error, UnicodeDecodeError):
        return BadRequest("The request body is not valid UTF-8.")
    if _HALF_PAIR.search(data):
        return BadRequest(
            "The request body holds half of a surrogate pair (\\ud800 to \\udfff), which is no character. "
            "Send the whole pair, or the character itself in UTF-8."
        )
    return BadRequest(f"The request body is not JSON that can be read: {error}.")


def _at(plain: Any, path: list[str | int]) -> Any:
    for step in path:
        try:
            plain = plain[step]
        except (KeyError, IndexError, TypeError):
            return None
    return plain if isinstance(plain, (str, int, float, bool)) else None


# An entry, chunk or tool may come without `type` where its shape is plain (PROTOCOL §3, §4): the first row whose
# keys are all there decides.
_ENTRY_SHAPES = (
    ({"role", "content", "model"}, "message.output"),
    ({"role", "content", "agent_id"}, "message.output"),
    ({"role"}, "message.input"),
    ({"tool_call_id", "result"}, "function.result"),
    ({"tool_call_id", "name"}, "function.call"),
    ({"previous_agent_id"}, "agent.handoff"),
    ({"name", "arguments"}, "tool.execution"),
)
_CHUNK_SHAPES = (
    ({"text"}, "text"),
    ({"image_url"}, "image_url"),
    ({"document_url"}, "document_url"),
    ({"tool", "file_id"}, "tool_file"),
    ({"thinking"}, "thinking"),
    ({"tool", "title"}, "tool_reference"),
    ({"reference_ids"}, "reference"),
)
_TOOL_SHAPES = (({"function"}, "function"), ({"connector_id"}, "connector"), ({"library_ids"}, "document_library"))


def _infer_types(plain: Any) -> bool:
    """Write the missing `type` into what has the shape of one kind; say whether anything was written."""
    if not isinstance(plain, dict):
        return False
    changed = [_name(tool, _TOOL_SHAPES) for tool in _items(plain.get("tools"))]
    for entry in _items(plain.get("inputs")):
        changed.append(_name(entry, _ENTRY_SHAPES))
        for chunk in _items(entry.get("content")):
            changed.append(_name(chunk, _CHUNK_SHAPES))
            changed.extend(_name(inner, _CHUNK_SHAPES) for inner in _items(chunk.get("thinking")))
    return any(changed)


def _items(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _name(thing: dict[str, Any], shapes: tuple[tuple[set[str], str], ...]) -> bool:
    if "type" in thing:
        return False
    for keys, kind in shapes:
        if keys <= thing.keys():
            thing["type"] = kind
            return True
    return False
