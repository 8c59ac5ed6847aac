"""How a model is asked (completion_args) and what stands guard before it (guardrails): PROTOCOL §6.1, §6.2."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .base import UNSET, Struct, UnsetType

Penalty = Annotated[float, Meta(ge=-2, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0)]
ToolChoice = Literal["auto", "none", "any", "required"]
ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class JsonSchema(Struct, kw_only=True):
    """A JSON Schema that the answer has to fit."""

    name: str
    schema: dict[str, Any]
    description: str | None | UnsetType = UNSET
    strict: bool = False


class ResponseFormat(Struct, kw_only=True):
    """The form of the answer: text, any JSON, or JSON that fits a schema."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    json_schema: JsonSchema | None | UnsetType = UNSET


class Prediction(Struct, kw_only=True):
    """What the answer will probably look like, to make it faster."""

    type: Literal["content"] = "content"
    content: str = ""


class CompletionArgs(Struct, kw_only=True):
    """Sampling and format. A member that was not given is absent, so that a later override can tell."""

    stop: str | list[str] | None | UnsetType = UNSET
    presence_penalty: Penalty | None | UnsetType = UNSET
    frequency_penalty: Penalty | None | UnsetType = UNSET
    temperature: Share | None | UnsetType = UNSET
    top_p: Share | None | UnsetType = UNSET
    max_tokens: Count | None | UnsetType = UNSET
    random_seed: Count | None | UnsetType = UNSET
    prediction: Prediction | None | UnsetType = UNSET
    response_format: ResponseFormat | None | UnsetType = UNSET
    tool_choice: ToolChoice | UnsetType = UNSET
    reasoning_effort: ReasoningEffort | None | UnsetType = UNSET

    def overridden_by(self, other: CompletionArgs | None) -> CompletionArgs:
        """Return these with every member that `other` gives in place of ours, nulls included."""
        if other is None:
            return self
        given = {name: value for name, value in msgspec.structs.asdict(other).items() if value is not UNSET}
        return msgspec.structs.replace(self, **given) if given else self

    def completed(self) -> CompletionArgs:
        """Return these with every member, null where there is none: so an agent shows them."""
        members = {name: None if value is UNSET else value for name, value in msgspec.structs.asdict(self).items()}
        return CompletionArgs(**(members | {"tool_choice": members["tool_choice"] or "auto"}))


class ModerationConfigV1(Struct, kw_only=True):
    """A check by the nine categories of the first moderation model."""

    model_name: str = "mistral-moderation-2411"
    custom_category_thresholds: dict[str, Share | None] | None | UnsetType = UNSET
    ignore_other_categories: bool = False
    action: Literal["none", "block"] = "none"


class ModerationConfigV2(Struct, kw_only=True):
    """A check by the eleven categories of the second moderation model."""

    model_name: str = "mistral-moderation-2603"
    custom_category_thresholds: dict[str, Share | None] | None | UnsetType = UNSET
    ignore_other_categories: bool = False
    action: Literal["none", "block"] = "none"


class GuardrailConfig(Struct, kw_only=True):
    """One guardrail: what is checked before the model is called, and what happens when the check itself fails."""

    block_on_error: bool = False
    moderation_llm_v1: ModerationConfigV1 | None | UnsetType = UNSET
    moderation_llm_v2: ModerationConfigV2 | None | UnsetType = UNSET
