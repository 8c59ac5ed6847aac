"""What a request alone shows to be wrong, and what a server fills in (D11, O20, O21, O30)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from causerie.engine import admission
from causerie.engine.admission import (
    check_append,
    check_metadata,
    check_restart,
    check_start,
    complete,
    echoes,
    given_ids,
)
from causerie.errors import InvalidRequest
from causerie.ids import Clock, Ids
from causerie.types.base import UNSET
from causerie.types.completion import GuardrailConfig
from causerie.types.content import DocumentURLChunk, ImageURL, ImageURLChunk, TextChunk, ThinkChunk, ToolFileChunk
from causerie.types.entries import (
    AgentHandoffEntry,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)
from causerie.types.requests import AppendRequest, RestartRequest, StartRequest
from causerie.types.tools import (
    CodeInterpreterTool,
    ConnectorTool,
    DocumentLibraryTool,
    Function,
    FunctionTool,
    ToolCallConfirmation,
    ToolConfiguration,
    WebSearchTool,
)

HANDOFF = AgentHandoffEntry(previous_agent_id="a", previous_agent_name="A", next_agent_id="b", next_agent_name="B")


def user(content: Any = "a", **more: Any) -> MessageInputEntry:
    """A message of the user's."""
    return MessageInputEntry(role="user", content=content, **more)


def function(name: str = "f", **parameters: Any) -> FunctionTool:
    """A function of the caller's."""
    return FunctionTool(function=Function(name=name, parameters=parameters))


def refusal(check: Callable[[], Any]) -> InvalidRequest:
    """Return what a check refuses."""
    with pytest.raises(InvalidRequest) as found:
        check()
    return found.value


def start(served: tuple[str, ...] = (), default: str | None = None, **fields: Any) -> str | None:
    """Check a start."""
    return check_start(StartRequest(**({"inputs": "a", "model": "m"} | fields)), default, served)


@pytest.mark.parametrize(
    ("model", "default", "expected"), [("m", None, "m"), ("m", "d", "m"), (None, "d", "d"), ("", "d", "d")]
)
def test_the_model_is_the_one_that_was_asked_for_or_the_default(
    model: str | None, default: str | None, expected: str
) -> None:
    assert start(model=model, default=default) == expected


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"model": None}, ["model"]),
        ({"agent_id": "ag_1"}, ["agent_id"]),
        ({"agent_id": "ag_1", "model": None, "instructions": ""}, ["instructions"]),
        ({"agent_id": "ag_1", "model": None, "tools": []}, ["tools"]),
        ({"agent_version": 1}, ["agent_version"]),
        ({"guardrails": [GuardrailConfig()]}, ["guardrails", 0]),
        ({"inputs": ""}, ["inputs"]),
        ({"inputs": []}, ["inputs"]),
        ({"tools": [function()] * 129}, ["tools"]),
        ({"tools": [function(), function()]}, ["tools", 1, "function", "name"]),
        ({"tools": [function("")]}, ["tools", 0, "function", "name"]),
        ({"tools": [function(), WebSearchTool()]}, ["tools", 1, "type"]),
        ({"tools": [CodeInterpreterTool()]}, ["tools", 0, "type"]),
        ({"tools": [DocumentLibraryTool(library_ids=["l"])]}, ["tools", 0, "type"]),
        ({"tools": [ConnectorTool(connector_id="c")], "served": ("web_search",)}, ["tools", 0, "type"]),
    ],
)
def test_a_start_that_makes_no_sense_is_pointed_at(fields: dict[str, Any], loc: list[Any]) -> None:
    assert refusal(lambda: start(**fields)).loc == ("body", *loc)


@pytest.mark.parametrize("version", [None, 1, "1", "stable"])
def test_an_agent_brings_its_model(version: int | str | None) -> None:
    assert start(model=None, agent_id="ag_1", agent_version=version) is None
    assert start(model=None, agent_id="ag_1", agent_version=version, default="d") is None


@pytest.mark.parametrize(
    ("given", "goes_on"),
    [
        ([HANDOFF], True), ([{"id": "handoff_1"}], True), ([HANDOFF, user()], True), ("on", False), ([], False),
        (None, False), ([user(), HANDOFF], False), ([{"id": "handoff_2"}], False), ([{"next_agent_id": "c"}], False),
        ([{"previous_agent_id": "b"}], False),
    ],
)  # fmt: skip
def test_only_the_handoff_that_a_conversation_stopped_at_says_go_on(given: Any, goes_on: bool) -> None:
    inputs = given
    if isinstance(given, list):
        inputs = [msgspec.structs.replace(HANDOFF, **one) if isinstance(one, dict) else one for one in given]
    assert echoes(inputs, msgspec.structs.replace(HANDOFF, id="handoff_1")) is goes_on
    assert not echoes(inputs, None)


