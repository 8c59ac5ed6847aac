"""Entries become chat messages, once; after that their bytes are kept and only ever joined (D7).

Pure. A chat message is rendered when its entries are written and stored beside them, so that the prompt of the next
turn begins with the exact bytes of this one. Rendering from entries alone happens for what a caller hands in and for
a group of calls that a branch was cut through.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

from causerie.types.base import encode
from causerie.types.content import (
    DocumentURLChunk,
    ImageURL,
    ImageURLChunk,
    OutputChunk,
    TextChunk,
    ThinkChunk,
    ToolFileChunk,
    ToolReferenceChunk,
)
from causerie.types.entries import (
    AgentHandoffEntry,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)
from causerie.types.tools import Function
from causerie.upstreams.base import ReasoningField

DENIED = "Not done: this call was not allowed. Do not make it again unless you are asked to."
"""What the model is told of a call that the caller denied."""


class Call(NamedTuple):
    """A tool call as the upstream knows it."""

    id: str
    name: str
    arguments: str


class Rendered(NamedTuple):
    """Chat messages without brackets, and how many entries, ending with the last, they stand for."""

    prompt: bytes
    covers: int


def render(entries: Sequence[Entry], upstream_ids: Mapping[str, str], settled: Collection[str] = ()) -> list[Rendered]:
    """Render entries group by group: an assistant's text and the calls beside it are one chat message.

    Args:
        entries: in order; together they are whole, nothing before or after belongs to their groups.
        upstream_ids: for each tool call id outwards, the id that the upstream gave it, where it differs.
        settled: the ids of calls that were allowed or denied elsewhere: no result follows them.
    """
    found, group = list[Rendered](), list[Entry]()
    for entry, following in zip_longest(entries, entries[1:]):
        if group and not _joins(group, entry):
            found.append(_assistant_group(group, upstream_ids, settled))
            group = []
        if group or isinstance(entry, (MessageOutputEntry, FunctionCallEntry)) or _answered(entry, following):
            group.append(entry)
        else:
            found.append(Rendered(_message(entry, upstream_ids), 1))
    if group:
        found.append(_assistant_group(group, upstream_ids, settled))
    return found


def assistant_message(
    content: str, calls: Sequence[Call] = (), *, reasoning: str = "", field: ReasoningField = "reasoning_content",
    signature: str | None = None,
) -> bytes:  # fmt: skip
    """Render what the model said in one turn, its reasoning in the field that it came in."""
    # Some servers refuse an assistant that says nothing, others two user messages in a row: a blank suits both.
    silent = not (content or calls or reasoning)
    message: dict[str, Any] = {"role": "assistant", "content": " " if silent else content}
    if reasoning and field == "content":
        thinking: dict[str, Any] = {"type": "thinking", "thinking": [{"type": "text", "text": reasoning}]}
        if signature is not None:
            thinking["signature"] = signature
        message["content"] = [thinking, *([{"type": "text", "text": content}] if content else [])]
    elif reasoning:
        message[field] = reasoning
    if calls:
        message["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": _object(call.arguments)}}
            for call in calls
        ]
    return encode(message)


def tool_message(upstream_id: str, output: str) -> bytes:
    """Render the result of a call."""
    return encode({"role": "tool", "tool_call_id": upstream_id, "content": output})


def prefix_message(text: str) -> bytes:
    """Render the beginning that the model's answer has to have; it is always last."""
    return encode({"role": "assistant", "content": text, "prefix": True})


def messages(instructions: str | None, prompt: Iterable[bytes], tail: Iterable[bytes] = ()) -> bytes:
    """Join everything into the JSON array that is sent: the system prompt first, then what only grows."""
    system = encode({"role": "system", "content": instructions}) if instructions else b""
    return b"[" + b",".join(part for part in (system, *prompt, *tail) if part) + b"]"


def function_tools(functions: Iterable[Function]) -> bytes | None:
    """Render the tools in canonical order, by name: the order is part of the model's prefix."""
    tools = [
        {"type": "function", "function": {"name": one.name, "description": one.description,
         "parameters": one.parameters, **({"strict": True} if one.strict else {})}}
        for one in sorted(functions, key=lambda one: one.name)
    ]  # fmt: skip
    return encode(tools) if tools else None


def text_of(content: str | Sequence[OutputChunk]) -> str:
    """The text of a message; citations, files and images are named, thoughts left out."""
    if isinstance(content, str):
        return content
    return "".join(_text(chunk) for chunk in content)


def _answered(entry: Entry, following: Entry | None) -> bool:
    """Whether `entry` is a prefix whose answer follows: that begins with it, so it is not said twice."""
    prefix = isinstance(entry, MessageInputEntry) and entry.prefix
    return prefix and isinstance(following, MessageOutputEntry)


def _joins(group: Sequence[Entry], entry: Entry) -> bool:
    if isinstance(entry, FunctionCallEntry):
        return True
    if isinstance(group[-1], MessageInputEntry):
        return True  # the answer to a prefix
    # Between a call and its result no other message can stand: what comes there belongs to the calls' own turn.
    turn = (MessageOutputEntry, ToolExecutionEntry, AgentHandoffEntry)
    return isinstance(entry, turn) and any(isinstance(one, FunctionCallEntry) for one in group)


