"""Renders docs/reference.md from the types: operations, requests, responses, events, errors.

What a thing is comes from its docstring, what a field means from fields.toml beside this file; a field without a
sentence, or a sentence without a field, is an error. Nothing is written here.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect

from causerie import errors
from causerie.types import completion, content, entries, events, requests, responses, tools
from causerie.types.agents import Agent, AgentAlias, AgentListPage
from causerie.types.operations import AGENTS, MODELS, OPERATIONS, Operation

HERE = Path(__file__).parent
TEMPLATE = HERE / "reference.template.md"
SENTENCES = HERE / "fields.toml"
EVERYWHERE = "*"

Struct = type[msgspec.Struct]

# A union that has a name is linked by it. The order counts: the first that fits is taken.
UNIONS: dict[frozenset[Struct], str] = {
    frozenset(get_args(union)): f"[{name}](#{anchor})"
    for name, anchor, union in (
        ("entry", "entries", entries.Entry),
        ("output entry", "entries", entries.OutputEntry),
        ("message entry", "entries", entries.MessageEntry),
        ("input chunk", "chunks", content.InputChunk),
        ("chunk", "chunks", content.OutputChunk),
        ("tool", "tools", tools.Tool),
    )
}


ABOUT_AGENTS: tuple[Struct, ...] = (Agent, AgentListPage, AgentAlias)
"""What the operations of agents answer with; their requests stand beside it in the same module."""


class Fields:
    """The sentences about fields, and which of them have been used."""

    def __init__(self, sentences: dict[str, dict[str, str]]) -> None:
        """Take the tables of fields.toml."""
        self._sentences = sentences
        self._unused = {(one, name) for one, names in sentences.items() for name in names}

    def meaning(self, struct: Struct, name: str) -> str:
        """Return what a field means.

        Raises:
            LookupError: nobody has written it down.
        """
        for one in (*(base.__name__ for base in struct.__mro__), EVERYWHERE):
            if sentence := self._sentences.get(one, {}).get(name):
                self._unused.discard((one, name))
                return sentence
        raise LookupError(f"scripts/fields.toml has no sentence about {struct.__name__}.{name}")

    def see_that_all_were_used(self) -> None:
        """Complain about sentences that are about nothing.

        Raises:
            LookupError: there are some.
        """
        if self._unused:
            left = ", ".join(f"{one}.{name}" for one, name in sorted(self._unused))
            raise LookupError(f"scripts/fields.toml has sentences about what is not there: {left}")


def reference_page() -> str:
    """Return the page."""
    fields = Fields(tomllib.loads(SENTENCES.read_text("utf-8")))
    page = TEMPLATE.read_text("utf-8").format(
        operations=_overview(OPERATIONS),
        each_operation="\n\n".join(_operation(one, fields) for one in OPERATIONS),
        operations_of_agents=_overview(AGENTS),
        each_operation_of_agents="\n\n".join(_operation(one, fields) for one in AGENTS),
        operations_of_models=_overview(MODELS),
        each_operation_of_models="\n\n".join(_operation(one, fields) for one in MODELS),
        events="\n\n".join(_struct(kind, fields) for kind in get_args(events.Event)),
        entries="\n\n".join(_struct(kind, fields) for kind in get_args(entries.Entry)),
        chunks="\n\n".join(_struct(kind, fields) for kind in structs(content)),
        tools="\n\n".join(_struct(kind, fields) for kind in structs(tools)),
        arguments="\n\n".join(_struct(kind, fields) for kind in structs(completion)),
        answers="\n\n".join(_struct(kind, fields) for kind in (*structs(responses), *ABOUT_AGENTS)),
        outputs=_named(entries.OutputEntry),
        input_chunks=_named(content.InputChunk),
        output_chunks=_named(content.OutputChunk),
        max_depth=requests.MAX_DEPTH,
        errors=table(["class", "status", "code", "type", "when"], _errors()),
    )  # fmt: skip
    fields.see_that_all_were_used()
    return page


def structs(module: Any) -> Iterator[Struct]:
    """Yield the structs that a module declares, in order; bases that nobody sends are left out."""
    for thing in vars(module).values():
        declared = isinstance(thing, type) and issubclass(thing, msgspec.Struct) and thing.__module__ == module.__name__
        if declared and thing not in (entries.BaseEntry, events.BaseEvent):
            yield thing


def raised() -> Iterator[tuple[int, type[errors.CauserieError]]]:
    """Yield every error with its depth in the tree."""

    def below(kind: type[errors.CauserieError], depth: int) -> Iterator[tuple[int, type[errors.CauserieError]]]:
        yield depth, kind
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from below(child, depth + 1)

    yield from below(errors.CauserieError, 0)


def heading(struct: Struct) -> str:
    """Return the heading under which a type stands."""
    tag = struct.__struct_config__.tag
    return f"`{tag}`" if tag and struct.__module__ == events.__name__ else struct.__name__


def table(head: list[str], rows: Iterable[list[str]]) -> str:
    """Return a table in Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def _overview(operations: Iterable[Operation]) -> str:
    rows = [
        [", ".join(f"[`{name}`](#{_anchor(_title(one))})" for name in one.names), _request(one), one.summary]
        for one in operations
    ]
    return table(["operation", "request", "what it does"], rows)


