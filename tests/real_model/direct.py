"""The model server, asked directly: what Causerie's answers are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.support.raw import Raw

GREEDY: dict[str, Any] = {"temperature": 0, "max_tokens": 12}
"""The same prompt gets the same answer."""


@dataclass(frozen=True)
class Said:
    """What a model said: the text, and how many tokens the prompt and the answer took."""

    text: str
    prompt_tokens: int
    completion_tokens: int


class ModelServer:
    """A model server, asked directly."""

    def __init__(self, url: str, model: str) -> None:
        """It listens at `url` and calls its model `model`."""
        self.url = url
        self.model = model

    def says(self, *messages: dict[str, Any]) -> Said:
        """Return its answer to chat messages."""
        body = {"model": self.model, "messages": messages} | GREEDY
        answer = Raw(self.url).post("/v1/chat/completions", body)
        assert answer.status == 200, answer.body
        usage = answer.json["usage"]
        return Said(answer.json["choices"][0]["message"]["content"], usage["prompt_tokens"], usage["completion_tokens"])