def _assistant_group(group: Sequence[Entry], ids: Mapping[str, str], settled: Collection[str]) -> Rendered:
    text, reasoning, signature = "", "", None
    calls, outputs = list[Call](), list[bytes]()
    for entry in group:
        if isinstance(entry, FunctionCallEntry):
            if entry.id in settled and entry.confirmation_status == "allowed":
                continue  # what was done with it is told by the execution that follows
            calls.append(_called(entry, ids))
            outputs += [tool_message(calls[-1].id, DENIED)] if entry.id in settled else []
        elif isinstance(entry, ToolExecutionEntry):
            calls.append(_executed(entry))
            outputs.append(tool_message(calls[-1].id, _output(entry)))
        elif isinstance(entry, AgentHandoffEntry):
            text += _handover(entry)
        elif isinstance(entry, MessageOutputEntry):
            text += text_of(entry.content)
            reasoning += _reasoning(entry.content)
            signature = _signature(entry.content) or signature
    said = assistant_message(text, calls, reasoning=reasoning, signature=signature)
    return Rendered(b",".join([said, *outputs]), len(group))


def _message(entry: Entry, ids: Mapping[str, str]) -> bytes:
    if isinstance(entry, MessageInputEntry):
        if entry.role == "assistant":
            return assistant_message(text_of(entry.content), reasoning=_reasoning(entry.content))
        return encode({"role": "user", "content": _user_content(entry.content)})
    if isinstance(entry, FunctionResultEntry):
        return tool_message(ids.get(entry.tool_call_id, entry.tool_call_id), entry.result)
    if isinstance(entry, ToolExecutionEntry):
        call = _executed(entry)
        return assistant_message("", [call]) + b"," + tool_message(call.id, _output(entry))
    if isinstance(entry, AgentHandoffEntry):
        return assistant_message(_handover(entry))
    raise TypeError(f"{type(entry).__name__} is rendered with its group")


def _called(entry: FunctionCallEntry, ids: Mapping[str, str]) -> Call:
    arguments = entry.arguments if isinstance(entry.arguments, str) else encode(entry.arguments).decode()
    return Call(ids.get(entry.tool_call_id, entry.tool_call_id), entry.name, arguments)


def _executed(entry: ToolExecutionEntry) -> Call:
    # Only foreign histories come this way: what our own tools returned was rendered when they ran.
    return Call(f"exec{str(entry.id)[-5:]}", str(entry.function or entry.name), entry.arguments or "{}")


def _handover(entry: AgentHandoffEntry) -> str:
    return f"[{entry.previous_agent_name} handed over to {entry.next_agent_name}.]"


def _object(arguments: str) -> str:
    """Arguments as every server can read them: they parse those of past calls, and a call may have been cut short."""
    try:
        readable = isinstance(json.loads(arguments or "{}"), dict)
    except (ValueError, RecursionError):
        readable = False
    return (arguments or "{}") if readable else encode({"arguments": arguments}).decode()


def _user_content(content: str | Sequence[OutputChunk]) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if all(isinstance(chunk, TextChunk) for chunk in content):
        return text_of(content)
    return [
        _image(chunk) if isinstance(chunk, ImageURLChunk) else {"type": "text", "text": _text(chunk)}
        for chunk in content
        if not isinstance(chunk, ThinkChunk)
    ]


def _image(chunk: ImageURLChunk) -> dict[str, Any]:
    image: dict[str, Any] = {"url": chunk.url}
    if isinstance(chunk.image_url, ImageURL) and chunk.image_url.detail:
        image["detail"] = chunk.image_url.detail
    return {"type": "image_url", "image_url": image}


def _text(chunk: OutputChunk) -> str:
    if isinstance(chunk, TextChunk):
        return chunk.text
    if isinstance(chunk, ToolReferenceChunk):
        return f"[{chunk.title}]({chunk.url})" if chunk.url else f"[{chunk.title}]"
    if isinstance(chunk, ToolFileChunk):
        return f"[{chunk.file_name or chunk.file_id}]"
    if isinstance(chunk, DocumentURLChunk):
        return f"[{chunk.document_name or chunk.document_url}]"
    return "[image]" if isinstance(chunk, ImageURLChunk) else ""


def _reasoning(content: str | Sequence[OutputChunk]) -> str:
    if isinstance(content, str):
        return ""
    thoughts = (chunk.thinking for chunk in content if isinstance(chunk, ThinkChunk))
    return "".join(part.text for thought in thoughts for part in thought if isinstance(part, TextChunk))


def _signature(content: str | Sequence[OutputChunk]) -> str | None:
    if isinstance(content, str):
        return None
    signed = [
        chunk.signature for chunk in content if isinstance(chunk, ThinkChunk) and isinstance(chunk.signature, str)
    ]
    return signed[-1] if signed else None


def _output(entry: ToolExecutionEntry) -> str:
    info = entry.info
    if not info:
        return "(The result was not kept.)"
    result = info.get("result")
    if isinstance(result, list):
        return "".join(str(chunk.get("text", "")) for chunk in result if isinstance(chunk, dict))
    return encode(info).decode()
