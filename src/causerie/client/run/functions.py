"""Functions of the caller's that a model may call: how they are offered, and what a call passes. No I/O."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from causerie.types.base import dumped
from causerie.types.entries import FunctionCallEntry
from causerie.types.tools import Function as Offered
from causerie.types.tools import FunctionTool

from .approval import Approve
from .docstrings import described
from .shapes import Shape

OnError = Literal["tell", "raise"]
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WRITTEN_OUT = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
_PLAIN = (str, int, float, bool, bytes, type(None))


class Function:
    """A function that a model may call.

    Attributes:
        call: the function itself.
        name: what the model calls it.
        tool: how it is offered: for `tools` of a start, or of an agent.
        approve: see `__init__`.
        timeout: likewise.
        on_error: likewise.
    """

    def __init__(
        self,
        call: Callable[..., Any],
        *,
        name: str | None = None,
        description: str | None = None,
        approve: bool | Approve | None = None,
        timeout: float | None = None,
        on_error: OnError | None = None,
    ) -> None:
        """Describe a function: its parameters by their type hints, all in words by its docstring.

        Args:
            call: the function or method, sync or async.
            name: what the model calls it, where that is not its name.
            description: what it is for, where that is not in its docstring.
            approve: who decides whether a call is made: True is whoever decides for the run, and where nobody does
                the run stops before the call; False is nobody. Without it, whoever decides for the run, if anybody.
            timeout: seconds after which a call is given up, where not the run's.
            on_error: what becomes of its exceptions, where not what the run says.

        Raises:
            TypeError: a model cannot call it: it takes what has no name or no JSON Schema.
        """
        self.call = call
        self.name = name or str(getattr(call, "__name__", ""))
        if not _NAME.fullmatch(self.name):
            raise TypeError(f"A model cannot call {self.name!r}: give a name of up to 64 letters, digits, '_' and '-'.")
        if on_error not in (None, *get_args(OnError)):
            raise TypeError(f"on_error is 'tell' or 'raise', not {on_error!r}.")
        self.approve, self.timeout, self.on_error = approve, timeout, on_error
        told = described(inspect.getdoc(_written_down(call)))
        self._shape: Shape[msgspec.Struct] = Shape(_arguments(call, self.name, told.parameters), strict=False)
        schema = {key: value for key, value in self._shape.schema.items() if key not in ("title", "description")}
        purpose = told.purpose if description is None else description
        self.tool = FunctionTool(function=Offered(name=self.name, description=purpose, parameters=schema))

    def arguments(self, call: FunctionCallEntry) -> dict[str, Any]:
        """Return what a call passes, as the types that the function asks for.

        Raises:
            Misfit: it passes something else.
        """
        found = self._shape.read(call.arguments or "{}")
        return {name: getattr(found, name) for name in found.__struct_fields__}


class Job(NamedTuple):
    """A call to make, and how many seconds it has."""

    function: Function
    call: FunctionCallEntry
    seconds: float | None


def written(result: Any) -> str:
    """Return a result as the model reads it: text as it is, all else as JSON.

    Raises:
        TypeError: it cannot be written as JSON.
    """
    return result if isinstance(result, str) else msgspec.json.encode(result, enc_hook=dumped).decode()


def _arguments(call: Callable[..., Any], name: str, told: dict[str, str]) -> Any:
    """Return a struct with a field for each parameter."""
    try:
        hints = get_type_hints(_written_down(call), include_extras=True)
    except NameError as error:
        raise TypeError(f"A type hint of {name} names what cannot be found: {error}.") from error
    fields = list[Any]()
    for one in inspect.signature(call).parameters.values():
        if one.kind not in _WRITTEN_OUT:
            raise TypeError(f"A model cannot call {name}: its parameter {one} cannot be passed by a name.")
        kind = _told(hints.get(one.name, Any), told.get(one.name))
        fields.append((one.name, kind) if one.default is one.empty else (one.name, kind, _default(one.default)))
    try:
        return msgspec.defstruct(name.replace("-", "_"), fields, kw_only=True, forbid_unknown_fields=True)
    except TypeError as error:
        raise TypeError(f"A model cannot call {name}: {error}") from error


def _written_down(call: Callable[..., Any]) -> Any:
    """Return what has the hints and the docstring of something that can be called."""
    if isinstance(call, partial):
        return _written_down(call.func)
    return call if inspect.isroutine(call) else type(call).__call__


def _told(kind: Any, meaning: str | None) -> Any:
    """Return a type with what the docstring says of it, unless its hint says that itself."""
    said = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    if not meaning or any(isinstance(one, msgspec.Meta) and one.description for one in said):
        return kind
    return Annotated[kind, msgspec.Meta(description=meaning)]


def _default(value: Any) -> Any:
    return value if isinstance(value, _PLAIN) else msgspec.field(default_factory=lambda: value)
