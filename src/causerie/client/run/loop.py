"""The loop of a run: ask, make the calls that the model asks for, tell it what they came to, until it calls nothing.

A generator of steps; it does no I/O itself. What is decided about a call is decided here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from causerie.client.models import (
    CompletionArgs,
    ConversationEvents,
    Event,
    FunctionCallEntry,
    FunctionResultEntry,
    ResponseErrorEvent,
    ResponseStartedEvent,
    ToolCallConfirmation,
)
from causerie.errors import FunctionFailed, RunStopped, TooManyTurns, WrongOutput, from_response
from causerie.types.base import UNSET
from causerie.types.fold import collect

from .approval import Answer, Approve, Decision, Defer, Deny
from .functions import Function, Job, OnError, written
from .result import RunResult, open_calls
from .shapes import Misfit, Shape
from .steps import Ask, Course, Decide, Next, Open, Perform, Step, Steps

_EVENTS = get_args(Event)
_OF_A_START = (
    "model", "agent_id", "agent_version", "instructions", "guardrails", "name", "description", "metadata",
)  # fmt: skip
_OF_EVERY_REQUEST = ("retries", "server_url", "timeout_ms", "http_headers")
MOST_TURNS = 32
MOST_AT_ONCE = 8
SECONDS = 60.0


@dataclass(kw_only=True)
class Plan:
    """What a run was asked to do; the parameters are those of `Runs.run`."""

    inputs: Any = None
    conversation_id: str | None = None
    resume: RunResult[Any] | Mapping[str, Any] | None = None
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    functions: Iterable[Any] = ()
    output: Any = None
    tools: Any = UNSET
    completion_args: Any = UNSET
    model: Any = UNSET
    agent_id: Any = UNSET
    agent_version: Any = UNSET
    instructions: Any = UNSET
    guardrails: Any = UNSET
    name: Any = UNSET
    description: Any = UNSET
    metadata: Any = UNSET
    handoff_execution: Any = UNSET
    approve: Approve | None = None
    on_error: OnError = "tell"
    timeout: float | None = SECONDS
    max_turns: int = MOST_TURNS
    concurrency: int = MOST_AT_ONCE
    retries: Any = UNSET
    server_url: str | None = None
    timeout_ms: int | None = None
    http_headers: Mapping[str, str] | None = None
    streams: bool = False

    def __post_init__(self) -> None:
        """See that it makes sense by itself.

        Raises:
            TypeError: it does not.
        """
        if self.resume is not None and (self.inputs is not None or self.conversation_id is not None):
            raise TypeError("A run that goes on brings its conversation: leave inputs and conversation_id out.")
        if self.resume is None and self.conversation_id is None and self.inputs is None:
            raise TypeError("Give inputs, the conversation_id of a conversation with open calls, or a run to resume.")
        if self.on_error not in get_args(OnError):
            raise TypeError(f"on_error is 'tell' or 'raise', not {self.on_error!r}.")
        if self.max_turns < 1 or self.concurrency < 1:
            raise TypeError("max_turns and concurrency are 1 or more.")
        known = [one if isinstance(one, Function) else Function(one) for one in self.functions]
        self.named = {one.name: one for one in known}
        if len(self.named) < len(known):
            raise TypeError("Two functions have the same name; give one of them another.")
        self.shape: Shape[Any] | None = None if self.output is None else Shape(self.output)

    def begun(self) -> RunResult[Any]:
        """Return what the run begins with.

        Raises:
            TypeError: it goes on in a conversation, and something was given that only a start takes; or from no run.
        """
        if self.resume is None:
            inputs = self.inputs if self.inputs is None or isinstance(self.inputs, str) else [*self.inputs]
            result = RunResult[Any](conversation_id=self.conversation_id, inputs=inputs)
        elif isinstance(self.resume, RunResult):
            result = self.resume
        elif isinstance(self.resume, Mapping):
            result = RunResult[Any].from_dict(self.resume)
        else:
            raise TypeError("resume is a RunResult, or what its to_dict returned; from JSON text that is read first.")
        late = [name for name in (*_OF_A_START, "tools") if getattr(self, name) is not UNSET]
        if result.conversation_id is not None and late:
            raise TypeError(f"A conversation has it from its start, and keeps it: leave {', '.join(late)} out.")
        return result

    def request(self, result: RunResult[Any]) -> tuple[str, dict[str, Any]]:
        """Return the operation that goes on, and what it takes."""
        operation, members = "append", dict[str, Any]()
        if result.conversation_id is None:
            operation, members = "start", {name: getattr(self, name) for name in _OF_A_START} | {"tools": self._tools()}
        else:
            members = {"conversation_id": result.conversation_id, "tool_confirmations": result.confirmations or UNSET}
        inputs = [*result.results] if result.inputs is None else result.inputs
        members |= {"inputs": inputs, "handoff_execution": self.handoff_execution}
        members["completion_args"] = self._args(demands=not result.results)
        options = {name: getattr(self, name) for name in _OF_EVERY_REQUEST}
        return operation, {name: value for name, value in members.items() if value is not UNSET} | options

    def _tools(self) -> Any:
        """Return the tools of a start. An agent has its own: those that are not its own cannot be given to it here."""
        if not self.named or self.agent_id is not UNSET:
            return self.tools
        return [*(() if self.tools is UNSET or self.tools is None else self.tools),
                *(one.tool for one in self.named.values())]  # fmt: skip

    def _args(self, *, demands: bool) -> Any:
        """Return the arguments of a request; a demand for a call is met by the first, else there would be no end."""
        given: Any = self.completion_args or {}
        args = given.model_dump() if isinstance(given, CompletionArgs) else dict(given)
        if args.get("tool_choice") in ("any", "required") and not demands:
            args["tool_choice"] = "auto"
        if self.shape is not None:
            form = {"name": self.shape.name, "schema": self.shape.schema, "strict": True}
            args["response_format"] = {"type": "json_schema", "json_schema": form}
        return args or self.completion_args


def course(plan: Plan) -> Course[Any]:
    """Return the steps of a run, none of them taken yet.

    Raises:
        TypeError: what was asked makes no sense together, or a function cannot be described.
    """
    result = plan.begun()
    return Course(carried(plan, result), result)


def carried(plan: Plan, result: RunResult[Any]) -> Steps:
    """Carry a run on until it is done, or stands still.

    Raises:
        TooManyTurns: the model is not to be asked that often.
        FunctionFailed: a function raised, and the model is not to be told.
        RunStopped: there is nothing to go on with.
        WrongOutput: the answer is not of the type that was asked for.
        APIError: the server refused.
    """
    turns = 0
    if plan.resume is None and result.inputs is None:
        options = {name: getattr(plan, name) for name in _OF_EVERY_REQUEST}
        history = yield Ask("get_history", {"conversation_id": result.conversation_id, **options})
        result.waiting = open_calls(history.entries)
    if strange := plan.decisions.keys() - {call.tool_call_id for call in result.waiting}:
        raise TypeError(f"Decisions are about calls that wait; {', '.join(sorted(strange))} do not.")
    while True:
        yield from _settle(plan, result)
        if result.waiting:
            return
        if turns >= plan.max_turns:
            raise TooManyTurns(f"The model was asked {turns} times and still calls functions (max_turns).")
        if result.inputs is None and not result.results and not result.confirmations:
            raise RunStopped("No call is open that could be gone on with. Give conversation_id and inputs to say more.")
        turns += 1
        answer = yield from _asked(plan, result)
        result.take(answer.outputs, answer.usage)
        result.conversation_id = answer.conversation_id
        if not result.waiting:
            break
    if plan.shape is not None:
        try:
            result.output = plan.shape.read(result.text)
        except Misfit as error:
            raise WrongOutput(f"The model's answer is not a {plan.shape.name}: {error}") from error


def _asked(plan: Plan, result: RunResult[Any]) -> Generator[Step | list[Any], Any, Any]:
    operation, arguments = plan.request(result)
    if not plan.streams:
        return (yield Ask(operation, arguments))
    stream = yield Open(operation, arguments)
    events = list[Any]()
    yield []  # it is open
    while (item := (yield Next(stream))) is not None:
        if isinstance(item.data, ResponseStartedEvent):
            result.conversation_id = item.data.conversation_id
        if isinstance(item.data, _EVENTS):  # what is not known of a newer server belongs to no entry that is
            events.append(item.data)
        yield [item]
    if events and isinstance(last := events[-1], ResponseErrorEvent):
        raise from_response(last.code, json.dumps({"message": last.message, "code": last.code}), {})
    return collect(events, lambda: datetime.now(UTC))


def _settle(plan: Plan, result: RunResult[Any]) -> Generator[Step | list[Any], Any, None]:
    """Decide about the calls that wait, make those that may be made, and note in their order what they came to."""
    calls, jobs, told = list(result.waiting), list[Job](), dict[str, str]()
    for call in calls:
        decision = yield from _decided(plan, call)
        if isinstance(decision, Defer):
            continue
        if call.confirmation_status == "pending":
            word: Literal["allow", "deny"] = "allow" if decision is True else "deny"
            result.confirmations.append(ToolCallConfirmation(tool_call_id=call.tool_call_id, confirmation=word))
            result.waiting.remove(call)
        elif decision is True:
            function = plan.named[call.name]
            jobs.append(Job(function, call, plan.timeout if function.timeout is None else function.timeout))
        else:
            told[call.tool_call_id] = decision.reason if isinstance(decision, Deny) else written(decision.result)
    failed = (yield from _performed(plan, jobs, told)) if jobs else None
    for call in calls:
        if call.tool_call_id in told:
            yield from _settled(plan, result, call, told[call.tool_call_id])
    if failed:
        raise failed


def _performed(plan: Plan, jobs: list[Job], told: dict[str, str]) -> Generator[Step, Any, FunctionFailed | None]:
    """Make calls, and say in `told` what the model is told of them; return the first failure that it is not told."""
    failed: FunctionFailed | None = None
    for job, came in zip(jobs, (yield Perform(jobs, plan.concurrency)), strict=True):
        text = came if isinstance(came, str) else str(came) or type(came).__name__
        if isinstance(came, str):
            told[job.call.tool_call_id] = text
        elif (job.function.on_error or plan.on_error) == "tell":
            told[job.call.tool_call_id] = f"Error: {text}"
        elif failed is None:
            failed = FunctionFailed(f"The function {job.function.name} failed: {text}")
            failed.__cause__ = came
    return failed


def _decided(plan: Plan, call: FunctionCallEntry) -> Generator[Step, Any, Deny | Answer | Defer | Literal[True]]:
    decision: Decision | None = plan.decisions.get(call.tool_call_id)
    function, pending = plan.named.get(call.name), call.confirmation_status == "pending"
    if decision is None and function is None and not pending:
        known = ", ".join(sorted(plan.named)) or "none"
        return Answer(f"Error: there is no function {call.name!r}. There are: {known}.")
    if decision is None:
        wanted = function.approve if function and not pending else True
        approve = wanted if callable(wanted) else plan.approve
        if wanted is False or (wanted is None and approve is None):
            return True
        decision = (yield Decide(approve, call)) if approve else Defer()
    if not isinstance(decision, bool | Deny | Answer | Defer):
        raise TypeError(f"A decision is True, False, Deny, Answer or Defer, not {decision!r}.")
    if isinstance(decision, Answer) and pending:
        raise TypeError(f"The server makes the call {call.tool_call_id}: allow or deny it.")
    if decision is True and function is None and not pending:
        raise TypeError(f"The call {call.tool_call_id} cannot be made: no function {call.name!r} was given.")
    if isinstance(decision, bool):
        return True if decision else Deny()
    return decision


def _settled(plan: Plan, result: RunResult[Any], call: FunctionCallEntry, told: str) -> Generator[list[Any], Any, None]:
    entry = FunctionResultEntry(tool_call_id=call.tool_call_id, result=told)
    result.results.append(entry)
    result.entries.append(entry)
    result.waiting.remove(call)
    if plan.streams:
        yield [ConversationEvents(event="function.result", data=entry)]
