"""What an operator can set, declared once: flags, variables, keys of ``causerie.toml`` and their page come from here.

Everything is checked before anything is opened; nothing here connects, binds or creates a file.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from causerie.errors import SettingsError
from causerie.setting import Discreet, Kind, check_values, nearest, overlaid, read, table_of

CONFIG = "causerie.toml"
CONFIG_VARIABLE = "CAUSERIE_CONFIG"
MEMORY = ":memory:"
DEFAULT_UPSTREAM = "default"
REHEARSAL = "rehearsal"

T = TypeVar("T", bound=msgspec.Struct)


Count = Annotated[int, Meta(ge=1), Kind("COUNT", "a whole number from 1 up")]
Bytes = Annotated[int, Meta(ge=1), Kind("BYTES", "a whole number of bytes from 1 up")]
Port = Annotated[int, Meta(ge=0, le=65535), Kind("PORT", "a whole number from 0 to 65535")]
Seconds = Annotated[float, Meta(gt=0), Kind("SECONDS", "a number above 0")]
# The official SDK gives up a stream that is silent for 30 seconds.
ShortSeconds = Annotated[float, Meta(gt=0, le=25), Kind("SECONDS", "a number above 0 and up to 25")]
Host = Annotated[str, Kind("HOST", "some text")]
Name = Annotated[str, Meta(min_length=1), Kind("NAME", "some text")]
Url = Annotated[str, Meta(min_length=1), Kind("URL", "some text")]
Key = Annotated[str, Meta(min_length=1), Kind("KEY", "some text", secret=True)]
Directory = Annotated[str, Meta(min_length=1), Kind("DIR", "some text", path=True)]
File = Annotated[str, Meta(min_length=1), Kind("FILE", "some text", path=True)]
Dialect = Annotated[Literal["openai", "mistral", "vllm"], Kind("NAME", "openai, mistral or vllm")]
OnDisconnect = Annotated[Literal["continue", "cancel"], Kind("WHAT", "continue or cancel")]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], Kind("LEVEL", "debug, info, warning or error")]


def _says(sentence: str) -> Meta:
    return Meta(description=sentence)


class UpstreamSettings(Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model server: a table ``[upstreams.NAME]``. Once checked, `api_key` holds what `api_key_env` names."""

    url: Annotated[Url, _says("Base URL of the model server, `/v1` included.")]
    api_key: Annotated[Key | None, _says("The key that it is asked with.")] = None
    api_key_env: Annotated[Name | None, _says("The variable that holds the key, instead of `api_key`.")] = None
    dialect: Annotated[Dialect, _says("Whose flavour of the API it speaks.")] = "openai"
    read_seconds: Annotated[Seconds, _says("How long it may be silent before it is given up.")] = 300.0

    def __post_init__(self) -> None:
        """Check the values and look the key up.

        Raises:
            SettingsError: one of them cannot be used.
        """
        check_values(self)
        force_setattr(self, "url", base_url(self.url, "url"))
        if self.api_key_env is not None:
            if self.api_key is not None:
                raise SettingsError("api_key and api_key_env are both given; one is enough")
            key = os.environ.get(self.api_key_env)
            if not key:
                raise SettingsError(f"api_key_env: there is no variable {self.api_key_env}, or it is empty")
            force_setattr(self, "api_key", key)
            force_setattr(self, "api_key_env", None)


