"""Tools and a structured answer in one run: tools first, then one call that is held to the form of the answer.

Servers that enforce a form with a grammar never let the model call a tool while it is on. So the model is asked with
its tools and without the form; what it says when it calls nothing is a draft. A draft that has the form is the
answer. Any other is dropped before anybody has seen it, and the model is asked once more, now for the form.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import jsonschema_rs
import msgspec

from causerie.errors import BadRequest, InvalidRequest, UpstreamError
from causerie.types.base import UNSET, encode
from causerie.types.completion import CompletionArgs, ResponseFormat
from causerie.upstreams.base import CallDelta, Delta, FinishDelta, ModelRequest, TextDelta, Upstream, UsageDelta

from .prompt import assistant_message

Again = Callable[[UsageDelta | None], None]
"""Told what a call used that led to nothing; raises if the run may not make another."""

_REPAIR = (
    "That is not the answer that was asked for: {problem}. "
    "Answer again with JSON that fits the schema, and with nothing else."
)
_LONGEST = 500  # characters of what a message repeats of the answer
_MOST_PARTS = 2_000  # of a schema, as far as one says what in an answer does not fit
_OTHER_REFERENCES = ("$dynamicRef", "$recursiveRef")
# A pattern that needs more steps than this was not made to be matched.
_PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=100_000)


class Form:
    """The form that an answer has to have: a JSON object, or JSON that fits a schema."""

    def __init__(self, wanted: ResponseFormat) -> None:
        """Read the schema; nothing is fetched for it.

        Raises:
            InvalidRequest: it is no JSON Schema, or cannot be checked without fetching something.
        """
        schema = wanted.json_schema if wanted.type == "json_schema" else None
        self.name = f"the schema '{schema.name}'" if schema else "a JSON object"
        self._schema: dict[str, Any] = schema.schema if schema else {"type": "object"}
        try:
            self._validator = jsonschema_rs.validator_for(self._schema, offline=True, pattern_options=_PATTERNS)
        except (ValueError, jsonschema_rs.ReferencingError) as error:
            raise _refusal("This schema cannot be checked here, as it has to be beside tools", error) from None

    @classmethod
    def of(cls, args: CompletionArgs, tools: bytes | None) -> Form | None:
        """Return the form of an answer that tools stand in the way of; None where the upstream sees to it alone."""
        wanted = args.response_format
        if tools is None or args.tool_choice == "none" or wanted is UNSET or wanted is None or wanted.type == "text":
            return None
        return cls(wanted)

    def problem(self, text: str) -> str | None:
        """Say what keeps a text from having the form, if anything does."""
        try:
            plain = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            return "it is not JSON"
        try:
            if self._validator.is_valid(plain):
                return None
            explained = _can_be_explained(self._schema)
            error = next(iter(self._validator.iter_errors(plain)), None) if explained else None
        except ValueError as trouble:  # nested deeper than anybody meant
            return f"it cannot be checked ({trouble})"
        if error is None:
            return f"it does not fit {self.name}"
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
        told = error.message if len(error.message) <= _LONGEST else error.message[:_LONGEST] + "…"
        return f"{told} (at ${where})"


def check_form(args: CompletionArgs | None) -> None:
    """See that a schema is one, before anything comes to depend on it.

    Raises:
        InvalidRequest: it is no JSON Schema.
    """
    wanted = args.response_format if args is not None else None
    if not isinstance(wanted, ResponseFormat) or wanted.type != "json_schema" or not wanted.json_schema:
        return
    try:
        jsonschema_rs.meta.validate(wanted.json_schema.schema)
    except jsonschema_rs.ReferencingError:
        return  # written in a dialect that only the model server may know
    except ValueError as error:
        raise _refusal("This is no JSON Schema", error) from None


def _refusal(what: str, error: Exception) -> InvalidRequest:
    where = "/".join(map(str, getattr(error, "instance_path", ())))
    return InvalidRequest(
        f"{what}: {getattr(error, 'message', error)}" + (f" (at {where})." if where else "."),
        loc=("body", "completion_args", "response_format", "json_schema", "schema"),
    )


def asked(upstream: Upstream, request: ModelRequest, again: Again) -> AsyncGenerator[list[Delta], None]:
    """Ask the model, in several calls where tools and the form of the answer cannot share one.

    Raises:
        UpstreamError: the model gave no answer of that form, not even when it was told what was wrong.
        BadRequest: its answer was cut short.
        APIError: as the upstream and `again` raise it.
    """
    form = Form.of(request.args, request.tools)
    return upstream.stream(request) if form is None else _formed(upstream, request, form, again)


class _Held:
    """What a call of the model brought, as far as nobody may see it yet."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.called = False

    def add(self, batch: Iterable[Delta]) -> None:
        self.deltas += batch
        self.called = self.called or any(isinstance(delta, CallDelta) for delta in batch)

    def released(self) -> list[Delta]:
        deltas, self.deltas = self.deltas, []
        return deltas

    @property
    def answer(self) -> list[Delta]:
        """What was said; calls that were not to be made are left out."""
        return [delta for delta in self.deltas if not isinstance(delta, CallDelta)]

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas if isinstance(delta, TextDelta))

    @property
    def usage(self) -> UsageDelta | None:
        return next((delta for delta in reversed(self.deltas) if isinstance(delta, UsageDelta)), None)

    @property
    def cut(self) -> bool:
        return any(isinstance(delta, FinishDelta) and delta.reason == "length" for delta in self.deltas)


