"""The types of the API under one name, as the official SDK has them."""

from __future__ import annotations

from causerie.types.agents import (
    Agent,
    AgentAlias,
    AgentListPage,
    CreateAgentRequest,
    UpdateAgentRequest,
)
from causerie.types.base import (
    UNSET,
    UnsetType,
)
from causerie.types.completion import (
    CompletionArgs,
    GuardrailConfig,
    JsonSchema,
    ModerationConfigV1,
    ModerationConfigV2,
    Prediction,
    ReasoningEffort,
    ResponseFormat,
    ToolChoice,
)
from causerie.types.content import (
    DocumentURLChunk,
    ImageDetail,
    ImageURL,
    ImageURLChunk,
    InputChunk,
    OutputChunk,
    ReferenceChunk,
    TextChunk,
    ThinkChunk,
    ToolFileChunk,
    ToolReferenceChunk,
)
from causerie.types.entries import (
    AgentHandoffEntry,
    ConfirmationStatus,
    ConversationInputs,
    Entry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageEntry,
    MessageInputEntry,
    MessageOutputEntry,
    OutputEntry,
    ToolExecutionEntry,
)
from causerie.types.events import (
    AgentHandoffDoneEvent,
    AgentHandoffStartedEvent,
    DiscardEvent,
    Event,
    FunctionCallEvent,
    MessageOutputEvent,
    OutputEvent,
    ResponseDoneEvent,
    ResponseErrorEvent,
    ResponseStartedEvent,
    RunAdoptedEvent,
    RunCancelledEvent,
    ToolExecutionDeltaEvent,
    ToolExecutionDoneEvent,
    ToolExecutionStartedEvent,
)
from causerie.types.operations import (
    ConversationEntity,
)
from causerie.types.requests import (
    AgentVersion,
    HandoffExecution,
    OnDisconnect,
)
from causerie.types.responses import (
    AgentConversation,
    BaseModelCard,
    ConversationHistory,
    ConversationMessages,
    ConversationResponse,
    ConversationRun,
    ConversationUsageInfo,
    ModelConversation,
    ModelList,
    RunBounds,
    RunError,
    RunList,
)
from causerie.types.tools import (
    APIKeyAuth,
    CodeInterpreterTool,
    ConnectorTool,
    DocumentLibraryTool,
    Function,
    FunctionTool,
    ImageGenerationTool,
    OAuth2TokenAuth,
    Tool,
    ToolCallConfirmation,
    ToolConfiguration,
    WebSearchPremiumTool,
    WebSearchTool,
)

from .pages import Page
from .place import ConversationEvents
from .unknown import Unknown, UnknownEvent

# The names that the official SDK has for some of them.
InputEntries = Entry
ConversationEventsData = Event
UnknownConversationEventsData = UnknownEvent
AgentAliasResponse = AgentAlias
AgentsAPIV1AgentsListPagesResponse = Page
CustomConnector = ConnectorTool
JSONSchema = JsonSchema
ModerationLlmv1Config = ModerationConfigV1
ModerationLlmv2Config = ModerationConfigV2
AgentsAPIV1ConversationsListResponse = ConversationEntity
ResponseV1ConversationsGet = ConversationEntity

__all__ = [
    "UNSET",
    "APIKeyAuth",
    "Agent",
    "AgentAlias",
    "AgentAliasResponse",
    "AgentConversation",
    "AgentHandoffDoneEvent",
    "AgentHandoffEntry",
    "AgentHandoffStartedEvent",
    "AgentListPage",
    "AgentVersion",
    "AgentsAPIV1AgentsListPagesResponse",
    "AgentsAPIV1ConversationsListResponse",
    "BaseModelCard",
    "CodeInterpreterTool",
    "CompletionArgs",
    "ConfirmationStatus",
    "ConnectorTool",
    "ConversationEntity",
    "ConversationEvents",
    "ConversationEventsData",
    "ConversationHistory",
    "ConversationInputs",
    "ConversationMessages",
    "ConversationResponse",
    "ConversationRun",
    "ConversationUsageInfo",
    "CreateAgentRequest",
    "CustomConnector",
    "DiscardEvent",
    "DocumentLibraryTool",
    "DocumentURLChunk",
    "Entry",
    "Event",
    "Function",
    "FunctionCallEntry",
    "FunctionCallEvent",
    "FunctionResultEntry",
    "FunctionTool",
    "GuardrailConfig",
    "HandoffExecution",
    "ImageDetail",
    "ImageGenerationTool",
    "ImageURL",
    "ImageURLChunk",
    "InputChunk",
    "InputEntries",
    "JSONSchema",
    "JsonSchema",
    "MessageEntry",
    "MessageInputEntry",
    "MessageOutputEntry",
    "MessageOutputEvent",
    "ModelConversation",
    "ModelList",
    "ModerationConfigV1",
    "ModerationConfigV2",
    "ModerationLlmv1Config",
    "ModerationLlmv2Config",
    "OAuth2TokenAuth",
    "OnDisconnect",
    "OutputChunk",
    "OutputEntry",
    "OutputEvent",
    "Page",
    "Prediction",
    "ReasoningEffort",
    "ReferenceChunk",
    "ResponseDoneEvent",
    "ResponseErrorEvent",
    "ResponseFormat",
    "ResponseStartedEvent",
    "ResponseV1ConversationsGet",
    "RunAdoptedEvent",
    "RunBounds",
    "RunCancelledEvent",
    "RunError",
    "RunList",
    "TextChunk",
    "ThinkChunk",
    "Tool",
    "ToolCallConfirmation",
    "ToolChoice",
    "ToolConfiguration",
    "ToolExecutionDeltaEvent",
    "ToolExecutionDoneEvent",
    "ToolExecutionEntry",
    "ToolExecutionStartedEvent",
    "ToolFileChunk",
    "ToolReferenceChunk",
    "Unknown",
    "UnknownConversationEventsData",
    "UnknownEvent",
    "UnsetType",
    "UpdateAgentRequest",
    "WebSearchPremiumTool",
    "WebSearchTool",
]
