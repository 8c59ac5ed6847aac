"""What is sent to ``/chat/completions``: one request as bytes, in the dialect of the server that gets it.

Pure. The messages and tools are taken as they are: their bytes are the model's prefix cache key.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from causerie.types.base import UNSET, encode
from causerie.types.completion import CompletionArgs, ResponseFormat

from .base import ModelRequest

Dialect = Literal["openai", "mistral", "vllm"]

# `max` is vLLM's own word; the others stop at `xhigh`.
_HIGHEST_EFFORT = {"openai": "xhigh", "mistral": "xhigh", "vllm": "max"}


def request_body(request: ModelRequest, model: str, dialect: Dialect) -> bytes:
    """Return the JSON body that asks `model` for `request`."""
    rest = _arguments(request.args, dialect)
    choice = request.args.tool_choice
    if request.tools is not None and choice is not UNSET:
        # Servers refuse a choice among no tools.
        rest["tool_choice"] = _tool_choice(choice, dialect)
    if request.prefix is not None and dialect == "vllm":
        rest["continue_final_message"] = True
        rest["add_generation_prompt"] = False
    rest["stream"] = request.stream
    if request.stream and dialect != "mistral":
        # Mistral counts the tokens of a stream unasked, and refuses members that it does not know.
        rest["stream_options"] = {"include_usage": True}
    parts = [b'{"model":', encode(model), b',"messages":', request.messages]
    if request.tools is not None:
        parts += [b',"tools":', request.tools]
    return b"".join([*parts, b",", encode(rest)[1:]])


def _arguments(args: CompletionArgs, dialect: Dialect) -> dict[str, Any]:
    # The struct's own names are those of the API but for the seed; what is null is as good as absent.
    given = {name: value for name, value in msgspec.structs.asdict(args).items() if value is not UNSET}
    given.pop("tool_choice", None)
    seed = given.pop("random_seed", None)
    given["random_seed" if dialect == "mistral" else "seed"] = seed
    if given.get("reasoning_effort") == "max":
        given["reasoning_effort"] = _HIGHEST_EFFORT[dialect]
    if given.get("response_format") is not None:
        given["response_format"] = _response_format(given["response_format"])
    return {name: value for name, value in given.items() if value is not None}


def _response_format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.type == "text":
        return {"type": "text"}
    if wanted.type == "json_object" or not wanted.json_schema:
        return {"type": "json_object"}
    schema: dict[str, Any] = msgspec.to_builtins(wanted.json_schema)
    return {"type": "json_schema", "json_schema": {k: v for k, v in schema.items() if v is not None}}


def _tool_choice(choice: str, dialect: Dialect) -> str:
    # `any` and `required` mean the same; the first is Mistral's word, the second everybody else's.
    if choice in ("any", "required"):
        return "any" if dialect == "mistral" else "required"
    return choice
