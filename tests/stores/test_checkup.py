"""A checkup finds a sound database sound, and each damage to one by its name.

The database is made by the engine (`furnished.py`); `damage.py` says what is done to a copy of it, and what has to be
named: exactly these faults, where they are, and no other.
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from causerie.errors import SchemaMismatch, StoreUnavailable
from causerie.stores import checkup
from causerie.stores.beside import read_beside
from causerie.stores.checkup import check

from .damage import DAMAGE
from .furnished import furnish
from .rows import HERE


@dataclass(frozen=True)
class Sound:
    """A database without a fault, and what its conversations, entries, calls and its unfinished run are called here."""

    path: Path
    names: dict[str, str]

    def damaged(self, path: Path, *statements: str) -> Path:
        """Return a copy with damage done to it."""
        shutil.copy(self.path, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.create_function("swap", 3, _swap)
            for statement in statements:
                assert connection.execute(statement, self.names).rowcount != 0, statement
        return path

    def named(self, path: Path) -> list[str]:
        """Return what a checkup names, by the names that things have here."""
        found = [str(fault).removeprefix(f"{HERE}/") for fault in check(path).faults]
        for name, id_ in self.names.items():
            found = [fault.replace(id_, name) for fault in found]
        return found


def _swap(text: bytes, old: str, new: str) -> bytes:
    assert old.encode() in text
    return text.replace(old.encode(), new.encode())


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """A database with something of everything, and nobody who has it open."""
    path = tmp_path_factory.mktemp("furnished") / "chats.db"
    names = furnish(path)
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT position, id, tool_call_id, private ->> 'upstream_id' FROM entry WHERE conversation = ?"
        for name, id_ in [*names.items()]:
            for position, entry, call, theirs in connection.execute(query, [id_]):
                names |= {f"{name}_{position}": entry} | ({f"{name}_theirs_{position}": theirs} if theirs else {})
                names |= {f"{name}_call_{position}": call} if call and call not in names.values() else {}
        running = "SELECT run_id FROM conversation WHERE id = ?"
        (names["run"],) = connection.execute(running, [names["busy"]]).fetchone()
    return Sound(path, names)


def test_a_sound_database_is_said_to_be_ok(sound: Sound) -> None:
    assert sound.named(sound.path) == []
    assert str(check(sound.path)) == "ok: 19 conversations, 79 entries, 1 agent"


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(sound: Sound, tmp_path: Path, name: str) -> None:
    done, named = DAMAGE[name]
    assert sorted(sound.named(sound.damaged(tmp_path / "chats.db", *done))) == sorted(named)


def test_every_relation_is_damaged_somewhere() -> None:
    faults = " ".join(fault for _, named in DAMAGE.values() for fault in named)
    sentences = [sentence.replace("{!r}", "{}").split("{}")[-1] for sentence in checkup.RELATIONS.values()]
    assert [sentence for sentence in sentences if sentence not in faults] == []


def test_what_was_found_is_counted(sound: Sound, tmp_path: Path) -> None:
    path = sound.damaged(tmp_path / "chats.db", "UPDATE conversation SET head = 5 WHERE id = :served")
    assert str(check(path)) == "2 faults in 19 conversations, 79 entries, 1 agent"


def test_every_page_that_is_lost_is_noticed(sound: Sound, tmp_path: Path) -> None:
    whole, size = sound.path.read_bytes(), 4096
    path, seen = tmp_path / "chats.db", 0
    for start in range(size, len(whole), size):
        path.write_bytes(whole[:start] + b"\xa5" * size + whole[start + size :])
        with suppress(StoreUnavailable):  # where the page had the schema
            assert check(path).faults, f"page {start // size + 1} is not missed"
            seen += 1
    assert seen > 20


def test_a_lost_page_of_entries_leaves_the_other_conversations_readable(sound: Sound, tmp_path: Path) -> None:
    whole = sound.path.read_bytes()
    start = whole.index(b'{"role":"user","content":"More"}') // 4096 * 4096
    path = tmp_path / "chats.db"
    path.write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
    named = sound.named(path)
    assert [fault for fault in named if fault.startswith("plain: it cannot be read: database disk image is malformed")]
    assert [fault for fault in named if fault.startswith("the file: ")]


def test_a_checkup_leaves_nothing_behind(sound: Sound, tmp_path: Path) -> None:
    path = sound.damaged(tmp_path / "chats.db")
    before = path.read_bytes()
    check(path)
    assert [file.name for file in tmp_path.iterdir()] == ["chats.db"]
    assert path.read_bytes() == before


def test_what_is_not_checkpointed_counts(sound: Sound, tmp_path: Path) -> None:
    path = sound.damaged(tmp_path / "chats.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM entry WHERE id = ?", [sound.names["served_2"]])
        assert path.with_name("chats.db-wal").stat().st_size
        assert sound.named(path) == ["served, entry 2: it is missing"]


def test_a_server_that_starts_during_a_checkup_makes_it_begin_again(sound: Sound, tmp_path: Path) -> None:
    path = sound.damaged(tmp_path / "chats.db")
    counts = list[int]()

    def count(db: sqlite3.Connection) -> int:
        ((found,),) = db.execute("SELECT COUNT(*) FROM entry").fetchall()
        if not counts:
            sound.damaged(path, "DELETE FROM entry WHERE id = :served_2")
        counts.append(found)
        return int(found)

    assert read_beside(path, count) == 78
    assert counts == [79, 78]


def test_a_path_with_odd_signs_is_read(sound: Sound, tmp_path: Path) -> None:
    path = sound.damaged(tmp_path / "50% of? it#1.db")
    assert sound.named(path) == []


def test_of_a_large_database_it_is_told_how_far_the_checkup_is(sound: Sound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "LARGE", 40)
    said = list[str]()
    check(sound.path, said.append)
    assert said[0] == f"reading every page of {sound.path}"
    assert len(said) >= 5
    assert all(line.endswith(" of 79 entries") for line in said[1:])


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("INSERT INTO migration VALUES (2, '002_later', '2027-01-01')", "has schema version 2"),
        ("DELETE FROM migration", "has schema version 0"),
    ],
)
def test_a_database_of_another_version_is_refused(sound: Sound, tmp_path: Path, statement: str, said: str) -> None:
    path = sound.damaged(tmp_path / "chats.db", statement)
    with pytest.raises(SchemaMismatch, match=said):
        check(path)


def test_what_is_no_database_of_ours_is_refused(tmp_path: Path) -> None:
    text, empty, other = tmp_path / "text", tmp_path / "empty", tmp_path / "other"
    text.write_text("Not a database, whatever its name.\n" * 40, encoding="utf-8")
    empty.touch()
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE conversation (id TEXT)")
    for path, said in (
        (text, "cannot be read: file is not a database"),
        (empty, "not one of Causerie's"),
        (other, "not one of Causerie's"),
        (tmp_path / "nowhere", "There is no database"),
        (tmp_path, "There is no database"),
    ):
        with pytest.raises(StoreUnavailable, match=said):
            check(path)
