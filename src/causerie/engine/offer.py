"""Which tools a run offers to the model: the caller's functions, what the server's toolsets have, and handoffs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from causerie.errors import InvalidRequest
from causerie.tools.base import ToolDefinition, Toolset
from causerie.types.agents import Agent
from causerie.types.tools import ConnectorTool, Function, FunctionTool, Tool, ToolConfiguration

from . import handoffs
from .emit import Pending
from .prompt import function_tools


class Served(NamedTuple):
    """A tool that the server runs.

    Attributes:
        name: what entries show: its wire type, or the connector that it comes from.
        toolset: who runs it.
        asks: whether the caller has to allow each call.
    """

    name: str
    toolset: Toolset
    repeatable: bool = False
    asks: bool = False


class Offer(NamedTuple):
    """What the model may call: rendered for the upstream, and who answers for the names that are not the caller's.

    Attributes:
        served: the tools that the server runs.
        handoffs: for each name of a handoff, the agent that it leads to.
    """

    rendered: bytes | None
    served: Mapping[str, Served]
    handoffs: Mapping[str, Agent] = {}

    @property
    def held(self) -> Collection[str]:
        """The names whose calls do not leave as they come in: the caller has nothing to do with them."""
        return {*self.at_once, *self.handoffs}

    @property
    def at_once(self) -> Collection[str]:
        """The names of the tools that are run as soon as they are called."""
        return {name for name, one in self.served.items() if not one.asks}

    @property
    def asking(self) -> Collection[str]:
        """The names of the tools that are run once the caller allows it."""
        return {name for name, one in self.served.items() if one.asks}

    def runs(self, call: Pending) -> bool:
        """Whether the server makes a call now."""
        served = self.served.get(call.name)
        return served is not None and (bool(call.waited_as) or not served.asks)


async def offer(tools: Sequence[Tool], toolsets: Mapping[str, Toolset], targets: Sequence[Agent] = ()) -> Offer:
    """Collect the tools of a model or an agent.

    Args:
        targets: the agents that may be handed over to.

    Raises:
        InvalidRequest: two tools have the same name.
    """
    functions, served = list[Function](), dict[str, Served]()
    for tool in tools:
        if isinstance(tool, FunctionTool):
            functions.append(tool.function)
            continue
        kind = str(tool.__struct_config__.tag)
        if kind not in toolsets:
            raise InvalidRequest(f"The tool '{kind}' is not offered by this server any more.", loc=("body", "tools"))
        configuration = tool.tool_configuration or ToolConfiguration()
        asking = configuration.requires_confirmation or []
        shown = tool.connector_id if isinstance(tool, ConnectorTool) else kind
        for one in _configured(await toolsets[kind].tools(tool), configuration):
            functions.append(Function(name=one.name, description=one.description, parameters=one.parameters))
            served[one.name] = Served(shown, toolsets[kind], one.repeatable, one.name in asking)
    names = [function.name for function in functions]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidRequest(f"Two tools are called '{min(twice)}'; names must differ.", loc=("body", "tools"))
    handing = handoffs.names(targets, names)
    functions += [handoffs.function(name, target) for name, target in handing.items()]
    return Offer(function_tools(functions), served, handing)


def _configured(definitions: Sequence[ToolDefinition], configuration: ToolConfiguration) -> Sequence[ToolDefinition]:
    if configuration.include:
        return [one for one in definitions if one.name in configuration.include]
    return [one for one in definitions if one.name not in (configuration.exclude or [])]
