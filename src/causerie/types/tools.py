"""Tools that a conversation or an agent may use, and what confirms their calls (PROTOCOL §5, §6.3)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from .base import UNSET, Struct, Tagged, UnsetType


class ToolConfiguration(Struct, kw_only=True):
    """Which sub-tools are offered, and which of them ask first."""

    include: list[str] | None | UnsetType = UNSET
    exclude: list[str] | None | UnsetType = UNSET
    requires_confirmation: list[str] | None | UnsetType = UNSET


class Function(Struct, kw_only=True):
    """A function of the caller's: its name and the JSON Schema of its arguments."""

    name: str
    parameters: dict[str, Any]
    description: str = ""
    strict: bool = False


class FunctionTool(Tagged, kw_only=True, tag="function", tag_field="type"):
    """A tool that the caller runs."""

    function: Function


class WebSearchTool(Tagged, kw_only=True, tag="web_search", tag_field="type"):
    """Searches the web, on the server."""

    tool_configuration: ToolConfiguration | None | UnsetType = UNSET


class WebSearchPremiumTool(Tagged, kw_only=True, tag="web_search_premium", tag_field="type"):
    """Searches the web and the news, on the server."""

    tool_configuration: ToolConfiguration | None | UnsetType = UNSET


class CodeInterpreterTool(Tagged, kw_only=True, tag="code_interpreter", tag_field="type"):
    """Runs Python, on the server."""

    tool_configuration: ToolConfiguration | None | UnsetType = UNSET


class ImageGenerationTool(Tagged, kw_only=True, tag="image_generation", tag_field="type"):
    """Makes images, on the server."""

    tool_configuration: ToolConfiguration | None | UnsetType = UNSET


class DocumentLibraryTool(Tagged, kw_only=True, tag="document_library", tag_field="type"):
    """Searches document libraries, on the server."""

    library_ids: Annotated[list[str], Meta(min_length=1)]
    tool_configuration: ToolConfiguration | None | UnsetType = UNSET


class OAuth2TokenAuth(Tagged, kw_only=True, tag="oauth2-token", tag_field="type"):
    """A bearer token for a connector."""

    value: str


class APIKeyAuth(Tagged, kw_only=True, tag="api-key", tag_field="type"):
    """An API key for a connector."""

    value: str


class ConnectorTool(Tagged, kw_only=True, tag="connector", tag_field="type"):
    """The tools of a remote server, reached from ours."""

    connector_id: str
    authorization: OAuth2TokenAuth | APIKeyAuth | None | UnsetType = UNSET
    tool_configuration: ToolConfiguration | None | UnsetType = UNSET


Tool = (
    FunctionTool
    | WebSearchTool
    | WebSearchPremiumTool
    | CodeInterpreterTool
    | ImageGenerationTool
    | DocumentLibraryTool
    | ConnectorTool
)


class ToolCallConfirmation(Struct, kw_only=True):
    """The caller's word on a pending call."""

    tool_call_id: str
    confirmation: Literal["allow", "deny"]
