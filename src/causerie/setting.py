"""What a setting is: its names, its kind and its sentence, read off the struct that declares it, and how it is read.

Which settings there are is not known here.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
from msgspec import Meta

from causerie.errors import SettingsError


class Kind(NamedTuple):
    """A kind of value: how help calls it, what an error asks for, whether it is a path, whether it is never shown."""

    metavar: str
    wants: str
    path: bool = False
    secret: bool = False


class Discreet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that never print the keys among them."""

    def __repr__(self) -> str:
        """Show every field, keys as dots."""
        return f"{type(self).__name__}({', '.join(self._shown())})"

    def _shown(self) -> Iterator[str]:
        for setting in table_of(type(self)):
            value = getattr(self, setting.name)
            yield f"{setting.name}={'...' if setting.kind.secret and value else repr(value)}"


class Setting(NamedTuple):
    """One setting, for whoever lists, documents or reads them."""

    name: str
    type: Any
    default: Any
    sentence: str
    kind: Kind

    @property
    def is_table(self) -> bool:
        """Whether it is a table of tables, which only a file can say."""
        return self.kind.metavar == ""

    @property
    def flag(self) -> str | None:
        """Its flag. A key has none: command lines are visible to everybody on the machine."""
        return None if self.is_table or self.kind.secret else "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str | None:
        """Its environment variable."""
        return None if self.is_table else "CAUSERIE_" + self.name.upper()


def table_of(struct: type[msgspec.Struct]) -> tuple[Setting, ...]:
    """Return what can be set in `struct`, in the order in which it is declared."""
    return tuple(_setting(field) for field in msgspec.structs.fields(struct))


def read(table: dict[str, Any], settings: tuple[Setting, ...], prefix: str, path: Path) -> dict[str, Any]:
    """Return the values of a table of the file `path`, each fitted; `prefix` is how messages call the table.

    Raises:
        SettingsError: it has a key that nobody knows, or a value of the wrong kind.
    """
    known = {setting.name: setting for setting in settings}
    for key in table:
        if key not in known:
            raise SettingsError(f"{prefix}{key} in {path}: there is no such key. {nearest(key, known)}")
    return {key: fit(value, known[key], f"{prefix}{key} in {path}") for key, value in table.items()}


def fit(value: Any, setting: Setting, where: str, *, strict: bool = True) -> Any:
    """Return `value` as what the setting is; unless it is strict, text is read as such.

    Raises:
        SettingsError: it is no such thing. It is said to stand at `where`.
    """
    try:
        return msgspec.convert(value, setting.type, strict=strict)
    except msgspec.ValidationError as error:
        got = "something else" if setting.kind.secret or setting.is_table else repr(value)
        raise SettingsError(f"{where}: expected {setting.kind.wants}, got {got}") from error


def overlaid(
    given: dict[str, Any], settings: tuple[Setting, ...], flags: Mapping[str, str | None] | None
) -> dict[str, Any]:
    """Return what the file gave with variables over it, and flags over those.

    Raises:
        SettingsError: one of them is not of its kind.
    """
    for setting in settings:
        # An empty variable is how compose files and shells write "not set".
        if setting.variable and (text := os.environ.get(setting.variable)):
            given[setting.name] = fit(text, setting, setting.variable, strict=False)
        if flags and (text := flags.get(setting.name)) is not None:
            given[setting.name] = fit(text, setting, str(setting.flag), strict=False)
    return given


def check_values(struct: msgspec.Struct) -> None:
    """See that every value is of its kind.

    Raises:
        SettingsError: one is not.
    """
    for setting in table_of(type(struct)):
        fit(getattr(struct, setting.name), setting, setting.name)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a sentence that names the known word that is nearest, or all of them."""
    close = difflib.get_close_matches(word.replace("-", "_"), list(known), n=1)
    return f"Did you mean {close[0]}?" if close else f"There is: {', '.join(sorted(known))}."


def _setting(field: msgspec.structs.FieldInfo) -> Setting:
    sentence = next(part.description for part in _parts(field.type) if isinstance(part, Meta) and part.description)
    kind = next((part for part in _parts(field.type) if isinstance(part, Kind)), Kind("", "tables"))
    return Setting(field.name, field.type, field.default, sentence, kind)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)
