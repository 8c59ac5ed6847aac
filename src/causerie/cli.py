"""The command line: reads what was asked for, hands it to `build` and `serving`, and says in one line what went wrong.

No setting is declared here: flags come from the table in `settings`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click

from causerie.apart import without
from causerie.chat.options import CHAT, EVERYWHERE, IN_PROCESS, options_of
from causerie.errors import CauserieError
from causerie.setting import Setting
from causerie.settings import CONFIG, CONFIG_VARIABLE, SETTINGS, Settings, load
from causerie.version import VERSION

with without("rich"):  # structlog takes it where it finds it, to draw tracebacks that nobody asks a server for
    from causerie import build, serving

FAULTY = 1
REFUSED = 2
INTERRUPTED = 130
Do = Callable[..., Any]
_WIDE = {"max_content_width": 100}

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


_CHAT = f"""Hold a conversation in the terminal.

\b
In this process, with the settings of `causerie serve`, kept in the same place:
    causerie chat
    causerie chat --upstream http://127.0.0.1:8000/v1 --model mistral-small
With a server:
    causerie chat --url http://127.0.0.1:8080
One message and its answer, for scripts; exit code 1 if there is none, 130 after Ctrl-C:
    causerie chat -m "What is on @picture.png?"
    git diff | causerie chat --instructions "Review this."
Going on with what is stored:
    causerie chat --list
    causerie chat --conversation conv_...

In the conversation, /help lists the commands: /restart branches, /retry asks for another answer. @FILE attaches an
image, Ctrl-C ends an answer and keeps what was said. On a terminal answers are rendered; in a pipe, standard output
has their text and nothing else.

Every flag but --message and --list is also a variable (--url is CAUSERIE_URL) and a key of {CONFIG}: those of the chat
stand in its table [chat]. The key of the server is CAUSERIE_API_KEY.
"""
_CHECK = """Verify a database: a FILE, or the one in a data directory DIR.

\b
    causerie check causerie-data

It only reads, and a server may go on beside it. It sees that the file is whole, and that what is stored makes sense,
entry by entry. It prints a line for each fault and exits with 1; with 0 where there is none, with 2 where nothing can
be read.
"""
_BACKUP = """Copy a database, also while it is used.

SOURCE and TARGET are files, or directories that have or get one:

\b
    causerie backup causerie-data backups/monday.db

The copy is the state of one moment. It is on disk, and verified as `causerie check` does it, before it gets its name.
Where that finds faults the copy is left as TARGET.partial, and the exit code is 1.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: with 0, with 1 if a database has faults, with 2 and one line that says why not."""
    sys.exit(_run(arguments))


def _run(arguments: Sequence[str] | None) -> int:
    try:
        code = causerie.main(arguments, prog_name="causerie", standalone_mode=False)
    except click.UsageError as error:
        return _refuse(_with_help(error))
    except click.ClickException as error:
        return _refuse(error.format_message())
    except CauserieError as error:
        return _refuse(error.message)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    return code if isinstance(code, int) else 0


def _with_help(error: click.UsageError) -> str:
    where = f" `{error.ctx.command_path} --help` says what there is." if error.ctx else ""
    return error.format_message() + where


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


def _flags(*settings: Setting) -> Callable[[Do], Do]:
    def flagged(command: Do) -> Do:
        # Click lists options in the order of the table when they are applied from its end.
        for setting in reversed(settings):
            if setting.flag:
                command = _option(setting, setting.flag)(command)
        return command

    return flagged


def _option(setting: Setting, flag: str) -> Callable[[Do], Do]:
    known = f" [{setting.default}]" if setting.default is not None else ""
    # Values stay text: flags and variables are then read, and refused, by the same code with the same words.
    return click.option(flag, setting.name, metavar=setting.kind.metavar, help=setting.sentence + known)


_config = click.option(
    "--config", metavar="FILE", help=f"File of settings. [{CONFIG_VARIABLE}, else {CONFIG} if there is one]"
)


@causerie.command(help=_SERVE, context_settings=_WIDE)
@_config
@_flags(*SETTINGS)
def serve(config: str | None, **flags: Any) -> None:
    """Read the settings and serve until told to stop."""
    settings = load(flags, config)
    try:
        serving.serve(settings)
    except OSError as error:
        raise click.ClickException(_sentence(error, settings)) from error


@causerie.command(help=_CHAT, context_settings=_WIDE)
@click.option("-m", "--message", metavar="TEXT", help="Say this, show the answer, and leave.")
@click.option("--list", "listed", is_flag=True, help="List the newest conversations, and leave.")
@_config
@_flags(*CHAT, *EVERYWHERE, *IN_PROCESS)
def chat(config: str | None, message: str | None, *, listed: bool, **flags: Any) -> int:
    """Hold a conversation."""
    # What draws on terminals costs a server nothing.
    from causerie.chat import command  # noqa: PLC0415

    return command.run(load(flags, config), options_of(flags, config), message, listed=listed)


@causerie.command(help=_CHECK, context_settings=_WIDE)
@click.argument("place", metavar="FILE|DIR")
def check(place: str) -> int:
    """Verify a database."""
    findings = build.check(place, _tell)
    return _report(findings.faults, str(findings))


@causerie.command(help=_BACKUP, context_settings=_WIDE)
@click.argument("source")
@click.argument("target")
@click.option("--force", is_flag=True, help="Replace TARGET if it is there.")
def backup(source: str, target: str, *, force: bool) -> int:
    """Copy a database."""
    began = time.monotonic()
    made = build.back_up(source, target, force=force, told=_tell)
    click.echo(f"{made.file}: {made.size / 1e6:,.1f} MB in {time.monotonic() - began:.1f} s")
    return _report(made.findings.faults, str(made.findings))


def _report(faults: Sequence[object], summary: str) -> int:
    for fault in faults:
        click.echo(str(fault))
    click.echo(summary, err=bool(faults))
    return FAULTY if faults else 0


def _tell(text: str) -> None:
    click.echo(text, err=True)


def _sentence(error: OSError, settings: Settings) -> str:
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    hint = "choose another with --port, or let --port 0 take a free one"
    return f"cannot listen on {settings.host}:{settings.port} ({os.strerror(error.errno or 0)}): {hint}"
