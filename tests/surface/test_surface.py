"""Our client beside the official SDK: the same names, parameters, defaults and attributes, or a reason why not.

It needs both: it runs where mistralai 3.7.0 is installed, and is skipped elsewhere.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from typing import Any, get_args

import msgspec
import pytest

import causerie.client
from causerie.client import EventStream, EventStreamAsync, Mistral, errors, models, utils
from causerie.client.agents import Agents
from causerie.client.catalogue import Models
from causerie.client.classifiers import Classifiers
from causerie.client.conversations import Conversations
from causerie.client.pages import Page, PageAsync
from causerie.types.operations import AGENTS, OPERATIONS

mistralai = pytest.importorskip("mistralai.client", reason="there is nothing to compare with")
GENERATION = "3.7.0"
pytestmark = pytest.mark.skipif(
    importlib.metadata.version("mistralai") != GENERATION, reason=f"the surface is that of {GENERATION}"
)

ELEVEN = [name for one in OPERATIONS if not one.ours for name in (one.name, one.stream) if name]
TWELVE = [one.name for one in AGENTS]
OURS_ONLY = {name for one in OPERATIONS if one.ours for name in (one.name, f"{one.name}_async")}

NOT_HERE = {
    "do_request": "machinery of the SDK",
    "do_request_async": "likewise",
    "sdk_configuration": "likewise",
    "parent_ref": "likewise",
}
"""What `beta.conversations` of the SDK has and ours has not."""

RUNS = {"run", "run_async", "run_stream", "run_stream_async"}
"""Ours call the caller's functions as the SDK's `run_async` and `run_stream_async` do, with parameters of their own."""

MORE = {
    "ConversationEvents": {"id": "the place to go on from after a break"},
    "ResponseStartedEvent": {"run_id": "what a run is followed and cancelled by"},
    "ResponseDoneEvent": {"guardrails": "a stream's counterpart of ConversationResponse.guardrails"},
    "ToolExecutionEntry": {"function": "a connector's function, as the hosted API sends it"},
    "ToolExecutionStartedEvent": {"function": "likewise"},
    "ToolExecutionDeltaEvent": {"function": "likewise"},
    "ToolExecutionDoneEvent": {"function": "likewise"},
    "ToolReferenceChunk": {"source": "as the hosted API sends it"},
    "JSONSchema": {"schema": "its name on the wire, which pydantic cannot have for a field"},
}
"""Attributes that ours have and the SDK's have not."""

LESS = {
    "JSONSchema": {"schema_definition": "see `schema`"},
    "BaseModelCard": {
        "deprecation_replacement_model": "the server knows nothing of it",
        "internal": "likewise",
        "billing_model_name": "likewise",
        "audio_transcription_capabilities": "likewise",
        "audio_speech_capabilities": "likewise",
    },
}
"""Attributes that the SDK's have and ours have not."""

ALIKE = [
    "ConversationResponse", "ConversationUsageInfo", "ModelConversation", "AgentConversation", "ConversationHistory",
    "ConversationMessages", "MessageInputEntry", "MessageOutputEntry", "FunctionCallEntry", "FunctionResultEntry",
    "ToolExecutionEntry", "AgentHandoffEntry", "ResponseStartedEvent", "ResponseDoneEvent", "ResponseErrorEvent",
    "MessageOutputEvent", "FunctionCallEvent", "ToolExecutionStartedEvent", "ToolExecutionDeltaEvent",
    "ToolExecutionDoneEvent", "AgentHandoffStartedEvent", "AgentHandoffDoneEvent", "ConversationEvents", "TextChunk",
    "ImageURLChunk", "ImageURL", "DocumentURLChunk", "ToolFileChunk", "ToolReferenceChunk", "ReferenceChunk",
    "ThinkChunk", "CompletionArgs", "ResponseFormat", "JSONSchema", "Prediction", "FunctionTool", "Function",
    "WebSearchTool", "WebSearchPremiumTool", "CodeInterpreterTool", "ImageGenerationTool", "DocumentLibraryTool",
    "CustomConnector", "ToolConfiguration", "ToolCallConfirmation", "GuardrailConfig", "ModerationLlmv1Config",
    "ModerationLlmv2Config", "BaseModelCard", "ModelList", "OAuth2TokenAuth", "APIKeyAuth",
    "ModerationLlmv1CategoryThresholds", "ModerationLlmv2CategoryThresholds", "ModerationObject", "ModerationResponse",
    "Agent", "AgentListPage", "AgentAliasResponse", "CreateAgentRequest", "UpdateAgentRequest",
]  # fmt: skip