class ModelRoute(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who answers for a model: an entry of ``[models]``."""

    upstream: Annotated[Name, _says("The NAME of an `[upstreams.NAME]`, or `default`, or `rehearsal`.")]
    name: Annotated[Name | None, _says("What that server calls the model, where that differs.")] = None

    @classmethod
    def parse(cls, text: str) -> ModelRoute:
        """Read the short form ``UPSTREAM`` or ``UPSTREAM/their-name``; their name may have slashes of its own."""
        upstream, _, name = text.partition("/")
        return cls(upstream=upstream, name=name or None)


class Settings(Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that can be set. Making one checks it; `load` makes one from flags, variables and a file.

    Raises:
        SettingsError: a value cannot be used, or does not fit the others.
    """

    host: Annotated[Host, _says("Address to listen on; only loopback until there are API keys.")] = "127.0.0.1"
    port: Annotated[Port, _says("Port to listen on; 0 takes a free one.")] = 8080
    data: Annotated[Directory, _says("Directory of the database; `:memory:` keeps nothing on disk.")] = "causerie-data"
    database_url: Annotated[Url | None, _says("PostgreSQL instead of `data`: refused, it comes later.")] = None
    upstream: Annotated[Url | None, _says("Base URL of an OpenAI-compatible server, `/v1` included.")] = None
    upstream_api_key: Annotated[Key | None, _says("The key that `upstream` is asked with; never a flag.")] = None
    upstream_read_seconds: Annotated[Seconds, _says("How long `upstream` may be silent before a 504.")] = 300.0
    dialect: Annotated[Dialect, _says("Whose flavour of the API `upstream` speaks.")] = "openai"
    model: Annotated[Name | None, _says("Model of a request that names neither model nor agent.")] = None
    rehearsal_script: Annotated[File | None, _says("What the rehearsal model plays; its own lines without one.")] = None
    max_body_bytes: Annotated[Bytes, _says("Longest request body; a longer one is a 413.")] = 32 * 1024 * 1024
    max_model_calls: Annotated[Count, _says("How often one run may call the model.")] = 32
    max_handoffs: Annotated[Count, _says("How often one run may be handed over between agents.")] = 16
    run_seconds: Annotated[Seconds, _says("How long one run may take.")] = 600.0
    max_tool_output_bytes: Annotated[Bytes, _says("Longest output of a tool that the server runs.")] = 1024 * 1024
    tool_seconds: Annotated[Seconds, _says("How long one call of a tool that the server runs may take.")] = 60.0
    keep_run_seconds: Annotated[Seconds, _says("How long the events of an ended run can be read piece by piece.")] = (
        300.0
    )
    on_disconnect: Annotated[OnDisconnect, _says("What a run does when its client leaves: `continue` or `cancel`.")] = (
        "continue"
    )
    keep_alive_seconds: Annotated[ShortSeconds, _says("Silence in a stream after which a comment is sent.")] = 10.0
    log_level: Annotated[LogLevel, _says("The least that is worth a log line.")] = "info"
    upstreams: Annotated[dict[str, UpstreamSettings], _says("More model servers, by a name of your own.")] = {}
    models: Annotated[dict[str, ModelRoute], _says("Which server answers for which model name.")] = {}

    def __post_init__(self) -> None:
        """Check the values, alone and together."""
        check_values(self)
        _check_host(self.host)
        if self.database_url is not None:
            raise SettingsError("database_url: PostgreSQL comes in a later version; until then, give data a directory")
        if self.upstream is not None:
            force_setattr(self, "upstream", base_url(self.upstream, "upstream"))
        _check_use(self)
        _check_routes(self)

    @property
    def servers(self) -> dict[str, UpstreamSettings]:
        """Every model server by name; the one of `upstream` is called ``default``."""
        if self.upstream is None:
            return self.upstreams
        default = UpstreamSettings(
            url=self.upstream,
            api_key=self.upstream_api_key,
            dialect=self.dialect,
            read_seconds=self.upstream_read_seconds,
        )
        return {DEFAULT_UPSTREAM: default, **self.upstreams}

    @property
    def rehearses(self) -> bool:
        """Whether the rehearsal model answers for every name that `models` does not map."""
        return not self.servers

    @property
    def default_model(self) -> str | None:
        """The model of a request that names none; None where such a request is refused."""
        return self.model or (REHEARSAL if self.rehearses else None)

    @property
    def database(self) -> str:
        """The path of the SQLite database, or ``:memory:``."""
        return MEMORY if self.data == MEMORY else str(Path(self.data) / "causerie.db")


def load(flags: Mapping[str, str | None] | None = None, config: str | None = None) -> Settings:
    """Return the settings from `flags` before variables before the file before defaults.

    Args:
        flags: what was given on the command line, by the setting's name; None where it was not.
        config: path of the file. Without one it is ``CAUSERIE_CONFIG``, else ``causerie.toml`` where that exists.

    Raises:
        SettingsError: something is unknown, unreadable, or cannot be used.
    """
    path = _path(config)
    return Settings(**overlaid(_from_file(path) if path else {}, SETTINGS, flags))


def load_table(name: str, kind: type[T], flags: Mapping[str, str | None], config: str | None = None) -> T:
    """Return the settings of one command, likewise; in the file they are the table ``[name]``.

    Raises:
        SettingsError: something is unknown, unreadable, or cannot be used.
    """
    path, table = _path(config), table_of(kind)
    given = read(_document(path).get(name, {}), table, f"{name}.", path) if path else {}
    return kind(**overlaid(given, table, flags))


def _path(config: str | None) -> Path | None:
    path = config or os.environ.get(CONFIG_VARIABLE) or (CONFIG if Path(CONFIG).exists() else None)
    return Path(path) if path else None


def _document(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def _from_file(path: Path) -> dict[str, Any]:
    document = _document(path)
    for command in _COMMANDS:
        document.pop(command, None)  # that command reads its table itself
    tables = {name: _tables(document.pop(name, {}), name, kind, path) for name, kind in _TABLES.items()}
    given = read(document, SETTINGS, "", path)
    for setting in SETTINGS:
        if setting.kind.path and given.get(setting.name, MEMORY) != MEMORY:
            given[setting.name] = str(path.parent / given[setting.name])
    return given | tables


def _tables(found: Any, name: str, kind: type[Any], path: Path) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise SettingsError(f"{name} in {path}: expected tables")
    made = {}
    for key, entry in found.items():
        if kind is ModelRoute and isinstance(entry, str):
            made[key] = ModelRoute.parse(entry)
            continue
        if not isinstance(entry, dict):
            raise SettingsError(f"{name}.{key} in {path}: expected a table, got {entry!r}")
        fields = read(entry, table_of(kind), f"{name}.{key}.", path)
        missing = [field.name for field in table_of(kind) if field.default is msgspec.NODEFAULT]
        if lacking := [field for field in missing if field not in fields]:
            raise SettingsError(f"{name}.{key} in {path}: {lacking[0]} is missing")
        try:
            made[key] = kind(**fields)
        except SettingsError as error:
            raise SettingsError(f"{name}.{key} in {path}: {error}") from error
    return made


def _check_host(host: str) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise SettingsError(
            f"host: {host} is not a loopback address. There are no API keys yet, so whoever reached the server could "
            "read every conversation: listen on 127.0.0.1 or ::1"
        )


def _check_use(settings: Settings) -> None:
    """Refuse what would never be used. A key may lie unused in the environment; that is nobody's mistake."""
    for setting in SETTINGS:
        given = getattr(settings, setting.name) != setting.default
        if settings.upstream is None and setting.name in {"dialect", "upstream_read_seconds"} and given:
            raise SettingsError(f"{setting.name}: it is about `upstream`, which is not set")
    rehearsed = settings.rehearses or any(route.upstream == REHEARSAL for route in settings.models.values())
    if settings.rehearsal_script and not rehearsed:
        raise SettingsError("rehearsal_script: an upstream answers, so the rehearsal model would never play it")


def _check_routes(settings: Settings) -> None:
    for reserved in (DEFAULT_UPSTREAM, REHEARSAL):
        if reserved in settings.upstreams:
            raise SettingsError(f"upstreams.{reserved}: this name has a meaning of its own; choose another")
    known = {*settings.servers, REHEARSAL}
    for model, route in settings.models.items():
        if route.upstream not in known:
            hint = nearest(route.upstream, known)
            raise SettingsError(f"models.{model}: there is no upstream called {route.upstream!r}. {hint}")
    used = {route.upstream for route in settings.models.values()}
    if unused := sorted(settings.upstreams.keys() - used):
        raise SettingsError(f"upstreams.{unused[0]}: no entry of models leads to it, so it would never be asked")


def base_url(url: str, where: str, example: str = "http://127.0.0.1:8000/v1") -> str:
    """Return a base URL without the slash at its end.

    Raises:
        SettingsError: it is none, or holds a password.
    """
    parts = _parse_url(url)
    if parts is None:
        raise SettingsError(f"{where}: expected a base URL such as {example}, got {url!r}")
    if parts.username or parts.password:
        raise SettingsError(f"{where}: a URL is shown and logged, so leave the password for {parts.hostname} out of it")
    return url.rstrip("/")


def _parse_url(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not parts.fragment
    except ValueError:  # of a bracket that is not closed, or a port that is none
        return None
    return parts if usable else None


_COMMANDS = ("chat",)
_TABLES: dict[str, type[Any]] = {"upstreams": UpstreamSettings, "models": ModelRoute}
SETTINGS = table_of(Settings)