def test_what_is_on_offer_is_taken() -> None:
    tools = [function(), WebSearchTool(tool_configuration=ToolConfiguration(include=["search"]))]
    assert start(tools=tools, served=("web_search",)) == "m"
    assert start(guardrails=[], metadata={}, tools=[], handoff_execution="client") == "m"
    assert start(tools=[function(f"f{n}") for n in range(128)]) == "m"


@pytest.mark.parametrize(
    ("configuration", "field"),
    [
        (ToolConfiguration(include=["a"], exclude=["b"]), "exclude"),
    ],
)
def test_a_configuration_that_cannot_be_kept_is_refused(configuration: ToolConfiguration, field: str) -> None:
    tools = [WebSearchTool(tool_configuration=configuration)]
    found = refusal(lambda: start(tools=tools, served=("web_search",)))
    assert found.loc == ("body", "tools", 0, "tool_configuration", field)


@pytest.mark.parametrize("inputs", [None, [], ""])
def test_an_append_with_nothing_to_run_on_is_what_ends_the_run_loop_of_the_sdk(inputs: Any) -> None:
    found = refusal(lambda: check_append(AppendRequest(inputs=inputs)))
    assert found.message == "Value error, Either inputs or tool_confirmations must be provided."
    assert (found.status_code, found.code) == (422, 3001)


def test_confirmations_without_inputs_are_something_to_run_on() -> None:
    confirmation = ToolCallConfirmation(tool_call_id="callAAAA1", confirmation="allow")
    check_append(AppendRequest(inputs=[], tool_confirmations=[confirmation]))


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"guardrails": [GuardrailConfig()]}, ["guardrails", 0]),
        ({"metadata": {"a": "x" * 16_384}}, ["metadata"]),
    ],
)
def test_a_restart_that_makes_no_sense_is_pointed_at(fields: dict[str, Any], loc: list[str | int]) -> None:
    found = refusal(lambda: check_restart(RestartRequest(from_entry_id="msg_1", **fields)))
    assert found.loc == ("body", *loc)


@pytest.mark.parametrize("absent", [UNSET, None])
def test_a_restart_needs_nothing_but_its_entry(absent: Any) -> None:
    check_restart(RestartRequest(from_entry_id="msg_1", agent_version=absent, guardrails=absent, metadata=absent))


def test_metadata_has_at_most_64_keys() -> None:
    check_metadata({str(key): 1 for key in range(64)})
    assert refusal(lambda: check_metadata({str(key): 1 for key in range(65)})).loc == ("body", "metadata")


def test_metadata_takes_at_most_16_kilobytes() -> None:
    check_metadata({"a": "x" * (16 * 1024 - 8)})
    assert "16385" in refusal(lambda: check_metadata({"a": "x" * (16 * 1024 - 7)})).message
    assert refusal(lambda: check_metadata({"a": "é" * (8 * 1024)})).loc == ("body", "metadata")


@pytest.mark.parametrize("metadata", [None, {}, {"a": {"b": [None, True, 1.5, "c"]}}, {"": 2**64}])
def test_metadata_may_be_any_modest_object(metadata: Any) -> None:
    check_metadata(metadata)


@pytest.mark.parametrize(
    ("entry", "loc"),
    [
        (user(id=""), ["id"]),
        (user(id="x" * 257), ["id"]),
        (FunctionCallEntry(tool_call_id="", name="f", arguments="{}"), ["tool_call_id"]),
        (FunctionResultEntry(tool_call_id="x" * 257, result=""), ["tool_call_id"]),
        (user(prefix=True), ["prefix"]),
        (user([TextChunk(text="a"), DocumentURLChunk(document_url="http://127.0.0.1/a.pdf")]), ["content", 1]),
        (user([ToolFileChunk(tool="t", file_id="f")]), ["content", 0]),
        (user([ThinkChunk(thinking=[])]), ["content", 0]),
        (
            MessageInputEntry(role="assistant", content=[ImageURLChunk(image_url="http://127.0.0.1/a.png")]),
            ["content", 0],
        ),
        (user([ImageURLChunk(image_url="data:image/png;base64," + "A" * 28_000_000)]), ["content", 0]),
    ],
    ids=lambda value: "" if isinstance(value, list) else type(value).__name__,
)
def test_an_input_that_cannot_be_kept_is_pointed_at(entry: Entry, loc: list[Any]) -> None:
    for check in (
        lambda: start(inputs=[user(), entry]),
        lambda: check_append(AppendRequest(inputs=[user(), entry])),
        lambda: check_restart(RestartRequest(from_entry_id="msg_1", inputs=[user(), entry])),
    ):
        assert refusal(check).loc[: 3 + len(loc)] == ("body", "inputs", 1, *loc)