async def _formed(
    upstream: Upstream, request: ModelRequest, form: Form, again: Again
) -> AsyncGenerator[list[Delta], None]:
    draft = _Held()
    async with aclosing(upstream.stream(_free(request))) as deltas:
        async for batch in deltas:
            draft.add(batch)
            if draft.called:
                yield draft.released()
    if draft.called:
        return
    if form.problem(draft.text) is not None:
        again(draft.usage)
        draft = await _finished(upstream, request, form, again)
    yield draft.answer


async def _finished(upstream: Upstream, request: ModelRequest, form: Form, again: Again) -> _Held:
    """Ask for the form alone, and a second time if what comes does not have it."""
    answer, problem = _Held(), None
    try:
        answer = await _collected(upstream, _bound(request))
    except BadRequest:
        pass  # some servers take no form as long as there are tools at all, called or not
    else:
        problem = form.problem(answer.text)
        if problem is None:
            return answer
        _see_that_it_is_whole(answer, form)
    again(answer.usage)
    answer = await _collected(upstream, _repairing(request, answer.text, problem))
    problem = form.problem(answer.text)
    if problem is None:
        return answer
    _see_that_it_is_whole(answer, form)
    raise UpstreamError(
        f"The model's answer does not fit {form.name}, nor did its second attempt: {problem}. "
        "History is as it was before."
    )


def _can_be_explained(schema: dict[str, Any]) -> bool:
    """Whether a schema with every reference written out is not large, and does not hold itself.

    Whether an answer fits is found out once for each of its places; why not, once for each way to come there.
    """
    read, waiting = 0, list[tuple[Any, tuple[str, ...]]]([(schema, ())])
    while waiting:
        read += 1
        part, within = waiting.pop()
        if read > _MOST_PARTS:
            return False
        for key, one in part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ():
            if key == "$ref" and isinstance(one, str):
                meant = _referred(one, schema)
                if meant is None or one in within:
                    return False
                waiting.append((meant, (*within, one)))
            elif key in _OTHER_REFERENCES:
                return False
            else:
                waiting.append((one, within))
    return True


def _referred(reference: str, schema: dict[str, Any]) -> Any:
    """What a reference stands for, if it is found in the usual way."""
    found: Any = schema
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


def _see_that_it_is_whole(answer: _Held, form: Form) -> None:
    if answer.cut:
        raise BadRequest(
            f"The answer was cut short before it could fit {form.name}: give it more max_tokens, or a shorter prompt. "
            "History is as it was before."
        )


async def _collected(upstream: Upstream, request: ModelRequest) -> _Held:
    held = _Held()
    async with aclosing(upstream.stream(request)) as deltas:
        async for batch in deltas:
            held.add(batch)
    return held


def _free(request: ModelRequest) -> ModelRequest:
    return msgspec.structs.replace(request, args=msgspec.structs.replace(request.args, response_format=UNSET))


def _bound(request: ModelRequest) -> ModelRequest:
    # The tools stay: they stand at the head of the prompt, and without them no byte of it would be cached.
    return msgspec.structs.replace(request, args=msgspec.structs.replace(request.args, tool_choice="none"))


def _repairing(request: ModelRequest, said: str, problem: str | None) -> ModelRequest:
    """Without tools, for servers that let them be called all the same; told what was wrong, where anything was said.

    A prefix has to stay last: there the same is asked once more.
    """
    messages = request.messages
    if problem is not None and request.prefix is None:
        told = encode({"role": "user", "content": _REPAIR.format(problem=problem)})
        messages = b"%b,%b,%b]" % (messages[:-1], assistant_message(said), told)
    return msgspec.structs.replace(request, messages=messages, tools=None)
