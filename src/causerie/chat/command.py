"""`causerie chat`: from settings to a client, a screen and a person, and from what happens to an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from causerie import Causerie
from causerie.client import Mistral
from causerie.errors import APIError, CauserieError, ConnectionFailed, SettingsError, StoreInUse
from causerie.settings import MEMORY, Settings

from .attach import inputs_of
from .chat import Chat
from .commands import COMMANDS, Left, go_on, listing, obey
from .options import ChatSettings
from .person import Keyboard
from .rich_screen import RichScreen
from .screen import PlainScreen, Screen
from .session import Inputs, Session

FAILED = 1
INTERRUPTED = 130


def run(settings: Settings, options: ChatSettings, message: str | None, *, listed: bool) -> int:
    """Hold a conversation; return the exit code: 1 where an answer failed, 130 where it was interrupted.

    Args:
        settings: those of the engine, for a conversation in this process; of the model for any.
        options: those of the chat.
        message: the one thing to say; None lets a person speak, or standard input where it is no terminal.
        listed: list conversations instead.

    Raises:
        CauserieError: it cannot even begin.
    """
    inputs = None if listed else _said(message)
    client = _client(settings, options)
    try:
        with client:
            session = Session(client, _opening(settings, options))
            if listed:
                return _list(session)
            if inputs is not None:
                session.conversation_id = options.conversation
                return _once(Chat(session, _screen(), None), inputs)
            return _talk(session, options, _place(settings, options))
    except (APIError, ConnectionFailed) as error:
        _screen().error(str(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the answer has left. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _client(settings: Settings, options: ChatSettings) -> Mistral | Causerie:
    if options.url is not None:
        return Mistral(api_key=options.api_key, server_url=options.url)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")  # what goes wrong is shown anyway, but for defects
    try:
        return Causerie(settings=settings)
    except StoreInUse as error:
        raise StoreInUse(f"{error.message} Where that is a server, --url talks to it.") from error


def _place(settings: Settings, options: ChatSettings) -> str:
    if options.url is not None:
        return options.url
    return "nothing is kept" if settings.data == MEMORY else f"kept in {settings.data}"


def _said(message: str | None) -> Inputs | None:
    """Return what is to be said; None where a person is going to speak."""
    if message is None and sys.stdin.isatty():
        return None
    # What comes through a pipe is data: an @ in it names nothing.
    inputs = sys.stdin.read() if message is None else inputs_of(message)
    if not inputs or (isinstance(inputs, str) and not inputs.strip()):
        raise SettingsError("There is nothing to say. Give --message TEXT, or write it to standard input.")
    return inputs


def _list(session: Session) -> int:
    screen = _screen() if sys.stdout.isatty() else PlainScreen(sys.stdout, sys.stdout)
    screen.rows(listing(session))
    return 0


def _opening(settings: Settings, options: ChatSettings) -> Mapping[str, Any]:
    partner = {"agent_id": options.agent} if options.agent else {"model": settings.model}
    return {name: value for name, value in {**partner, "instructions": options.instructions}.items() if value}


def _once(chat: Chat, inputs: Inputs) -> int:
    chat.say(inputs)
    if chat.session.calls:
        going_on = f"causerie chat --conversation {chat.session.conversation_id}"
        asks = any(call.confirmation_status == "pending" for call in chat.session.calls)
        what = "your word is waited for; give it" if asks else "results are waited for; give them"
        chat.screen.error(f"{what} with {going_on}")
        return FAILED
    return INTERRUPTED if chat.session.cancelled else 0


def _talk(session: Session, options: ChatSettings, place: str) -> int:
    person = Keyboard([one.name for one in COMMANDS])
    chat = Chat(session, _screen(), person)
    chat.screen.note(f"{place}; /help says what there is, Ctrl-D leaves")
    if options.conversation is not None:
        go_on(chat, options.conversation)
    warned = False
    while True:
        try:
            text = person.ask("> ").strip()
            warned = False
            if text:
                _obey(chat, text)
        except (EOFError, Left):
            return 0
        except KeyboardInterrupt:
            if warned:
                return 0
            warned = True
            chat.screen.note("Ctrl-C once more, Ctrl-D or /quit leaves")


def _obey(chat: Chat, text: str) -> None:
    try:
        obey(chat, text)
    except CauserieError as error:
        chat.screen.error(str(error))
    except KeyboardInterrupt:
        chat.screen.note("no longer waited for; the server may go on with it")


def _screen() -> Screen:
    simple = os.environ.get("TERM", "dumb") in {"", "dumb", "unknown"}
    return PlainScreen(sys.stdout, sys.stderr) if simple or not sys.stdout.isatty() else RichScreen()
