"""Requests as values: what an operation asks for, and how that becomes bytes. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from functools import cache
from typing import Any, Generic, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from causerie.types.base import UNSET, UnsetType, dumped
from causerie.types.entries import Entry
from causerie.types.operations import BY_KEY

from .retries import RetryConfig
from .unknown import Reading

R_co = TypeVar("R_co", covariant=True)

Inputs = str | Iterable[Entry | Mapping[str, Any]]
"""What a conversation is given: text, or entries as objects or plain dicts."""

Retries = RetryConfig | None | UnsetType


class Options(NamedTuple):
    """What every operation can be told besides its own parameters."""

    retries: Retries = UNSET
    server_url: str | None = None
    timeout_ms: int | None = None
    http_headers: Mapping[str, str] | None = None

    def retrying(self, otherwise: Retries) -> RetryConfig | None:
        """Return how the call is made again: as it says, else as its client does."""
        chosen = otherwise if self.retries is UNSET else self.retries
        return chosen if isinstance(chosen, RetryConfig) else None

    def seconds(self, otherwise: int | None) -> float | None:
        """Return the longest wait: as the call says, else as its client does in milliseconds."""
        milliseconds = otherwise if self.timeout_ms is None else self.timeout_ms
        return None if milliseconds is None else milliseconds / 1000


class Call(Generic[R_co]):
    """One call of one operation."""

    def __init__(
        self,
        key: str,
        options: Options,
        *,
        path: Mapping[str, str] | None = None,
        body: dict[str, Any] | None = None,
        query: dict[str, Any] | None = None,
        follows: tuple[str, str, str | None] | None = None,
    ) -> None:
        """Describe it.

        Args:
            key: the operation's name in the table, such as ``conversations.start``.
            options: what the caller wants besides.
            path: what stands for the names in the operation's path.
            body: the members of the body; those that are `UNSET` are not sent.
            query: likewise, of the query.
            follows: of a stream that goes on: its conversation, its run, and the last event that is known.
        """
        self.operation, self.options = BY_KEY[key], options
        self.parts = dict(path or {})
        self.path = filled(self.operation.path, **self.parts)
        self.answer: Reading[R_co] | None = _reading(self.operation.response)
        self.body = None if body is None else _given(body)
        self.query = _given(query or {})
        self.follows = follows
        self.begins = self.operation.stream is not None and body is not None  # a run, which can be asked for again

    @property
    def leaves_a_trace(self) -> bool:
        """Whether a server can tell, should the call come again, that it came before: not with ``store=False``."""
        return self.begins and (self.body or {}).get("store") is not False

    def behind(self, token: str) -> Self:
        """Return the same call for the page that a token leads to."""
        following = copy(self)
        following.query = self.query | {"page_token": token}
        return following

    def target(self, base: str) -> str:
        """Return the URL at the server `base`."""
        return f"{base.rstrip('/')}{self.path}{'?' if self.query else ''}{self.asked}"

    @property
    def asked(self) -> str:
        """The query, as it stands in a URL."""
        return urlencode(self.query, doseq=True)

    def content(self, *, stream: bool) -> bytes | None:
        """Return the body as JSON."""
        if self.body is None:
            return None
        return msgspec.json.encode(self.body | ({"stream": stream} if self.begins else {}), enc_hook=_plain)


@cache
def _reading(kind: Any) -> Reading[Any] | None:
    return None if kind is None else Reading(kind)


def filled(path: str, **parts: Any) -> str:
    """Fill in a path; what is filled in cannot reach out of its segment.

    Raises:
        TypeError: a part is no text.
    """
    for name, part in parts.items():
        if not isinstance(part, str):
            raise TypeError(f"{name} is text, not {part!r}.")
    return path.format(**{name: _DOTS.get(part) or quote(part, safe="") for name, part in parts.items()})


_DOTS = {".": "%2E", "..": "%2E%2E"}
"""The names that an HTTP client would take for a way to another path."""


def present(value: Any) -> Any:
    """Return `value`, or `UNSET` for a None that the API does not know there."""
    return UNSET if value is None else value


def query_json(value: Mapping[str, Any] | None | UnsetType) -> str | UnsetType:
    """Return an object as a query carries it (PROTOCOL §2.7)."""
    return msgspec.json.encode(value, enc_hook=_plain).decode() if value else UNSET


def query_flag(value: bool | None | UnsetType) -> str | UnsetType:  # it is no switch of this function
    """Return a flag as a query carries it."""
    return UNSET if value is None or value is UNSET else str(value).lower()


def _given(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not UNSET}


def _plain(thing: Any) -> Any:
    """Return what JSON can hold for a thing that it cannot: an iterable, a mapping, a model of another library."""
    if isinstance(thing, Mapping):
        return dict(thing)
    if isinstance(thing, Iterable) and not hasattr(thing, "model_dump"):  # pydantic's models can be iterated too
        return list(thing)
    return dumped(thing)
