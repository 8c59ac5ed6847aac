"""The server is killed while a client reads: another one takes its place, and the caller reads on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from causerie.client import models
from causerie.types.fold import collect
from tests.support.spawned import causerie

from .conftest import Side

SCRIPT = 'pace = 0.05\n\n[[rules]]\ntext = "one two three four five six seven eight nine ten"\n'


def test_the_caller_reads_on_after_a_crash(connect: Callable[..., Side], tmp_path: Path) -> None:
    (tmp_path / "script.toml").write_text(SCRIPT)
    flags = ("--data", tmp_path / "chats.db", "--rehearsal-script", tmp_path / "script.toml")
    with causerie(*flags, cwd=tmp_path) as (first, url):
        client = connect(url)
        stream = client.call("start_stream", inputs="Count.", model="rehearsal")
        items = [client.next(stream) for _ in range(4)]
        first.kill()

    with causerie(*flags, "--port", str(urlsplit(url).port), cwd=tmp_path):
        items += client.rest(stream)
        history = client.call("get_history", conversation_id=stream.conversation_id).entries

    assert [type(item.data) for item in items].count(models.RunAdoptedEvent) == 1
    assert type(items[0].data) is models.ResponseStartedEvent
    assert type(items[-1].data) is models.ResponseDoneEvent
    outputs = collect([item.data for item in items], lambda: datetime.now(UTC)).outputs
    assert [entry.content for entry in outputs] == ["one two three four five six seven eight nine ten"]
    assert [entry.id for entry in outputs] == [entry.id for entry in history[1:]]
