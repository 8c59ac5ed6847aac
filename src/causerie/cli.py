"""The command line: reads what was asked for, hands it to `build`, and says in one line what went wrong.

No setting is declared here: flags come from the table in `settings`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from causerie import build
from causerie.errors import CauserieError
from causerie.settings import CONFIG, CONFIG_VARIABLE, SETTINGS, Setting, Settings, load
from causerie.version import VERSION

REFUSED = 2
INTERRUPTED = 130

_SERVE = f"""Serve the Conversations API over HTTP.

\b
Without an upstream the rehearsal model answers, without key or network:
    causerie serve
On a model server, with a model for requests that name none:
    causerie serve --upstream http://127.0.0.1:8000/v1 --model mistral-small
Then, in Python, with the official SDK:
    Mistral(api_key="local", server_url="http://127.0.0.1:8080")

Every flag is also a variable (--port is CAUSERIE_PORT) and a key of {CONFIG} (port = 8080). A flag outweighs a
variable, a variable outweighs the file. The key of the upstream is not a flag: CAUSERIE_UPSTREAM_API_KEY, or the file.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: with 0, or with 2 and one line on stderr that says why not."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        causerie.main(arguments, prog_name="causerie", standalone_mode=False)
    except click.ClickException as error:
        return _refuse(error.format_message())
    except CauserieError as error:
        return _refuse(error.message)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return 0


def _refuse(message: str) -> int:
    click.echo(f"causerie: {message}", err=True)
    return REFUSED


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="causerie %(version)s")
@click.pass_context
def causerie(context: click.Context) -> None:
    """Causerie: the Conversations API on your own machine."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _flags(command: Callable[..., None]) -> Callable[..., None]:
    # Click lists options in the order of the table when they are applied from its end.
    for setting in reversed(SETTINGS):
        if setting.flag:
            command = _option(setting, setting.flag)(command)
    return command


def _option(setting: Setting, flag: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    known = f" [{setting.default}]" if setting.default is not None else ""
    # Values stay text: flags and variables are then read, and refused, by the same code with the same words.
    return click.option(flag, setting.name, metavar=setting.kind.metavar, help=setting.sentence + known)


@causerie.command(help=_SERVE, context_settings={"max_content_width": 100})
@click.option("--config", metavar="FILE", help=f"The file. [{CONFIG_VARIABLE}, else {CONFIG} if there is one]")
@_flags
def serve(config: str | None, **flags: Any) -> None:
    """Read the settings and serve until told to stop."""
    settings = load(flags, config)
    try:
        build.serve(settings)
    except OSError as error:
        raise click.ClickException(_sentence(error, settings)) from error


def _sentence(error: OSError, settings: Settings) -> str:
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    hint = "choose another with --port, or let --port 0 take a free one"
    return f"cannot listen on {settings.host}:{settings.port} ({os.strerror(error.errno or 0)}): {hint}"
