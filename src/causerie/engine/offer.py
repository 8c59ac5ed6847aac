"""Which tools a run offers to the model: the caller's functions, what the server's toolsets have, and handoffs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from causerie.errors import InvalidRequest
from causerie.tools.base import ToolDefinition, Toolset
from causerie.types.agents import Agent
from causerie.types.base import UnsetType
from causerie.types.tools import ConnectorTool, Function, FunctionTool, Tool, ToolConfiguration

from . import handoffs
from .prompt import function_tools


class Served(NamedTuple):
    """A tool that the server runs: the wire name that entries show, and who runs it."""

    name: str
    toolset: Toolset
    repeatable: bool = False


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
        """The names whose calls do not leave as they come in: they are not the caller's."""
        return {**self.served, **self.handoffs}


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
        for one in _configured(await toolsets[kind].tools(tool), tool):
            functions.append(Function(name=one.name, description=one.description, parameters=one.parameters))
            served[one.name] = Served(kind, toolsets[kind], one.repeatable)
    names = [function.name for function in functions]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InvalidRequest(f"Two tools are called '{min(twice)}'; names must differ.", loc=("body", "tools"))
    handing = handoffs.names(targets, names)
    functions += [handoffs.function(name, target) for name, target in handing.items()]
    return Offer(function_tools(functions), served, handing)


def _configured(definitions: Sequence[ToolDefinition], tool: Tool) -> Sequence[ToolDefinition]:
    if isinstance(tool, (FunctionTool, ConnectorTool)) or isinstance(tool.tool_configuration, (UnsetType, type(None))):
        return definitions
    configuration: ToolConfiguration = tool.tool_configuration
    if configuration.include:
        return [one for one in definitions if one.name in configuration.include]
    return [one for one in definitions if one.name not in (configuration.exclude or [])]
