"""Content chunks: what a message is made of when it is not plain text (PROTOCOL §4)."""

from __future__ import annotations

from typing import Literal

from .base import UNSET, Struct, Tagged, UnsetType

ImageDetail = Literal["low", "auto", "high"]


class TextChunk(Tagged, kw_only=True, tag="text", tag_field="type"):
    """A piece of text."""

    text: str


class ImageURL(Struct, kw_only=True):
    """Where an image is, and how closely a model should look at it."""

    url: str
    detail: ImageDetail | None | UnsetType = UNSET


class ImageURLChunk(Tagged, kw_only=True, tag="image_url", tag_field="type"):
    """An image, by http(s) or data URL."""

    image_url: str | ImageURL

    @property
    def url(self) -> str:
        """The address, whichever way it was written."""
        return self.image_url if isinstance(self.image_url, str) else self.image_url.url


class DocumentURLChunk(Tagged, kw_only=True, tag="document_url", tag_field="type"):
    """A document, by address."""

    document_url: str
    document_name: str | None | UnsetType = UNSET


class ToolFileChunk(Tagged, kw_only=True, tag="tool_file", tag_field="type"):
    """A file that a tool made."""

    tool: str
    file_id: str
    file_name: str | None | UnsetType = UNSET
    file_type: str | None | UnsetType = UNSET


class ToolReferenceChunk(Tagged, kw_only=True, tag="tool_reference", tag_field="type"):
    """A source that a tool found, cited where it stands."""

    tool: str
    title: str
    url: str | None | UnsetType = UNSET
    favicon: str | None | UnsetType = UNSET
    description: str | None | UnsetType = UNSET
    source: str | UnsetType = UNSET


class ReferenceChunk(Tagged, kw_only=True, tag="reference", tag_field="type"):
    """References inside a thinking chunk."""

    reference_ids: list[int | str]


class ThinkChunk(Tagged, kw_only=True, tag="thinking", tag_field="type"):
    """What a model thought before it answered."""

    thinking: list[TextChunk | ToolReferenceChunk | ReferenceChunk]
    closed: bool = True
    signature: str | None | UnsetType = UNSET


InputChunk = TextChunk | ImageURLChunk | DocumentURLChunk | ToolFileChunk | ThinkChunk
OutputChunk = InputChunk | ToolReferenceChunk
