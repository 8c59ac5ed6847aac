"""What a chat makes of what is typed and of what is written: attachments, blocks of Markdown, lines of a history."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from causerie.chat import words
from causerie.chat.attach import inputs_of
from causerie.chat.blocks import Blocks
from causerie.errors import AttachmentError
from causerie.types.content import (
    DocumentURLChunk,
    ImageURLChunk,
    TextChunk,
    ThinkChunk,
    ToolFileChunk,
    ToolReferenceChunk,
)
from causerie.types.entries import (
    AgentHandoffEntry,
    FunctionCallEntry,
    FunctionResultEntry,
    MessageInputEntry,
    MessageOutputEntry,
    ToolExecutionEntry,
)
from causerie.types.responses import AgentConversation, ConversationUsageInfo

IMAGES = {
    "a.png": b"\x89PNG\r\n\x1a\n", "b.jpg": b"\xff\xd8\xff\xe0", "c.gif": b"GIF89a", "d.webp": b"RIFF\0\0\0\nWEBP",
    "two words.png": b"\x89PNG\r\n\x1a\n", "e.": b"GIF87a",
}  # fmt: skip


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put images into the current directory, which is also the person's home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, data in IMAGES.items():
        (tmp_path / name).write_bytes(data)


@pytest.mark.parametrize("text", ["Hello", "a@b.png", "", "x @ y", "a\nb"])
def test_text_without_attachments_is_text(text: str) -> None:
    assert inputs_of(text) == text


def test_a_literal_at() -> None:
    assert inputs_of("@@someone and @@a.png") == "@someone and @a.png"


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("@a.png", ["png"]),
        ("See @b.jpg, then @c.gif.", ["See", "jpeg", ", then", "gif", "."]),
        ("@~/d.webp", ["webp"]),
        ('@"two words.png" and @two\\ words.png?', ["png", "and", "png", "?"]),
        ("@e. ends", ["gif", "ends"]),
        ("@@a @a.png", ["@a", "png"]),
    ],
)
def test_images_stand_where_they_are_named(text: str, shape: list[str]) -> None:
    (entry,) = inputs_of(text)
    assert isinstance(entry, MessageInputEntry)
    assert [
        chunk.text if isinstance(chunk, TextChunk) else str(chunk.model_dump()["image_url"]).split(";")[0].split("/")[1]
        for chunk in entry.content
        if not isinstance(chunk, str)
    ] == shape


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("name", ["none.png", "/", "~nobody-has-this-name/x.png", "a\0b.png"])
def test_what_is_no_file_is_refused(name: str) -> None:
    with pytest.raises(AttachmentError, match="cannot be attached"):
        inputs_of(f"@{name}")


def test_a_block_ends_where_the_next_begins() -> None:
    blocks = Blocks()
    assert blocks.feed("# One\n\n") == []
    assert blocks.feed("T") == ["# One\n\n"]
    assert blocks.feed("wo\nlines\n\n\n\nThree") == ["Two\nlines\n\n\n\n"]
    assert blocks.rest == "Three"
    assert blocks.close() == "Three"
    assert blocks.rest == ""


@pytest.mark.parametrize(
    "text",
    [
        "1. a\n\n   more of a\n",
        "```python\na\n\nb\n",
        "````\n```\n\nb\n",
        "~~~\n```\n\nb\n",
        "a\nb\nc",
    ],
)
def test_what_belongs_together_stays_together(text: str) -> None:
    blocks = Blocks()
    assert blocks.feed(text) == []
    assert blocks.close() == text


def test_however_a_text_is_cut_its_blocks_are_the_same() -> None:
    text = "\n\nIntro\n\n- a\n\n  b\n- c\n\n```\nx\n\ny\n```\n\nafter\n~~~\n1\n\n2\n~~~\n\n\nend"
    whole = Blocks()
    expected = [*whole.feed(text), whole.close()]
    assert "".join(expected) == text.lstrip("\n")
    assert len(expected) == 5
    for seed in range(200):
        rng, blocks, found, rest = random.Random(seed), Blocks(), list[str](), text  # noqa: S311  # no secret
        while rest:
            size = rng.randint(1, 6)
            found += blocks.feed(rest[:size])
            rest = rest[size:]
        assert [*found, blocks.close()] == expected


@pytest.mark.parametrize(
    ("entry", "row"),
    [
        (MessageInputEntry(role="user", content="Hi"), ("1", "you", "Hi")),
        (MessageInputEntry(role="assistant", content="Hi"), ("1", "assistant", "Hi")),
        (MessageOutputEntry(content="Hi", model="m"), ("1", "m", "Hi")),
        (MessageOutputEntry(content="Hi", agent_id="ag_1", model="m"), ("1", "ag_1", "Hi")),
        (FunctionCallEntry(tool_call_id="x", name="f", arguments={"a": 1}), ("1", "function", 'f({"a":1})')),
        (FunctionResultEntry(tool_call_id="x", result="7"), ("1", "result", "7")),
        (ToolExecutionEntry(name="web_search", arguments="{}"), ("1", "tool", "web_search({})")),
        (
            AgentHandoffEntry(previous_agent_id="1", previous_agent_name="a", next_agent_id="2", next_agent_name="b"),
            ("1", "agent", "a hands over to b"),
        ),
    ],
)
def test_every_kind_of_entry_is_a_row(entry: Any, row: tuple[str, str, str]) -> None:
    assert words.row(1, entry) == row


def test_what_is_not_text_has_a_word() -> None:
    chunks = [
        ThinkChunk(thinking=[TextChunk(text="hm")]), TextChunk(text="Look:"), ImageURLChunk(image_url="data:x"),
        ImageURLChunk(image_url="http://x/y.png"), DocumentURLChunk(document_url="http://x/d"),
        ToolFileChunk(tool="t", file_id="f1"), ToolReferenceChunk(tool="t", title="A page", url="http://x"),
        ToolReferenceChunk(tool="t", title="A book"),
    ]  # fmt: skip
    assert words.said(chunks).splitlines() == [
        "Look:", "[image]", "[image http://x/y.png]", "[document http://x/d]", "[file f1]", "[A page](http://x)",
        "[A book]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "short"),
    [("a  b\nc", "a b c"), ("x" * 20, "x" * 20), ("x" * 21, "x" * 19 + "…"), ("y " * 1000, "y y y y y y y y y y…")],
)
def test_an_excerpt_is_one_line(text: str, short: str) -> None:
    assert words.excerpt(text, 20) == short


def test_a_conversation_with_an_agent_is_listed_by_it() -> None:
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    row = words.listed(3, AgentConversation(id="conv_1", created_at=now, updated_at=now, agent_id="ag_1"))
    assert row[:2] == ("3", "conv_1")
    assert row.text.endswith("  ag_1")


def test_tools_are_counted() -> None:
    usage = ConversationUsageInfo(prompt_tokens=1, completion_tokens=2, connectors={"web_search": 3})
    assert words.used(usage) == "1 token in, 2 out, web_search 3 times"
