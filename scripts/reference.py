"""Writes the pages that come from the code: ``make docs``. With ``--check`` it only says which are not fresh."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from causerie.chat.options import CHAT, EVERYWHERE, IN_PROCESS
from causerie.setting import Setting, table_of
from causerie.settings import SETTINGS, ModelRoute, UpstreamSettings
from scripts.api import reference_page, table

PAGES = Path(__file__).resolve().parent.parent / "docs"

_SETTINGS = """# Settings

<!-- Written by `make docs` from src/causerie/settings.py. -->

Each setting is a flag of `causerie serve`, an environment variable and a key of `causerie.toml`. A flag outweighs a
variable, a variable outweighs the file, and the file outweighs the default. An empty variable counts as not set. The
file is the one of `--config`, else of `CAUSERIE_CONFIG`, else `causerie.toml` in the current directory where there is
one; paths in it are relative to it. An unknown key or a value of the wrong kind is refused.

{settings}

## Of `causerie chat`

A conversation in this process works with the settings above. Flags are only
{in_process} and {everywhere}; the others come from variables and
the file. With `--url` only {everywhere} counts of them. These are the chat's own; their keys stand in the table
`[chat]`:

{chat}

`--message` (`-m`) and `--list` say what to do, once; they are flags only.

## More than one model server

Names of models can lead to different servers. Only the file can say so:

```toml
[upstreams.local]
url = "http://127.0.0.1:8000/v1"

[upstreams.mistral]
url = "https://api.mistral.ai/v1"
api_key_env = "MISTRAL_API_KEY"
dialect = "mistral"

[models]
small = "local"                                        # the same name over there
large = "mistral/mistral-large-latest"                 # another name over there
coder = {{ upstream = "local", name = "Qwen/Qwen3-Coder" }}
```

What `models` does not map goes to `upstream`, which is called `default` there; without one, such a name is refused.
With no model server at all, `rehearsal` answers to every name.

Keys of a table `[upstreams.NAME]`:

{upstream}

Keys of an entry of `[models]`, when it is a table:

{model}
"""


def settings_page() -> str:
    """Return the page about settings."""
    return _SETTINGS.format(
        settings=table(
            ["key", "flag", "variable", "default", "meaning"],
            [[_code(s.name), _code(s.flag), _code(s.variable), _default(s), s.sentence] for s in SETTINGS],
        ),
        chat=table(
            ["key", "flag", "variable", "meaning"],
            [[_code(s.name), _code(s.flag), _code(s.variable), s.sentence] for s in CHAT],
        ),
        in_process=", ".join(_code(s.flag) for s in IN_PROCESS),
        everywhere=" and ".join(_code(s.flag) for s in EVERYWHERE),
        upstream=_keys(table_of(UpstreamSettings)),
        model=_keys(table_of(ModelRoute)),
    )


def pages() -> dict[str, str]:
    """Return every page that comes from the code, by the name of its file."""
    return {"reference.md": reference_page(), "settings.md": settings_page()}


def stale(folder: Path) -> list[str]:
    """Return the names of the pages in `folder` that are not what the code says."""
    return [
        name
        for name, text in pages().items()
        if not (folder / name).exists() or (folder / name).read_text("utf-8") != text
    ]


def main(arguments: list[str], folder: Path = PAGES) -> int:
    """Write the pages into `folder`, or check them; return the exit code."""
    if arguments == ["--check"]:
        for name in (found := stale(folder)):
            print(f"{name} is not fresh: make docs writes it", file=sys.stderr)
        return 1 if found else 0
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


def _keys(settings: tuple[Setting, ...]) -> str:
    return table(["key", "default", "meaning"], [[_code(s.name), _default(s), s.sentence] for s in settings])


def _code(text: str | None) -> str:
    return f"`{text}`" if text else ""


def _default(setting: Setting) -> str:
    return "" if setting.default in {None, msgspec.NODEFAULT} else _code(str(setting.default))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
