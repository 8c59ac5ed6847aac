"""Agents for a test: made over HTTP, on whichever server the test talks to, for the model of the test."""

from __future__ import annotations

from typing import Any

from .raw import Raw
from .scripted import Script


class Staff:
    """Makes agents that speak through `model`, and changes them."""

    def __init__(self, raw: Raw, model: Script) -> None:
        """Talk to a server."""
        self._raw, self._model = raw, model

    def hire(self, name: str, **content: Any) -> str:
        """Make an agent; return its id."""
        given = {"name": name, "model": self._model.name, "instructions": f"You are {name}."}
        return self._ask("POST", "/v1/agents", given | content)

    def change(self, agent_id: str, **content: Any) -> str:
        """Make the agent's next version."""
        return self._ask("PATCH", f"/v1/agents/{agent_id}", content)

    def name_version(self, agent_id: str, alias: str, version: int) -> None:
        """Give a version of the agent another name, or move the name to it."""
        answer = self._raw.request("PUT", f"/v1/agents/{agent_id}/aliases?alias={alias}&version={version}")
        assert answer.status == 200, answer.body

    def dismiss(self, agent_id: str) -> None:
        """Delete the agent."""
        assert self._raw.delete(f"/v1/agents/{agent_id}").status == 204

    def chain(self, *names: str, **content: Any) -> list[str]:
        """Make agents of which each can hand over to the next; return their ids, in order."""
        found: list[str] = []
        for name in reversed(names):
            found.append(self.hire(name, **({"handoffs": [found[-1]]} if found else {}), **content))
        return found[::-1]

    def _ask(self, method: str, path: str, content: dict[str, Any]) -> str:
        answer = self._raw.request(method, path, content)
        assert answer.status == 200, answer.body
        agent_id: str = answer.json["id"]
        return agent_id
