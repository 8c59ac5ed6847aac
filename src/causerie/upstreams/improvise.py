"""What the rehearsal model says when no script tells it what to say: an echo that shows what reached the model.

Pure. Its commands (``/call``, ``/think``, ``/error``, ``/help``) make every path of an application reachable from a
chat window.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from causerie.errors import BadRequest
from causerie.types.base import UNSET, encode
from causerie.types.completion import ResponseFormat

from .base import ModelRequest
from .reply import Call, Failure, Reply
from .sample import Unsampled, sample
from .scene import Scene
from .trouble import REFUSED_PROMPT

HELP = """This is the rehearsal model, a stand-in for a real one. It says back what it is told, and knows:
/call NAME {"argument": 1}   call a function; several in one message are called together
/think TEXT   reason first, then answer
/error STATUS MESSAGE   fail as a model server would
/help   this text"""

_RATE_LIMITED = 429
_CALL = re.compile(r"/call\s+([^\s{]+)\s*")
_ERROR = re.compile(r"/error\s+([45][0-9]{2})\b\s*(.*)", re.DOTALL)
_json = json.JSONDecoder()


class _Function(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Tool(msgspec.Struct):
    function: _Function


def improvised(scene: Scene, request: ModelRequest) -> Reply:
    """Return the answer to this moment.

    Raises:
        BadRequest: an instance of a schema was asked for that cannot be made up.
    """
    if scene.results:
        told = "\n".join(f"{result.name or 'A function'} returned: {result.output}" for result in scene.results)
        return _answer(scene, request, told)
    said = scene.user.strip()
    if said.startswith("/error"):
        found = _ERROR.fullmatch(said)
        if found:
            status = int(found[1])
            patience = 1 if status == _RATE_LIMITED else None
            return Reply(failure=Failure(status, found[2] or "an error was rehearsed", patience))
        return _answer(scene, request, "Say which one, with a status from 400 to 599: /error 429 slow down")
    if said.startswith("/call"):
        return _called(said, scene, request)
    functions = _functions(request)
    if functions and request.args.tool_choice in ("any", "required"):
        first = next(iter(functions.values()))
        return Reply(calls=(Call(first.name, _arguments(first)),))
    if said.startswith("/think"):
        said = said.removeprefix("/think").strip()
        reply = _answer(scene, request, f"You said: {said}")
        return msgspec.structs.replace(reply, reasoning=f"Rehearsing a thought. The user wants me to consider: {said}")
    if said == "/help":
        return _answer(scene, request, HELP)
    return _answer(scene, request, f"You said: {scene.user}" if scene.turn else "Nobody has said anything yet.")


def _answer(scene: Scene, request: ModelRequest, told: str) -> Reply:
    wanted = request.args.response_format
    if wanted is not UNSET and wanted is not None and wanted.type != "text":
        return Reply(text=_instance(wanted, scene))
    seen = f" With it came {scene.images} image{'s' if scene.images > 1 else ''}." if scene.images else ""
    turns = f"{scene.turn} user turn{'' if scene.turn == 1 else 's'}"
    text = told if told is HELP else f"Rehearsal, a stand-in for a model, after {turns}. {told}{seen}"
    prefix = request.prefix or ""
    joint = " " if prefix and not prefix[-1].isspace() else ""
    return Reply(text=prefix + joint + text)


def _instance(wanted: ResponseFormat, scene: Scene) -> str:
    if wanted.type == "json_object" or not wanted.json_schema:
        return encode({"rehearsal": True, "turn": scene.turn, "user": scene.user}).decode()
    return _made_up(wanted.json_schema.schema, f"the schema {wanted.json_schema.name!r}")


def _made_up(schema: dict[str, Any], what: str) -> str:
    try:
        return encode(sample(schema)).decode()
    except Unsampled as reason:
        text = f"The rehearsal model cannot make up an instance of {what}: {reason}. Script one."
        raise BadRequest(text, code=REFUSED_PROMPT) from reason


def _called(said: str, scene: Scene, request: ModelRequest) -> Reply:
    functions = _functions(request)
    if request.args.tool_choice == "none":
        return _answer(scene, request, "Nothing was called, for tool_choice is none.")
    calls = []
    while found := _CALL.match(said):
        function = functions.get(found[1])
        if function is None:
            known = ", ".join(functions) or "none at all"
            return _answer(scene, request, f"There is no function {found[1]} to call; offered: {known}.")
        said = said[found.end() :]
        arguments = _arguments(function)
        if said.startswith("{"):
            try:
                _, end = _json.raw_decode(said)
            except (ValueError, RecursionError) as error:
                return _answer(scene, request, f"The arguments of {function.name} are no JSON: {error}.")
            arguments, said = said[:end], said[end:]
        calls.append(Call(function.name, arguments))
        said = said.lstrip()
    if not calls:
        return _answer(scene, request, 'Say which one: /call get_weather {"city": "Paris"}')
    return Reply(text=said, calls=tuple(calls))


def _functions(request: ModelRequest) -> dict[str, _Function]:
    tools = msgspec.json.decode(request.tools, type=list[_Tool]) if request.tools else []
    return {tool.function.name: tool.function for tool in tools}


def _arguments(function: _Function) -> str:
    return _made_up({"type": "object", **function.parameters}, f"the arguments of {function.name}")
