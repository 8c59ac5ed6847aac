"""What begins with a slash: the commands of a chat, in one table that help is made from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from causerie.errors import BadRequest

from . import words
from .attach import inputs_of
from .chat import Chat
from .session import Session
from .words import Row

LINE = 70


class Left(Exception):
    """The person said good-bye."""


class Command(NamedTuple):
    """One command: its name, what follows it, what it does in a sentence, and the doing."""

    name: str
    takes: str
    sentence: str
    do: Callable[[Chat, str], None]


def obey(chat: Chat, text: str) -> None:
    """Do what `text` says: a command, or something to say; ``//`` says what begins with a slash.

    Raises:
        CauserieError: it cannot be done.
        Left: it was /quit.
    """
    if not text.startswith("/") or text.startswith("//"):
        chat.say(inputs_of(text[1:] if text.startswith("//") else text))
        return
    name, _, rest = text.partition(" ")
    command = next((one for one in COMMANDS if one.name == name), None)
    if command is None:
        raise BadRequest(f"There is no {name}; /help lists what there is. To say it, write /{name}.")
    command.do(chat, rest.strip())


def _help(chat: Chat, _: str) -> None:
    chat.screen.rows([Row("", f"{one.name} {one.takes}".rstrip(), one.sentence) for one in COMMANDS])
    chat.screen.rows([
        Row("", "@FILE", 'attaches an image, anywhere in a message; @"two words.png" has a space, @@ is a literal @'),
        Row("", "\\ at the end", "goes on in another line"),
        Row("", "Ctrl-C", "ends an answer and keeps what was said; twice at the prompt, or Ctrl-D, leaves"),
    ])  # fmt: skip


def _history(chat: Chat, _: str) -> None:
    chat.screen.rows(_rows(chat.session.entries()))


def _list(chat: Chat, _: str) -> None:
    chat.screen.rows(listing(chat.session))


def listing(session: Session) -> list[Row]:
    """Return the newest conversations as rows."""
    return [words.listed(number, one) for number, one in enumerate(session.recent(), 1)]


def _open(chat: Chat, rest: str) -> None:
    if rest.isdigit():
        recent = chat.session.recent()
        rest = recent[_number(rest, len(recent), "conversations") - 1].id
    if not rest:
        raise BadRequest("Say which: /open NUMBER of /list, or /open ID.")
    go_on(chat, rest)


def go_on(chat: Chat, conversation_id: str) -> None:
    """Go on with a stored conversation, and show where it stands."""
    entity = chat.session.open(conversation_id)
    chat.shown = entity.id
    entries = chat.session.entries()
    chat.screen.note(f"{entity.id}, with {words.partner(entity)}, {len(entries)} entries so far")
    chat.screen.rows(_rows(entries)[-2:])
    chat.answer()


def _new(chat: Chat, rest: str) -> None:
    chat.session.new()
    if rest:
        chat.say(inputs_of(rest))
    else:
        chat.screen.note("a new conversation")


def _restart(chat: Chat, rest: str) -> None:
    entries = chat.session.entries()
    if not entries:
        raise BadRequest("Nothing was said yet.")
    number, _, text = rest.partition(" ")
    if not number:
        try:
            number, text = _choose(chat, entries)
        except (EOFError, KeyboardInterrupt):
            chat.screen.note("no branch; the conversation is where it was")
            return
    at = _number(number, len(entries), "entries")
    chat.show(chat.session.branch(entries, at, inputs_of(text.strip()) if text.strip() else None))


def _choose(chat: Chat, entries: Sequence[Any]) -> tuple[str, str]:
    if chat.person is None:
        raise BadRequest("Say from where: /restart NUMBER of /history.")
    chat.screen.rows([row._replace(text=words.excerpt(row.text, LINE)) for row in _rows(entries)])
    number = chat.person.ask("branch at which entry? ").strip()
    _number(number, len(entries), "entries")
    return number, chat.person.ask("and say (nothing: answer again): ")


def _retry(chat: Chat, _: str) -> None:
    chat.show(chat.session.again())


def _results(chat: Chat, _: str) -> None:
    if not chat.session.calls:
        raise BadRequest("No call waits for an answer.")
    chat.answer()


def _quit(_: Chat, __: str) -> None:
    raise Left


def _rows(entries: Sequence[Any]) -> list[Row]:
    return [words.row(number, entry) for number, entry in enumerate(entries, 1)]


def _number(text: str, highest: int, what: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= highest:
        raise BadRequest(f"There is no number {text!r}: {what} go from 1 to {highest}.")
    return int(text)


COMMANDS = (
    Command("/help", "", "this list", _help),
    Command("/history", "", "all entries of the conversation, with their numbers", _history),
    Command("/list", "", "the newest conversations, with their numbers", _list),
    Command("/new", "[TEXT]", "begins a conversation like this one", _new),
    Command("/open", "NUMBER|ID", "goes on with a conversation of /list", _open),
    Command("/restart", "[NUMBER [TEXT]]",
            "branches: says TEXT after entry NUMBER, or instead of it where it is yours; without TEXT, answers again",
            _restart),
    Command("/results", "", "asks again for what calls wait for: their results, or your word", _results),
    Command("/retry", "", "another answer to what was said last; after an error, the same once more", _retry),
    Command("/quit", "", "leaves; the conversation is kept", _quit),
)  # fmt: skip
