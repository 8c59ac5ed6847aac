"""As whom a run asks the model: for a model conversation the model itself, else an agent at one version.

A run decides once which agents it may come to speak as, and in which versions: whatever is changed meanwhile, it and
whoever adopts it go on with those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from causerie.errors import BadRequest, InvalidRequest, NotFound
from causerie.tools.base import Toolset
from causerie.types.agents import Agent
from causerie.types.base import UNSET, UnsetType
from causerie.types.completion import CompletionArgs

from .agents import Agents
from .conversation import ConversationSettings
from .offer import Offer, offer

DEMANDS = ("any", "required")
MOST_AGENTS = 256
"""How many agents a run looks up at most: each is a read before the run begins, and part of what is stored of it."""


class Speaker(NamedTuple):
    """What the model is asked with.

    Attributes:
        args: those of the agent, overridden by the conversation's, overridden by the request's.
        agent: None in a model conversation.
    """

    model: str
    instructions: str | None
    args: CompletionArgs
    offer: Offer
    agent: Agent | None = None

    @property
    def agent_id(self) -> str | UnsetType:
        """The agent's id, as outputs show it."""
        return self.agent.id if self.agent else UNSET


class Cast:
    """Whom a run may come to speak as."""

    def __init__(
        self, settings: ConversationSettings, agents: Mapping[str, Agent], toolsets: Mapping[str, Toolset],
        override: CompletionArgs | None,
    ) -> None:  # fmt: skip
        """Take the agents by their ids, none in a model conversation, and what the request overrides."""
        self._settings, self._agents, self._toolsets, self._override = settings, agents, toolsets, override

    @property
    def versions(self) -> dict[str, int]:
        """Which version of each agent speaks, for whoever adopts the run."""
        return {agent_id: agent.version for agent_id, agent in self._agents.items()}

    async def speaker(self, agent_id: str | None, *, demanded: bool = False) -> Speaker:
        """Return the model, or the agent of that id.

        Args:
            demanded: whether the call that the conversation or the request may demand has been made: by one agent is
                enough, and the next would have to call something for ever.

        Raises:
            InvalidRequest: what it has for tools is not offered any more, or cannot be told apart.
        """
        settings = self._settings
        if agent_id is None:
            args = (settings.completion_args or CompletionArgs()).overridden_by(self._override)
            offered = await offer(settings.tools or [], self._toolsets)
            return Speaker(settings.model or "", settings.instructions, args, offered)
        agent = self._agents[agent_id]
        args = agent.completion_args
        for over in (settings.completion_args, self._override):
            args = args.overridden_by(_undemanding(over) if demanded else over)
        targets = [self._agents[one] for one in agent.handoffs or [] if one in self._agents]
        try:
            offered = await offer(agent.tools, self._toolsets, targets)
        except InvalidRequest as error:
            raise InvalidRequest(
                f"The agent '{agent.name}' ({agent.id}) cannot run. {error.message}", loc=("body", "agent_id")
            ) from error
        return Speaker(agent.model, agent.instructions, args, offered, agent)


class Casting:
    """Finds the agents of a run."""

    def __init__(self, agents: Agents, toolsets: Mapping[str, Toolset]) -> None:
        """Take who knows the agents, and who runs each wire type of server tool."""
        self._agents, self._toolsets = agents, toolsets

    async def cast(
        self, workspace: str, settings: ConversationSettings, first: str | None, override: CompletionArgs | None
    ) -> Cast:
        """Return whom a run may come to speak as that begins as the agent `first`, each in the version of now.

        The conversation's own agent has the version that the conversation names, every other its current one. One
        that was deleted is not handed over to any more.

        Raises:
            NotFound: `first` is not there, or not in that version.
            BadRequest: it leads to more agents than a run looks up.
        """
        found, seen = dict[str, Agent](), set[str]()
        waiting = [] if first is None else [first]
        for agent_id in waiting:  # it grows while it is read
            if agent_id in seen:
                continue
            if len(seen) == MOST_AGENTS:
                raise BadRequest(
                    f"From the agent {first} on a run could come to more than {MOST_AGENTS} agents, and looks up no "
                    "more. Name fewer agents as handoffs."
                )
            seen.add(agent_id)
            version = settings.agent_version if agent_id == settings.agent_id else None
            try:
                found[agent_id] = await self._agents.resolve(workspace, agent_id, version)
            except NotFound:
                if agent_id == first:
                    raise
                continue
            waiting += found[agent_id].handoffs or []
        return Cast(settings, found, self._toolsets, override)

    async def again(
        self, workspace: str, settings: ConversationSettings, versions: Mapping[str, int],
        override: CompletionArgs | None,
    ) -> Cast:  # fmt: skip
        """Return the cast of a run that was begun by another owner, as it was.

        Raises:
            InvalidRequest: nothing is left of one of its agents.
        """
        try:
            found = {
                agent_id: await self._agents.resolve(workspace, agent_id, version, deleted=True)
                for agent_id, version in versions.items()
            }
        except NotFound as error:
            raise InvalidRequest(error.message, loc=("body", "agent_id")) from error
        return Cast(settings, found, self._toolsets, override)


def _undemanding(args: CompletionArgs | None) -> CompletionArgs | None:
    if args is None or args.tool_choice not in DEMANDS:
        return args
    return msgspec.structs.replace(args, tool_choice=UNSET)
