"""What `causerie chat` can be told: settings of its own, and those of the server that hold for it in process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from msgspec import Meta
from msgspec.structs import force_setattr, replace

from causerie.errors import SettingsError
from causerie.setting import Discreet, Kind, check_values, table_of
from causerie.settings import SETTINGS, Key, Url, base_url, load_table

Id = Annotated[str, Meta(min_length=1), Kind("ID", "some text")]
Text = Annotated[str, Meta(min_length=1), Kind("TEXT", "some text")]


class ChatSettings(Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where to talk, with whom and about what; in the file, the table ``[chat]``.

    Raises:
        SettingsError: a value cannot be used.
    """

    url: Annotated[Url | None, Meta(description="Server to talk to; without one, all happens in this process.")] = None
    api_key: Annotated[Key | None, Meta(description="The key that `url` is asked with; never a flag.")] = None
    conversation: Annotated[Id | None, Meta(description="Id of the conversation to go on with.")] = None
    agent: Annotated[Id | None, Meta(description="Id of the agent to talk to, instead of a model.")] = None
    instructions: Annotated[Text | None, Meta(description="What the model is told before anybody speaks.")] = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_values(self)
        if self.url is not None:
            # Whoever comes from a model server's address has it end in /v1.
            force_setattr(self, "url", base_url(self.url, "url", "http://127.0.0.1:8080").removesuffix("/v1"))


CHAT = table_of(ChatSettings)
IN_PROCESS = tuple(
    setting
    for setting in SETTINGS
    if setting.name in {"data", "upstream", "upstream_read_seconds", "dialect", "rehearsal_script"}
)
EVERYWHERE = tuple(setting for setting in SETTINGS if setting.name == "model")


def options_of(flags: Mapping[str, str | None], config: str | None) -> ChatSettings:
    """Return the settings of a chat. A flag about this process outweighs a URL that no flag gave.

    Raises:
        SettingsError: something is unknown, unreadable, cannot be used, or contradicts something else.
    """
    options = load_table("chat", ChatSettings, flags, config)
    here = [setting.flag for setting in IN_PROCESS if flags[setting.name] is not None]
    if not here:
        return options
    if flags["url"] is not None:
        raise SettingsError(
            f"{here[0]} is about a conversation in this process, --url about a server: give one of them"
        )
    return replace(options, url=None)
