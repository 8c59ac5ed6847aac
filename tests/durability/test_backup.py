"""A backup that is made while a server is busy is the state of one moment, and a server goes on from it (D14).

What it is restored by is what `docs/operating.md` tells to type, word by word.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, examples
from tests.support.raw import Raw
from tests.support.replies import PATIENCE
from tests.support.spawned import causerie

CLIENTS = 6
ENOUGH = 40
PAGE = (ROOT / "docs/operating.md").read_text("utf-8")


class Load:
    """Clients that hold conversations until they are told to stop, and remember what they were told."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._changed = threading.Condition()
        self._said = dict[str, list[str]]()
        self._turns = 0
        self._stop = threading.Event()
        self._troubles = list[BaseException]()
        self._threads = [threading.Thread(target=self._talk, args=(number,)) for number in range(CLIENTS)]

    @contextmanager
    def going_on(self) -> Iterator[Load]:
        """Let them talk for as long as the block lasts."""
        for thread in self._threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(PATIENCE)
        assert self._troubles == []

    def acknowledged(self, more: int) -> dict[str, list[str]]:
        """Wait for `more` answers; return all that was answered so far: the ids of a conversation's outputs."""
        with self._changed:
            enough = self._turns + more
            assert self._changed.wait_for(lambda: self._turns >= enough or self._troubles, PATIENCE)
            return {conversation: list(outputs) for conversation, outputs in self._said.items()}

    def _talk(self, number: int) -> None:
        try:
            while not self._stop.is_set():
                path, stream = "/v1/conversations", number % 2 == 0
                for turn in range(5):
                    answer = self._raw.post(path, {"inputs": f"{number} says {turn}", "stream": stream})
                    assert answer.status == 200, answer.body
                    if stream:
                        outputs = list(dict.fromkeys(event["id"] for event in answer.events if "output_index" in event))
                        conversation = path.rpartition("/")[2] if turn else answer.events[0]["conversation_id"]
                    else:
                        outputs = [output["id"] for output in answer.json["outputs"]]
                        conversation = answer.json["conversation_id"]
                    path = f"/v1/conversations/{conversation}"
                    self._remember(conversation, outputs)
        except BaseException as trouble:
            self._troubles.append(trouble)
            raise

    def _remember(self, conversation: str, outputs: list[str]) -> None:
        with self._changed:
            self._said.setdefault(conversation, []).extend(outputs)
            self._turns += 1
            self._changed.notify_all()


def ran(folder: Path, *arguments: str | Path) -> str:
    """Run a command of ours in a folder; return what it printed."""
    command = [sys.executable, "-m", "causerie", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, ""), (done.stdout, done.stderr)
    return done.stdout


def answers(raw: Raw, conversation: str) -> list[str]:
    """Return the ids of what the model said in a conversation."""
    history = raw.get(f"/v1/conversations/{conversation}/history").json["entries"]
    return [entry["id"] for entry in history if entry["type"] == "message.output"]


def test_a_backup_under_load_holds_all_that_was_answered_before_it_began(tmp_path: Path) -> None:
    with causerie("--data", tmp_path / "data", cwd=tmp_path) as (_, url):
        with Load(Raw(url)).going_on() as load:
            kept = []
            for number in range(3):
                before = load.acknowledged(ENOUGH)
                out = ran(tmp_path, "backup", "data", f"copy-{number}.db")
                assert "\nok: " in out
                kept.append(before)
            after = load.acknowledged(1)
        assert ran(tmp_path, "check", "data").startswith("ok: ")
        assert sum(map(len, after.values())) > sum(map(len, kept[-1].values()))

    for number, before in enumerate(kept):
        data = tmp_path / f"restored-{number}"
        data.mkdir()
        (tmp_path / f"copy-{number}.db").rename(data / "causerie.db")
        with causerie("--data", data, cwd=tmp_path) as (_, url):
            raw = Raw(url)
            assert len(before) > CLIENTS or number == 0
            for conversation, outputs in before.items():
                assert answers(raw, conversation)[: len(outputs)] == outputs
            conversation = next(iter(before))
            assert raw.post(f"/v1/conversations/{conversation}", {"inputs": "And now?"}).status == 200
        assert ran(tmp_path, "check", data).startswith("ok: ")


@pytest.fixture
def typed(tmp_path: Path) -> Callable[[str], str]:
    """Type what the page says under a heading, in one shell; return what it printed."""

    def type_along(heading: str) -> str:
        (section,) = [part for part in PAGE.split("\n## ") if part.startswith(f"{heading}\n")]
        commands = "".join(one.code for one in examples(section) if one.kind == "console")
        assert commands
        script = f'set -e\ncauserie() {{ "{sys.executable}" -m causerie "$@"; }}\n{commands}'
        shell = ["/bin/sh", "-c", script]
        done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    return type_along


def test_what_the_page_says_of_backup_restore_and_check_can_be_typed_along(
    tmp_path: Path, typed: Callable[[str], str]
) -> None:
    data = tmp_path / "causerie-data"
    with causerie("--data", data, cwd=tmp_path) as (_, url):
        answer = Raw(url).post("/v1/conversations", {"inputs": "Kept?"})
        typed("Back up")
        Raw(url).post("/v1/conversations", {"inputs": "Not kept."})
        assert "ok: 2 conversations, 4 entries" in typed("Check")
    typed("Restore")
    with causerie("--data", data, cwd=tmp_path) as (_, url):
        (listed,) = Raw(url).get("/v1/conversations").json
    assert listed["id"] == answer.json["conversation_id"]
