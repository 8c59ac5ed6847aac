"""The model server of chaos: it answers what the question says, and sees that every prompt is a valid chat."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from tests.support.replies import Reasoning, Reply, Step, Text, call, delta_of, message_of

from .asking import SERVED, Question, Turn, result_of
from .book import Book
from .timing import elapse

_UNKNOWN = "outcome of this call is unknown"


class Model:
    """Answers chat completions over HTTP; its only memory is which failures it has played."""

    def __init__(self, book: Book) -> None:
        """Note what is wrong, and how far each operation is, in `book`."""
        self.url = ""
        self._book = book
        self._failed: set[tuple[str, int]] = set()
        self._unknown: set[str] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[None]:
        """Listen on a free port of loopback for as long as the block lasts."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            self.url = f"http://{host}:{port}/v1"
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.read())
        self._book.count("questions to the model")
        problem, question, number = _read(asked["messages"])
        if problem or question is None:
            self._book.blame("invalid", f"the model was sent {problem}: {asked['messages']}")
            return web.json_response({"error": {"message": f"chaos: {problem}"}}, status=400)
        self._note_results(asked["messages"])
        turn = question.turns[number] if number < len(question.turns) else Turn(say=1)
        self._book.moved(question.tag, "asked")
        await elapse(turn.pace / 1000)
        if turn.fail and (question.tag, number) not in self._failed:
            self._failed.add((question.tag, number))
            self._book.count("failures of the model")
            return web.json_response({"error": {"message": "chaos: the model fails once"}}, status=500)
        reply = Reply(tuple(_steps(question.tag, number, turn)))
        served_only = bool(turn.acts) and all(act.tool in SERVED for act in turn.acts)
        at_end = "called" if served_only else "answered"
        if asked.get("stream"):
            return await self._stream(request, reply, question.tag, turn.pace / 1000, at_end)
        await elapse(turn.pace * len(reply.steps) / 1000)
        self._book.moved(question.tag, at_end)
        return web.json_response({**_frame(reply, "chat.completion", message=message_of(reply)), "usage": _USAGE})

    async def _stream(
        self, request: web.Request, reply: Reply, tag: str, pace: float, at_end: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            for step in reply.steps:
                await _write(response, _frame(reply, "chat.completion.chunk", delta=delta_of(step), last=False))
                self._book.moved(tag, "answering")
                await elapse(pace)
            self._book.moved(tag, at_end)
            await _write(response, _frame(reply, "chat.completion.chunk", delta={}))
            await _write(response, {**_frame(reply, "chat.completion.chunk"), "choices": [], "usage": _USAGE})
            await response.write(b"data: [DONE]\n\n")
            await response.write_eof()
        except ConnectionError:
            self._book.count("answers that nobody heard to the end")
        return response

    def _note_results(self, messages: list[dict[str, Any]]) -> None:
        """Remember what the model was told of each call: that may not change any more."""
        calls = {call["id"]: call["function"] for one in messages for call in one.get("tool_calls", ())}
        for message in messages:
            if message["role"] == "tool" and (function := calls[message["tool_call_id"]])["name"] in SERVED:
                call = json.loads(function["arguments"])["call"]
                if _UNKNOWN not in message["content"]:
                    self._book.shown.setdefault(call, time.monotonic())
                elif call in self._book.shown:
                    self._book.blame("effects", f"the result of {call} was recorded, then told as unknown")
                else:
                    self._unknown.add(call)
        self._book.counts["calls whose outcome was told as unknown"] = len(self._unknown)


_USAGE = {"prompt_tokens": 16, "completion_tokens": 3, "total_tokens": 19}


def _frame(reply: Reply, kind: str, *, last: bool = True, **said: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": reply.finish_reason if last else None, **said}
    return {"id": "cmpl-1", "object": kind, "created": 0, "model": "chaos", "choices": [choice]}


async def _write(response: web.StreamResponse, frame: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(frame).encode() + b"\n\n")


def _steps(tag: str, number: int, turn: Turn) -> list[Step]:
    steps: list[Step] = [Reasoning(f"{tag}/{number} thinks {piece}. ") for piece in range(turn.think)]
    steps += [Text(f"{tag}/{number} says {piece}. ") for piece in range(turn.say)]
    for index, act in enumerate(turn.acts):
        digest = hashlib.sha256(act.call.encode()).hexdigest()
        call_id = digest[:9] if turn.short else f"call_{digest[:24]}"
        steps += call(act.tool, msgspec.to_builtins(act), call_id=call_id, index=index)
    return steps


def wrong(messages: list[dict[str, Any]]) -> str:
    """Say why `messages` are no chat that a model could answer; empty if they are one."""
    return _read(messages)[0]


def _read(messages: list[dict[str, Any]]) -> tuple[str, Question | None, int]:
    """Check that this is a chat; return what is wrong with it, the question, and how many answers it has had."""
    try:
        return _question(messages)
    except (KeyError, ValueError) as error:
        return f"nonsense ({error!r})", None, 0


def _question(messages: list[dict[str, Any]]) -> tuple[str, Question | None, int]:
    question, number, tags = None, 0, set[str]()
    open_calls: dict[str, dict[str, str]] = {}
    for message in messages:
        role, content = message["role"], message.get("content")
        if open_calls and role != "tool":
            return f"a message of the {role} while {open_calls} are open", None, 0
        if role == "user":
            question, number = Question.read(content), 0
            if question.tag in tags:
                return f"the question {question.tag} twice", None, 0
            tags.add(question.tag)
        elif role == "tool":
            if problem := _wrong_result(open_calls.pop(message["tool_call_id"], None), content):
                return problem, None, 0
        else:
            number += 1
            if not (content or message.get("tool_calls")):
                return "an assistant that says nothing", None, 0
            open_calls = {one["id"]: one["function"] for one in message.get("tool_calls", ())}
    if question is None or open_calls or messages[-1]["role"] == "assistant":
        return f"nothing to answer, {open_calls or 'no calls'} open", None, 0
    return "", question, number


def _wrong_result(function: dict[str, str] | None, content: str) -> str:
    if function is None:
        return f"a result that follows no call: {content}"
    if _UNKNOWN in content and SERVED.get(function["name"]) is False:
        return ""
    if content != result_of(json.loads(function["arguments"])["call"]):
        return f"a wrong result for {function}: {content}"
    return ""
