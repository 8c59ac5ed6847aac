"""The conversation between a person and a session: runs are told to the screen, calls are answered by the person."""

from __future__ import annotations

from contextlib import closing

from causerie.types.entries import FunctionCallEntry

from .person import CtrlC, Person
from .screen import Screen
from .session import Events, Inputs, Session
from .telling import Telling
from .words import called

YES_OR_NO = {"y": True, "yes": True, "n": False, "no": False}


class Chat:
    """A session, a screen, and a person; without one, nobody answers calls.

    Attributes:
        shown: the conversation whose id the person has seen.
    """

    def __init__(self, session: Session, screen: Screen, person: Person | None) -> None:
        """Bring them together."""
        self.session, self.screen, self.person = session, screen, person
        self.shown = session.conversation_id

    def say(self, inputs: Inputs) -> None:
        """Say something, and show what comes of it.

        Raises:
            CauserieError: it cannot be said, or not be answered.
            KeyboardInterrupt: the person would not wait any longer.
        """
        self.show(self.session.say(inputs))

    def show(self, events: Events) -> None:
        """Show a run, and get it what it waits for.

        Raises:
            CauserieError: it failed.
            KeyboardInterrupt: the person would not wait any longer.
        """
        telling = Telling(self.screen)
        self.screen.begin()
        try:
            with closing(events), CtrlC(self.session.cancel):
                for event in events:
                    telling.tell(event)
        finally:
            self.screen.end()
        self._sum_up(telling.usage)
        if self.session.calls:
            self.answer()

    def answer(self) -> None:
        """Let the person answer the open calls: all of them, or none."""
        person = self.person
        if person is None:
            return
        answers = list[str | bool]()
        for call in self.session.calls:
            try:
                answers.append(self._answered(person, call))
            except (EOFError, KeyboardInterrupt):
                self.screen.end()
                self.screen.note("left open; /results asks again")
                return
        if answers:
            self.show(self.session.answer(answers))

    def _answered(self, person: Person, call: FunctionCallEntry) -> str | bool:
        line = called(call.name, call.arguments)
        if call.confirmation_status != "pending":
            return person.ask(f"result of {line}: ")
        while (word := person.ask(f"allow {line}? [y/n] ").strip().lower()) not in YES_OR_NO:
            self.screen.note("y allows the call, n denies it")
        return YES_OR_NO[word]

    def _sum_up(self, usage: str) -> None:
        session = self.session
        if session.cancelled:
            self.screen.note("cancelled; what was said is kept")
        elif session.trouble is not None:
            self.screen.error(f"the answer could not be cancelled: {session.trouble}")
        new = session.conversation_id if session.conversation_id != self.shown else None
        self.shown = session.conversation_id
        if usage or new:
            self.screen.note(", ".join(filter(None, (usage, new))))