def _operation(one: Operation, fields: Fields) -> str:
    ours = " An addition: the official SDK does not know it." if one.ours else ""
    also = f" `{one.also}` does the same." if one.also else ""
    parts = [f"### {_title(one)}", f"{_request(one)}: {one.summary}{also}{ours}"]
    if one.request not in (None, requests.Nothing):
        parts += [_where(one), _table_of(one.request, fields)]
    parts.append(f"Answers {one.status} with {_answers(one)}.")
    return "\n\n".join(parts)


def _where(one: Operation) -> str:
    if not one.in_query:
        return "In the body:"
    return "In the query:" if one.method in ("GET", "DELETE") else "In the query, or in the body:"


def _answers(one: Operation) -> str:
    streamed = f"[events](#events) that end in one of `{_last()}`"
    if one.stream == one.name:  # it has no other form
        return streamed
    return _answer(one.response) + (f"; with `stream` true, with {streamed}" if one.stream else "")


def _answer(kind: Any) -> str:
    # Not by msgspec: it does not describe the two kinds of conversation as one type, for they have no tag.
    if kind is None:
        return "nothing"
    if get_origin(kind) is list:
        return f"a list of {_answer(get_args(kind)[0])}"
    return " or ".join(f"[{one.__name__}](#{_anchor(heading(one))})" for one in get_args(kind) or (kind,))


def _last() -> str:
    return "`, `".join(str(kind.__struct_config__.tag) for kind in events.LAST_EVENTS)


def _struct(struct: Struct, fields: Fields) -> str:
    tag = struct.__struct_config__.tag
    what = (struct.__doc__ or "").strip()
    kind = f'`type`: `"{tag}"`. ' if tag else ""
    shown = _table_of(struct, fields)
    return "\n\n".join([f"### {heading(struct)}", f"{kind}{what}", *([shown] if shown else [])])


def _table_of(struct: Struct, fields: Fields) -> str:
    rows = [
        [f"`{field.name}`", _type(field.type), _default(field), fields.meaning(struct, field.name)]
        for field in inspect.type_info(struct).fields  # type: ignore[attr-defined]  # a struct has fields
    ]
    return table(["field", "type", "default", "meaning"], rows) if rows else ""


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    if field.default_factory is not msgspec.NODEFAULT:
        return f"`{msgspec.json.encode(field.default_factory()).decode()}`"
    return "absent" if field.default is msgspec.NODEFAULT else f"`{json.dumps(field.default)}`"


def _type(kind: Any) -> str:
    match kind:
        case inspect.Metadata():
            return _type(kind.type)
        case inspect.UnionType():
            return _union(list(kind.types))
        case inspect.ListType():
            return f"list of {_type(kind.item_type)}"
        case inspect.DictType():
            return "object" if isinstance(kind.value_type, inspect.AnyType) else f"object of {_type(kind.value_type)}"
        case inspect.StructType():
            return f"[{kind.cls.__name__}](#{_anchor(heading(kind.cls))})"
        case inspect.LiteralType():
            return ", ".join(f"`{json.dumps(value)}`" for value in kind.values)
        case inspect.IntType() | inspect.FloatType():
            return ("integer" if isinstance(kind, inspect.IntType) else "number") + _bounds(kind)
    return _PLAIN[type(kind)]


_PLAIN: dict[type, str] = {
    inspect.StrType: "text",
    inspect.BoolType: "boolean",
    inspect.NoneType: "null",
    inspect.DateTimeType: "time",
    inspect.AnyType: "anything",
}


def _union(kinds: list[Any]) -> str:
    of_structs = [kind for kind in kinds if isinstance(kind, inspect.StructType)]
    named = UNIONS.get(frozenset(kind.cls for kind in of_structs))
    if named:
        rest = [_type(kind) for kind in kinds if kind not in of_structs]
        null = ["null"] if "null" in rest else []
        return " or ".join([*(part for part in rest if part != "null"), named, *null])
    return " or ".join(_type(kind) for kind in kinds)


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f", {kind.ge} to {kind.le}"
    return f", from {kind.ge}" if kind.ge is not None else ""


def _errors() -> Iterator[list[str]]:
    for depth, kind in raised():
        name = f"{'· ' * depth}`{kind.__name__}`"
        sentence = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        if issubclass(kind, errors.APIError):
            yield [name, str(kind.status_code), str(kind.code), f"`{kind.type}`", sentence]
        else:
            yield [name, "", "", "", sentence]


def _title(one: Operation) -> str:
    return ", ".join(one.names)


def _request(one: Operation) -> str:
    return f"`{one.method} {one.path}`"


def _named(union: Any) -> str:
    return ", ".join(f"[`{kind.__struct_config__.tag}`](#{_anchor(heading(kind))})" for kind in get_args(union))


def _anchor(text: str) -> str:
    return re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