def parameters(function: Any) -> list[tuple[str, str, Any]]:
    """Names, kinds and defaults; both sides' word for "not given" is the same."""

    def default(value: Any) -> Any:
        return "UNSET" if value is msgspec.UNSET or type(value).__name__ == "Unset" else value

    return [(one.name, one.kind.name, default(one.default)) for one in inspect.signature(function).parameters.values()]


def official(name: str) -> Any:
    return getattr(mistralai.models, name)


@pytest.mark.parametrize("ending", ["", "_async"])
@pytest.mark.parametrize("name", ELEVEN)
def test_an_operation_takes_what_the_sdks_takes(name: str, ending: str) -> None:
    theirs = getattr(mistralai.Mistral(api_key="x").beta.conversations.__class__, name + ending)
    ours = getattr(Conversations, name + ending)
    assert parameters(ours) == parameters(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
    assert ours.__name__ == theirs.__name__
    assert ours.__doc__


@pytest.mark.parametrize("ending", ["", "_async"])
@pytest.mark.parametrize("name", TWELVE)
def test_an_operation_of_agents_takes_what_the_sdks_takes(name: str, ending: str) -> None:
    theirs = inspect.unwrap(getattr(mistralai.Mistral(api_key="x").beta.agents.__class__, name + ending))
    ours = getattr(Agents, name + ending)
    assert parameters(ours) == parameters(theirs)
    assert inspect.iscoroutinefunction(ours) == inspect.iscoroutinefunction(theirs)
    assert ours.__name__ == theirs.__name__
    assert ours.__doc__


def test_there_are_twelve_operations_of_agents_each_twice() -> None:
    assert len(TWELVE) == 12
    theirs = {name for name in dir(mistralai.Mistral(api_key="x").beta.agents) if not name.startswith("_")}
    mine = {name for name in dir(Mistral().beta.agents) if not name.startswith("_")}
    assert theirs - mine == set(NOT_HERE) & theirs
    assert mine - theirs == {"connection"}


def test_a_page_of_agents_has_the_sdks_attributes() -> None:
    theirs = set(official("AgentsAPIV1AgentsListPagesResponse").model_fields)
    assert theirs == {"result", "next"}
    for page in (Page, PageAsync):
        made = page(connection=None, asked=None, result=models.AgentListPage(data=[]))
        assert theirs == {name for name in dir(made) if not name.startswith("_")}


@pytest.mark.parametrize("name", ["list", "list_async", "retrieve", "retrieve_async"])
def test_the_models_are_asked_for_as_with_the_sdk(name: str) -> None:
    theirs = getattr(mistralai.Mistral(api_key="x").models.__class__, name)
    assert parameters(getattr(Models, name)) == parameters(theirs)


@pytest.mark.parametrize("name", ["moderate", "moderate_async", "moderate_chat", "moderate_chat_async"])
def test_moderations_are_asked_for_as_with_the_sdk(name: str) -> None:
    theirs = getattr(mistralai.Mistral(api_key="x").classifiers.__class__, name)
    assert parameters(getattr(Classifiers, name)) == parameters(theirs)


def test_there_are_eleven_operations_each_twice() -> None:
    assert len(ELEVEN) == 11
    theirs = {name for name in dir(mistralai.Mistral(api_key="x").beta.conversations) if not name.startswith("_")}
    mine = {name for name in dir(Mistral().beta.conversations) if not name.startswith("_")}
    assert theirs - mine == set(NOT_HERE)
    assert mine - theirs == OURS_ONLY | {"connection"} | (RUNS - theirs)
    assert RUNS & theirs == {"run_async", "run_stream_async"}


def test_the_client_takes_what_the_sdks_takes() -> None:
    assert parameters(Mistral.__init__) == parameters(mistralai.Mistral.__init__)
    for name in ("__enter__", "__exit__", "__aenter__", "__aexit__"):
        assert len(parameters(getattr(Mistral, name))) == len(parameters(getattr(mistralai.Mistral, name)))


@pytest.mark.parametrize("name", utils.__all__)
def test_a_utility_is_made_as_the_sdks_is(name: str) -> None:
    ours, theirs = getattr(utils, name), getattr(mistralai.utils, name)
    assert parameters(ours) == parameters(theirs)
    given = {one.name: 1 for one in inspect.signature(ours).parameters.values()}
    assert vars(ours(**given)) == vars(theirs(**given))


@pytest.mark.parametrize("ours", [EventStream, EventStreamAsync])
def test_a_stream_is_used_as_the_sdks_is(ours: Any) -> None:
    theirs = getattr(importlib.import_module("mistralai.client.utils.eventstreaming"), ours.__name__)
    used = {name for name in vars(theirs) if name in USED_OF_A_STREAM}
    assert len(used) == 5
    assert used <= set(dir(ours))
    for name in used:
        assert inspect.iscoroutinefunction(getattr(ours, name)) == inspect.iscoroutinefunction(getattr(theirs, name))


@pytest.mark.parametrize("name", ALIKE)
def test_a_result_has_the_sdks_attributes(name: str) -> None:
    ours = {one for one in dir(getattr(models, name)) if not one.startswith("_")} - dir_of_all()
    theirs = set(official(name).model_fields)
    assert theirs - ours == set(LESS.get(name, {}))
    fields = set(getattr(models, name).__struct_fields__)
    assert fields - theirs == set(MORE.get(name, {}))


USED_OF_A_STREAM = {
    *("close", "__iter__", "__next__", "__enter__", "__exit__", "__aiter__", "__anext__", "__aenter__", "__aexit__")
}


def _as_ruff_sorts(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def dir_of_all() -> set[str]:
    """What every wire type can do."""
    return {"model_dump", "model_dump_json"}


def test_every_event_and_entry_of_the_sdks_is_known() -> None:
    theirs = {one.__name__ for one in get_args(get_args(official("ConversationEventsData"))[0])}
    assert theirs <= set(models.__all__), theirs - set(models.__all__)


def test_a_dump_has_what_the_sdks_dump_has() -> None:
    body = b"""{"object":"conversation.response","conversation_id":"conv_1","usage":{"prompt_tokens":1},"outputs":[
        {"object":"entry","type":"message.output","created_at":"2026-01-01T00:00:00.000001Z","content":"Hi",
         "id":"msg_1","model":null,"role":"assistant"}]}"""
    ours = msgspec.json.decode(body, type=models.ConversationResponse)
    theirs = official("ConversationResponse").model_validate_json(body)
    mine, shown = ours.model_dump(mode="json"), theirs.model_dump(mode="json")
    assert mine["outputs"] == shown["outputs"]
    # Numbers that the server left out are 0 in both; null where it said nothing of guardrails is ours alone.
    assert mine["usage"] == shown["usage"]
    assert mine == shown | {"guardrails": None}
    # What is absent is false in both.
    assert not ours.outputs[0].agent_id
    assert not theirs.outputs[0].agent_id


@pytest.mark.parametrize("name", ["HTTPValidationError", "MistralError", "NoResponseError", "SDKError"])
def test_an_error_of_the_sdks_is_an_error_of_ours(name: str) -> None:
    assert hasattr(mistralai.errors, name)
    assert issubclass(getattr(errors, name), errors.CauserieError)


def test_an_error_has_the_sdks_attributes() -> None:
    httpx = pytest.importorskip("httpx2")
    response = httpx.Response(422, content=b'{"detail":[{"loc":["body"],"msg":"m","type":"t"}]}')
    theirs = mistralai.errors.HTTPValidationError(
        mistralai.errors.HTTPValidationErrorData.model_validate_json(response.text), response
    )
    ours = causerie.errors.from_response(422, response.text, response.headers, response)
    assert isinstance(ours, errors.HTTPValidationError)
    for name in ("status_code", "body", "headers", "raw_response"):
        assert getattr(ours, name) == getattr(theirs, name)
    (mine,), (told,) = ours.data.detail, theirs.data.detail
    assert (mine.loc, mine.msg, mine.type) == (told.loc, told.msg, told.type)


@pytest.mark.parametrize("module", [causerie.client, errors, models, utils])
def test_what_is_public_is_listed_sorted_and_there(module: Any) -> None:
    assert list(module.__all__) == sorted(module.__all__, key=_as_ruff_sorts)
    assert all(hasattr(module, name) for name in module.__all__)
