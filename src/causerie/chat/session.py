"""A conversation as one person holds it over a client: what was said last, what is open, where it can go on.

It knows no terminal. Whatever runs is an iterator of events; `cancel` may be called meanwhile, also by a signal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Literal, Protocol

from causerie.client import EventStream
from causerie.client.run.result import open_calls
from causerie.errors import APIError, BadRequest, CauserieError, from_response
from causerie.types.base import UNSET, encode
from causerie.types.entries import (
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
)
from causerie.types.events import FunctionCallEvent, ResponseErrorEvent, ResponseStartedEvent, RunCancelledEvent
from causerie.types.operations import ConversationEntity
from causerie.types.tools import ToolCallConfirmation

from .words import NAME, excerpt, row

Inputs = str | list[MessageInputEntry] | list[FunctionResultEntry]
Ask = Callable[[], EventStream]
Events = Generator[Any, None, None]

PAGE = 20
_KEPT = ("model", "agent_id", "agent_version", "instructions", "tools", "completion_args", "guardrails")


class Client(Protocol):
    """What is used of a client: over HTTP or in process, it has the same surface."""

    @property
    def beta(self) -> Any:
        """The conversations, as `beta.conversations`."""
        ...


class Session:
    """One conversation after another.

    Attributes:
        conversation_id: the conversation; None before its first message.
        calls: its calls that wait for results, or for a word.
        cancelled: whether the last run was cancelled.
        trouble: why it could not be, although that was asked for.
    """

    def __init__(self, client: Client, opening: Mapping[str, Any]) -> None:
        """Begin conversations with what `opening` says of them: the parameters of `start`, but for what is said."""
        self._conversations = client.beta.conversations
        self._opening = dict(opening)
        self.conversation_id: str | None = None
        self.calls: list[FunctionCallEntry] = []
        self.cancelled = False
        self.trouble: CauserieError | None = None
        self._failed: Ask | None = None
        self._run_id: str | None = None
        self._unwanted = False

    def open(self, conversation_id: str) -> ConversationEntity:
        """Go on with a stored conversation.

        Raises:
            APIError: there is none.
        """
        entity: ConversationEntity = self._conversations.get(conversation_id=conversation_id)
        self.new()
        self.conversation_id = entity.id
        self._opening = {name: value for name in _KEPT if (value := getattr(entity, name, UNSET)) not in (UNSET, None)}
        self.calls = open_calls(self.entries())
        return entity

    def new(self) -> None:
        """Leave the conversation; the next one is begun like it."""
        self.conversation_id, self.calls, self._failed = None, [], None

    def recent(self) -> list[ConversationEntity]:
        """Return the newest conversations."""
        found: list[ConversationEntity] = self._conversations.list(page_size=PAGE)
        return found

    def entries(self) -> list[Any]:
        """Return all entries, oldest first."""
        if self.conversation_id is None:
            return []
        entries: list[Any] = self._conversations.get_history(conversation_id=self.conversation_id).entries
        return entries

    def say(self, inputs: Inputs) -> Events:
        """Say something, and yield the events of the answer."""
        return self._run(lambda: self._asked(inputs))

    def answer(self, answers: Sequence[str | bool]) -> Events:
        """Say of the open calls, in their order, what each came to, or whether the server may make it."""
        results, words = list[FunctionResultEntry](), list[ToolCallConfirmation]()
        for call, said in zip(self.calls, answers, strict=True):
            if isinstance(said, str):
                results.append(FunctionResultEntry(tool_call_id=call.tool_call_id, result=said))
            else:
                word: Literal["allow", "deny"] = "allow" if said else "deny"
                words.append(ToolCallConfirmation(tool_call_id=call.tool_call_id, confirmation=word))
        return self._run(lambda: self._asked(results, words))

    def again(self) -> Events:
        """Ask again: what failed as it was asked, else for another answer to what was said last, in a branch.

        Raises:
            BadRequest: nothing was said yet.
        """
        if self._failed is not None:
            return self._run(self._failed)
        entries = self.entries()
        return self.branch(entries, len(entries), None)

    def branch(self, entries: Sequence[Any], number: int, inputs: Inputs | None) -> Events:
        """Go on in a branch from entry `number` of `entries`, counted from 1.

        With `inputs` the branch goes on after the entry, or instead of it where it is a user's message. Without, what
        was said last up to the entry is answered anew.

        Raises:
            BadRequest: nothing was said up to there.
        """
        kept = number - 1 if inputs is not None and _is_said(entries[number - 1]) else number
        if inputs is None:
            kept = next((n for n in range(number, 0, -1) if _is_asking(entries[n - 1])), 0)
            if kept == 0:
                raise BadRequest("Nothing was said up to there that could be answered again.")
        elif kept == 0:
            return self._run(lambda: self._started(inputs))
        where = {"conversation_id": self.conversation_id, "from_entry_id": entries[kept - 1].id, "inputs": inputs}
        return self._run(lambda: self._conversations.restart_stream(**where))

    def cancel(self) -> bool:
        """End the run under way, in a thread, as soon as it has a name; return False if that was asked before."""
        if self._unwanted:
            return False
        self._unwanted = True
        if self._run_id is not None:
            self._cancel_soon()
        return True

    def _asked(self, inputs: Inputs, words: Sequence[ToolCallConfirmation] = ()) -> EventStream:
        if self.conversation_id is None:
            return self._started(inputs)
        stream: EventStream = self._conversations.append_stream(
            conversation_id=self.conversation_id, inputs=inputs, tool_confirmations=[*words] or None
        )
        return stream

    def _started(self, inputs: Inputs) -> EventStream:
        text = inputs if isinstance(inputs, str) else "\n".join(row(0, entry).text for entry in inputs)
        stream: EventStream = self._conversations.start_stream(inputs=inputs, name=excerpt(text, NAME), **self._opening)
        return stream

    def _run(self, ask: Ask) -> Events:
        self._failed, self._run_id, self._unwanted = ask, None, False
        self.cancelled, self.trouble = False, None
        called = False
        with ask() as stream:
            for item in stream:
                event = item.data
                if isinstance(event, ResponseStartedEvent):
                    self._began(event)
                elif isinstance(event, ResponseErrorEvent):
                    raise _failure(event, stream)
                called = called or isinstance(event, FunctionCallEvent)
                self.cancelled = self.cancelled or isinstance(event, RunCancelledEvent)
                yield event
        self._failed = None
        self.calls = open_calls(self.entries()) if called or self.cancelled else []

    def _began(self, event: ResponseStartedEvent) -> None:
        self.conversation_id = event.conversation_id
        self._run_id = event.run_id or None
        if self._unwanted and self._run_id is not None:
            self._cancel_soon()

    def _cancel_soon(self) -> None:
        # The thread that reads the stream goes on reading it: what the run has come to arrives there.
        threading.Thread(target=self._cancel, args=(self.conversation_id, self._run_id), daemon=True).start()

    def _cancel(self, conversation_id: str, run_id: str) -> None:
        try:
            self._conversations.cancel_run(conversation_id=conversation_id, run_id=run_id)
        except CauserieError as error:
            self.trouble = error


def _is_said(entry: Any) -> bool:
    return isinstance(entry, MessageInputEntry) and entry.role == "user"


def _is_asking(entry: Any) -> bool:
    return _is_said(entry) or isinstance(entry, FunctionResultEntry)


def _failure(event: ResponseErrorEvent, stream: EventStream) -> APIError:
    response = stream.response
    body = encode({"message": event.message}).decode()
    return from_response(event.code, body, response.headers if response is not None else {}, response)
