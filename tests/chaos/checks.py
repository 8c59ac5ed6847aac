"""What has to hold when the storm is over: every conversation is read and compared with what its holder was told."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from .asking import SERVED, Question
from .book import Book
from .calling import Caller, Operation, Stuck
from .holding import Talk
from .story import comparable, entries_of

_AT_ONCE = 8
_PAGE = 1000


async def check_talks(talks: Sequence[Talk], caller: Caller, book: Book) -> None:
    """Compare every conversation with what was told of it; see that it is free and that no other exists."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def guarded(talk: Talk) -> None:
        async with gate:
            try:
                await check_talk(talk, caller, book)
            except Stuck:
                book.count("conversations that could not be read")
            except (ValueError, KeyError) as error:
                book.blame("invalid", f"{talk.id} makes no sense: {error!r}")

    await asyncio.gather(*(guarded(talk) for talk in talks))


async def check_talk(talk: Talk, caller: Caller, book: Book) -> None:
    """Compare one conversation with what was told of it. Read a second time, not a byte of it may have changed."""
    path = f"/v1/conversations/{talk.id}"
    entries = entries_of(await caller.get(f"{path}/history"))
    parsed = [json.loads(entry) for entry in entries]
    if talk.stored and talk.stored != entries:
        book.blame("lost", f"{talk.id} changed after it was read: {talk.stored} became {entries}")
    talk.stored = entries
    for law, detail in difference(talk, entries):
        book.blame(law, detail)
    if problem := invalid(parsed):
        book.blame("invalid", f"{talk.id}: {problem}: {parsed}")
    _check_runs(talk, json.loads(await caller.get(f"{path}/runs"))["data"], book)
    book.count("entries compared", len(entries))


async def check_free(talk: Talk, caller: Caller, book: Book) -> None:
    """See that a conversation takes a next question at once."""
    tag = f"free.{talk.id}"
    body = {"inputs": Question(tag, []).text}
    try:
        answer = await caller.carry_out(Operation(f"/v1/conversations/{talk.id}", body, tag, tag), stream=False)
    except Stuck:
        book.blame("busy", f"{talk.id} took no other question")
        return
    given = {"type": "message.input", "role": "user", "content": body["inputs"]}
    talk.stored = []
    talk.take([given], answer)


async def check_list(talks: Sequence[Talk], caller: Caller, book: Book) -> None:
    """See that there are exactly the conversations that somebody was told of."""
    found, page = Counter[str](), 0
    while rows := json.loads(await caller.get(f"/v1/conversations?page_size={_PAGE}&page={page}")):
        found.update(row["id"] for row in rows)
        page += 1
    known = {talk.id for talk in talks}
    for one in found.keys() - known:
        if not book.counts["conversations given up"]:
            book.blame("doubled", f"nobody was told of conversation {one}")
    for one in known - found.keys():
        book.blame("lost", f"conversation {one} is not in the list")


def check_effects(file: Path, talks: Sequence[Talk], book: Book) -> None:
    """See that nothing took effect twice that must not, and that what is told to have been done was done."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    effects = Counter[tuple[str, str]]()
    for name, call, moment in map(str.split, lines):
        effects[name, call] += 1
        known = book.shown.get(call)
        if known is not None and known < float(moment) and not book.was_unsettled(float(moment)):
            book.blame("effects", f"{name} {call} was made again when its result was recorded")
    book.count("tool effects", len(lines))
    for (name, call), times in effects.items():
        if times > 1 and not SERVED[name]:
            book.blame("effects", f"{name} {call} took effect {times} times")
        elif times > 1:
            book.count("repeatable calls that were run again")
    done = {call for _, call in effects}
    for talk in talks:
        for entry in map(json.loads, talk.stored):
            call = entry.get("info", {}).get("call") if entry["type"] == "tool.execution" else None
            if call is not None and call not in done:
                book.blame("effects", f"{talk.id} shows the result of {call}, which never took effect")


def check_file(database: Path, book: Book) -> None:
    """See that the file itself is whole, and that nothing in it is still under way."""
    with closing(sqlite3.connect(database)) as db:
        (verdict,) = db.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            book.blame("lost", f"the database is damaged: {verdict}")
        for run_id, conversation in db.execute("SELECT id, conversation FROM run WHERE state = 'running'"):
            book.blame("busy", f"run {run_id} of {conversation} is under way for ever")
        for (conversation,) in db.execute(
            "SELECT e.conversation FROM entry e JOIN conversation c ON c.workspace = e.workspace "
            "AND c.id = e.conversation WHERE e.position > c.head"
        ):
            book.blame("invalid", f"{conversation} has entries beyond its head that no run writes")


def difference(talk: Talk, entries: Sequence[bytes]) -> Iterator[tuple[str, str]]:
    """Yield where a stored conversation first is not what was told of it, and which law that breaks."""
    for place, told in enumerate(talk.told):
        stored = entries[place] if place < len(entries) else b""
        if not _holds(told, stored):
            yield "lost", f"{talk.id}, entry {place + 1}: told {told!r}, stored {stored!r}"
            break
    if len(entries) > len(talk.told):
        yield "doubled", f"{talk.id} has entries that nobody was told of: {entries[len(talk.told) :]}"


def _holds(told: bytes | dict[str, Any], stored: bytes) -> bool:
    if isinstance(told, bytes) or not stored:
        return told == stored
    entry = comparable(json.loads(stored))
    if told["type"] in ("message.input", "function.result"):  # the server gave it an id and times
        return entry | told == entry
    return entry == comparable(told)


def invalid(entries: Sequence[dict[str, Any]]) -> str:
    """Say what is wrong with a history by itself; empty if nothing is."""
    if len({entry["id"] for entry in entries}) != len(entries):
        return "an id twice"
    open_calls, tags = set[str](), set[str]()
    for entry in entries:
        kind = entry["type"]
        if kind == "function.call":
            open_calls.add(entry["tool_call_id"])
        elif kind == "function.result":
            if entry["tool_call_id"] not in open_calls:
                return f"a result without its call: {entry}"
            open_calls.discard(entry["tool_call_id"])
        elif kind == "message.input":
            tag = Question.read(entry["content"]).tag
            if tag in tags:
                return f"the question {tag} twice"
            tags.add(tag)
        if open_calls and kind.startswith("message."):
            return f"a message while {open_calls} are open"
    return f"calls without results: {open_calls}" if open_calls else ""


def _check_runs(talk: Talk, runs: Sequence[dict[str, Any]], book: Book) -> None:
    states = {run["id"]: run["state"] for run in runs}
    done = [one for one, state in states.items() if state == "done"]
    if len(done) != len(talk.runs) or not {one for one in talk.runs if one} <= set(done):
        book.blame("doubled", f"{talk.id}: {len(talk.runs)} answers {talk.runs} from {len(done)} runs {states}")
    for one, state in states.items():
        if state == "running":
            book.blame("busy", f"{talk.id}: run {one} is under way with nobody waiting")
    for one in talk.told_failed:
        if states.get(one) == "done":
            book.blame("doubled", f"{talk.id}: run {one} was told as failed, and is done")