def test_every_kind_of_entry_can_be_an_input() -> None:
    image = ImageURLChunk(image_url=ImageURL(url="data:image/png;base64,AA==", detail="high"))
    thought = ThinkChunk(thinking=[TextChunk(text="Hm.")])
    entries: list[Entry] = [
        user([TextChunk(text="a"), image], id="x" * 256),
        MessageInputEntry(role="assistant", content=[thought, TextChunk(text="So")], prefix=True),
        MessageOutputEntry(content=[thought, TextChunk(text="a"), ToolFileChunk(tool="t", file_id="f")]),
        FunctionCallEntry(tool_call_id="x" * 256, name="f", arguments={"a": 2**64}),
        FunctionResultEntry(tool_call_id="c", result=""),
        ToolExecutionEntry(name="t", arguments="{}", info={"a": 1}),
        HANDOFF,
    ]
    assert start(inputs=entries) == "m"


def test_text_becomes_a_message_of_the_users_with_an_id_and_a_time() -> None:
    clock = Clock()
    before = clock.now()
    (entry,) = complete("Hello", Ids(), clock)
    assert isinstance(entry, MessageInputEntry)
    assert (entry.role, entry.content) == ("user", "Hello")
    assert isinstance(entry.id, str)
    assert entry.id.startswith("msg_")
    assert isinstance(entry.created_at, datetime)
    assert before <= entry.created_at <= clock.now()
    assert entry.completed_at == entry.created_at


@pytest.mark.parametrize("nothing", [None, "", []])
def test_nothing_stays_nothing(nothing: Any) -> None:
    assert complete(nothing, Ids(), Clock()) == []
    assert given_ids(nothing) == []


def test_each_kind_gets_an_id_of_its_kind() -> None:
    entries: list[Entry] = [
        user(), MessageOutputEntry(content="a"), FunctionCallEntry(tool_call_id="c", name="f", arguments="{}"),
        FunctionResultEntry(tool_call_id="c", result=""), ToolExecutionEntry(name="t", arguments="{}"), HANDOFF,
    ]  # fmt: skip
    found = complete(entries, Ids(), Clock())
    assert [str(entry.id).rpartition("_")[0] for entry in found] == [
        "msg", "msg", "fc", "fr", "tool_exec", "handoff",
    ]  # fmt: skip
    assert found[2].completed_at is None  # nobody says that a call is complete
    assert entries[0].id is UNSET  # what the caller handed in is not changed


def test_what_the_caller_says_is_kept_and_times_are_told_in_utc() -> None:
    paris = datetime(2025, 3, 1, 14, 0, 0, 5, timezone(timedelta(hours=2)))
    local = datetime(2025, 3, 1, 14)  # noqa: DTZ001
    first, second = complete(
        [user(id="mine", created_at=paris, completed_at=local), user(created_at=paris)], Ids(), Clock()
    )
    assert first.id == "mine"
    assert first.created_at == datetime(2025, 3, 1, 12, 0, 0, 5, UTC)
    assert first.completed_at == datetime(2025, 3, 1, 14, tzinfo=UTC)
    assert second.completed_at == first.created_at


def test_null_is_kept_as_the_time_of_completion() -> None:
    (entry,) = complete([user(completed_at=None)], Ids(), Clock())
    assert entry.completed_at is None


@pytest.mark.parametrize("field", ["created_at", "completed_at"])
def test_a_time_outside_of_the_calendar_is_pointed_at(field: str) -> None:
    late = datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-1)))
    found = refusal(lambda: complete([user(), user(**{field: late})], Ids(), Clock()))
    assert found.loc == ("body", "inputs", 1, field)


def test_an_id_may_be_given_once() -> None:
    entries: list[Entry] = [user(id="x"), user(), user(id="x")]
    found = refusal(lambda: complete(entries, Ids(), Clock()))
    assert (found.loc, found.given) == (("body", "inputs", 2, "id"), "x")
    assert given_ids(entries) == [(0, "x"), (2, "x")]
    assert given_ids("Hello") == []


def test_limits_are_those_that_are_documented() -> None:
    assert (admission.MAX_TOOLS, admission.MAX_METADATA_KEYS, admission.MAX_METADATA_BYTES) == (128, 64, 16 * 1024)
    assert admission.MAX_IMAGE_BYTES == 20 * 1024 * 1024
