"""``causerie check`` and ``causerie backup``: what they print, what they refuse, and with which code they end."""

from __future__ import annotations

import os
import re
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from causerie import cli
from causerie.errors import StoreUnavailable
from causerie.stores import backup, checkup
from causerie.stores.backup import back_up
from causerie.stores.sqlite_file import FileLock
from tests.stores.furnished import furnish

Said = tuple[int, str, str]
Say = Callable[..., Said]
OK = "ok: 19 conversations, 79 entries, 1 agent\n"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A sound database, as the bytes of its file."""
    path = tmp_path_factory.mktemp("furnished") / "causerie.db"
    furnish(path)
    return path.read_bytes()


@pytest.fixture
def data(tmp_path: Path, furnished: bytes, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory with a sound database, in the current directory."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/causerie.db").write_bytes(furnished)
    return Path("data")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run the command line; return its exit code and what it printed."""

    def say(*arguments: str | Path) -> Said:
        with pytest.raises(SystemExit) as left:
            cli.main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        return int(left.value.code or 0), printed.out, printed.err

    return say


def damaged(path: Path, statement: str = "UPDATE conversation SET head = head + 2 WHERE name = 'served'") -> str:
    """Damage a database; return the id of the conversation that misses something now."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
        ((id_,),) = connection.execute("SELECT id FROM conversation WHERE name = 'served'").fetchall()
    return str(id_)


def files(folder: Path) -> list[str]:
    """Return the names of what is in a folder."""
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("place", ["data", "data/", "data/causerie.db"])
def test_a_sound_database_is_ok_as_a_file_or_a_directory(data: Path, say: Say, place: str) -> None:
    assert say("check", place) == (0, OK, "")
    assert files(data) == ["causerie.db"]


def test_faults_are_printed_a_line_each_and_summed_up_aside(data: Path, say: Say) -> None:
    id_ = damaged(data / "causerie.db")
    assert say("check", data) == (
        1,
        f"here/{id_}, entry 4: it is missing\nhere/{id_}, entry 5: it is missing\n",
        "2 faults in 19 conversations, 79 entries, 1 agent\n",
    )


def test_how_far_it_is_goes_to_standard_error(data: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "LARGE", 40)
    code, out, err = say("check", data)
    assert (code, out) == (0, OK)
    assert err.startswith("reading every page of data/causerie.db\n")
    assert re.search(r"^\d+ of 79 entries$", err, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check"], "Missing argument"),
        (["check", "nowhere"], "There is no database nowhere."),
        (["check", "."], "There is no database causerie.db."),
        (["check", "text"], "text cannot be read: file is not a database."),
        (["backup", "data"], "Missing argument 'TARGET'"),
        (["backup", "nowhere", "copy.db"], "There is no database nowhere."),
        (["backup", "text", "copy.db"], "text cannot be read: file is not a database."),
        (["backup", "data", "text"], "text is there already; --force replaces it."),
        (["backup", "data", "data"], "is the database itself"),
        (["backup", "--force", "data", "data/../data/causerie.db"], "is the database itself"),
        (["backup", "data", "nowhere/copy.db"], "cannot be written to nowhere/copy.db: No such file or directory."),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(data: Path, say: Say, arguments: list[str], said: str) -> None:
    Path("text").write_text("Not a database, whatever its name.\n" * 40, encoding="utf-8")
    code, out, err = say(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("causerie: ")
    assert said in err
    assert err.count("\n") == 1
    assert files(Path()) == ["data", "text"]
    assert files(data) == ["causerie.db"]


def test_what_a_newer_version_wrote_is_left_to_it(data: Path, say: Say) -> None:
    damaged(data / "causerie.db", "INSERT INTO migration VALUES (2, '002_later', '2027-01-01')")
    for arguments in (["check", data], ["backup", data, "copy.db"]):
        code, out, err = say(*arguments)
        assert (code, out) == (2, "")
        assert "has schema version 2" in err
    assert files(Path()) == ["data"]


def test_help_shows_how(say: Say) -> None:
    assert "causerie check causerie-data" in say("check", "--help")[1]
    assert "causerie backup causerie-data backups/monday.db" in say("backup", "--help")[1]


def test_a_backup_is_verified_and_says_its_size_and_time(data: Path, say: Say) -> None:
    code, out, err = say("backup", data, "copy.db")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"copy\.db: 0\.\d MB in \d\.\d s\n" + OK, out)
    assert files(Path()) == ["copy.db", "data"]
    assert say("check", "copy.db") == (0, OK, "")


def test_a_backup_into_a_directory_is_called_as_the_database_is(data: Path, say: Say) -> None:
    Path("monday").mkdir()
    assert say("backup", data, "monday")[0] == 0
    assert say("check", "monday") == (0, OK, "")
    assert files(Path("monday")) == ["causerie.db"]


def test_a_backup_is_as_private_as_what_it_is_a_copy_of(data: Path, say: Say) -> None:
    (data / "causerie.db").chmod(0o640)
    say("backup", data, "copy.db")
    assert stat.S_IMODE(Path("copy.db").stat().st_mode) == 0o640


def test_a_backup_holds_what_is_not_checkpointed(data: Path, say: Say) -> None:
    with closing(sqlite3.connect(data / "causerie.db", isolation_level=None)) as connection:
        connection.execute("UPDATE conversation SET description = 'late' WHERE name = 'served'")
        assert (data / "causerie.db-wal").stat().st_size
        assert say("backup", data, "copy.db")[0] == 0
    with closing(sqlite3.connect("copy.db")) as connection:
        assert connection.execute("SELECT name FROM conversation WHERE description = 'late'").fetchall() == [
            ("served",)
        ]


def test_force_replaces_a_backup_and_what_lies_beside_it(data: Path, say: Say) -> None:
    for name in ("copy.db", "copy.db-wal", "copy.db-shm", "copy.db.partial"):
        Path(name).write_text("old", encoding="utf-8")
    code, out, _ = say("backup", "--force", data, "copy.db")
    assert (code, out.splitlines()[-1] + "\n") == (0, OK)
    assert files(Path()) == ["copy.db", "data"]


def test_what_lies_beside_a_backup_that_is_gone_is_not_taken_for_its_own(data: Path, say: Say) -> None:
    Path("copy.db-wal").write_text("old", encoding="utf-8")
    assert say("backup", data, "copy.db") == (2, "", "causerie: copy.db-wal is there already; --force replaces it.\n")


def test_a_database_that_a_server_has_open_is_never_replaced(data: Path, say: Say) -> None:
    say("backup", data, "copy.db")
    lock = FileLock(Path("copy.db"))
    lock.take()
    before = Path("copy.db").read_bytes()
    code, _, err = say("backup", "--force", data, "copy.db")
    assert code == 2
    assert f"copy.db is open in process {os.getpid()}" in err
    assert Path("copy.db").read_bytes() == before
    lock.release()
    assert say("backup", "--force", data, "copy.db")[0] == 0


def test_a_copy_with_faults_does_not_take_the_place_of_a_backup(data: Path, say: Say) -> None:
    say("backup", data, "copy.db")
    before = Path("copy.db").read_bytes()
    id_ = damaged(data / "causerie.db")
    code, out, err = say("backup", "--force", data, "copy.db")
    assert (code, err) == (1, "2 faults in 19 conversations, 79 entries, 1 agent\n")
    assert re.match(r"copy\.db\.partial: 0\.\d MB in", out)
    assert f"here/{id_}, entry 4: it is missing\n" in out
    assert Path("copy.db").read_bytes() == before
    assert say("check", "copy.db.partial")[0] == 1


def test_a_page_that_cannot_be_read_is_never_copied_as_if_it_could(data: Path, say: Say) -> None:
    path = data / "causerie.db"
    whole = path.read_bytes()
    start = whole.index(b'{"role":"user","content":"More"}') // 4096 * 4096
    path.write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
    code, out, _ = say("backup", data, "copy.db")
    assert code == 1
    assert "database disk image is malformed" in out
    assert not Path("copy.db").exists()


def test_how_far_a_large_copy_is_goes_to_standard_error(data: Path, say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "LARGE", 1)
    monkeypatch.setattr(backup, "PAGES", 1)
    _, _, err = say("backup", data, "copy.db")
    assert err.splitlines() == [f"{done} % copied" for done in range(10, 101, 10)]


def test_the_file_and_its_folder_are_synced_before_and_after_it_gets_its_name(
    data: Path, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[str]()
    sync, replace = os.fsync, Path.replace

    def syncing(file: int) -> None:
        names = {path.stat().st_ino: path.name for path in Path().rglob("*")}
        done.append(f"sync {names[os.fstat(file).st_ino]}")
        sync(file)

    def replacing(path: Path, target: Path) -> Path:
        done.append(f"{path.name} becomes {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", syncing)
    monkeypatch.setattr(Path, "replace", replacing)
    Path("monday").mkdir()
    assert say("backup", data, "monday")[0] == 0
    assert done == ["sync causerie.db.partial", "causerie.db.partial becomes causerie.db", "sync monday"]


def test_a_backup_that_does_not_fit_leaves_nothing(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(path: Path | str, **how: bool | str | None) -> sqlite3.Connection:
        connection = connect(path, **how)  # type: ignore[arg-type]
        if str(path).endswith(".partial"):
            connection.execute("PRAGMA max_page_count = 3")
        return connection

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(StoreUnavailable, match=r"cannot be copied to copy\.db\.partial: database or disk is full"):
        back_up(data / "causerie.db", Path("copy.db"))
    assert files(Path()) == ["data"]
