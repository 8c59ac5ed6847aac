"""`run` and its kin: what they take, declared once for all four.

What makes a run is loaded with the first one (`client/run`): a client that calls no functions does without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack, overload

from .models import AgentVersion, CompletionArgs, Entry, GuardrailConfig, HandoffExecution, Tool, UnsetType
from .utils import RetryConfig

if TYPE_CHECKING:
    from .run.approval import Approve, Decision
    from .run.functions import Function, OnError
    from .run.result import RunResult
    from .run.steps import Course
    from .run.streams import RunStream, RunStreamAsync

T = TypeVar("T")


class Options(TypedDict, total=False):
    """What a run can be told; `docs/run.md` teaches it.

    Where it begins: `inputs` for a new conversation or, with `conversation_id`, for one that there is; without inputs,
    `conversation_id` alone goes on with the calls that are open there, and `resume` with a run that stopped, a
    `RunResult` or what its `to_dict` returned. `decisions` are about calls that wait, by `tool_call_id`.

    What it may call: `functions`, plain ones or `Function`; `approve` is asked before each call; `on_error` says
    whether the model is told of an exception or the run ends by it; a call is given up after `timeout` seconds, so many
    are made at a time (`concurrency`), and the server is asked at most `max_turns` times.

    The rest is that of `start`. An agent has its functions from when it was made: `tools=[Function(f).tool]`.
    """

    inputs: str | Iterable[Entry | Mapping[str, Any]] | None
    conversation_id: str | None
    resume: RunResult[Any] | Mapping[str, Any] | None
    decisions: Mapping[str, Decision]
    functions: Iterable[Function | Callable[..., Any]]
    tools: Iterable[Tool | Mapping[str, Any]] | None | UnsetType
    completion_args: CompletionArgs | Mapping[str, Any] | None | UnsetType
    model: str | None | UnsetType
    agent_id: str | None | UnsetType
    agent_version: AgentVersion | None | UnsetType
    instructions: str | None | UnsetType
    guardrails: Iterable[GuardrailConfig | Mapping[str, Any]] | None | UnsetType
    name: str | None | UnsetType
    description: str | None | UnsetType
    metadata: Mapping[str, Any] | None | UnsetType
    handoff_execution: HandoffExecution | str | None | UnsetType
    approve: Approve | None
    on_error: OnError
    timeout: float | None
    max_turns: int
    concurrency: int
    retries: RetryConfig | None | UnsetType
    server_url: str | None
    timeout_ms: int | None
    http_headers: Mapping[str, str] | None


class Runs:
    """Runs of the caller's functions, for whatever has `start`, `append`, `get_history` and their kin."""

    @overload
    def run(self, *, output: None = None, **options: Unpack[Options]) -> RunResult[None]: ...
    @overload
    def run(self, *, output: type[T], **options: Unpack[Options]) -> RunResult[T]: ...
    def run(self, *, output: Any = None, **options: Unpack[Options]) -> RunResult[Any]:
        """Ask the model and call the functions that it asks for, until it has answered.

        Where a call waits for somebody's word, the run stops before it: see `RunResult.waiting`.

        Args:
            output: the type of the answer: a struct, a dataclass, a typed dict, one of pydantic's models.
            options: see `Options`.

        Raises:
            TypeError: the options make no sense together, or a function cannot be described.
            RunStopped: it cannot go on; `run` of the error says how far it came, as of every error below.
            APIError: the server refused.
            ConnectionFailed: it did not answer.
        """
        course = _course(output, options)
        while course.pull(self) is not None:
            pass
        return course.result

    @overload
    async def run_async(self, *, output: None = None, **options: Unpack[Options]) -> RunResult[None]: ...
    @overload
    async def run_async(self, *, output: type[T], **options: Unpack[Options]) -> RunResult[T]: ...
    async def run_async(self, *, output: Any = None, **options: Unpack[Options]) -> RunResult[Any]:
        """Do what `run` does, and let others run meanwhile."""
        course = _course(output, options)
        while await course.pull_async(self) is not None:
            pass
        return course.result

    @overload
    def run_stream(self, *, output: None = None, **options: Unpack[Options]) -> RunStream[None]: ...
    @overload
    def run_stream(self, *, output: type[T], **options: Unpack[Options]) -> RunStream[T]: ...
    def run_stream(self, *, output: Any = None, **options: Unpack[Options]) -> RunStream[Any]:
        """Do what `run` does, and give the events of all turns; `result` of the stream is complete at its end."""
        from .run.streams import RunStream  # noqa: PLC0415  # see above

        stream = RunStream(_course(output, options, streams=True), self)
        stream.open()
        return stream

    @overload
    async def run_stream_async(self, *, output: None = None, **options: Unpack[Options]) -> RunStreamAsync[None]: ...
    @overload
    async def run_stream_async(self, *, output: type[T], **options: Unpack[Options]) -> RunStreamAsync[T]: ...
    async def run_stream_async(self, *, output: Any = None, **options: Unpack[Options]) -> RunStreamAsync[Any]:
        """Do what `run_stream` does, and let others run meanwhile."""
        from .run.streams import RunStreamAsync  # noqa: PLC0415  # see above

        stream = RunStreamAsync(_course(output, options, streams=True), self)
        await stream.open()
        return stream


def _course(output: Any, options: Options, *, streams: bool = False) -> Course[Any]:
    if strange := options.keys() - Options.__annotations__.keys():
        raise TypeError(f"A run takes no {', '.join(sorted(strange))}, only {', '.join(Options.__annotations__)}.")
    from .run.loop import Plan, course  # noqa: PLC0415  # see above

    return course(Plan(output=output, streams=streams, **options))
