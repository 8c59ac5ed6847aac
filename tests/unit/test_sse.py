"""The event stream as bytes: every rule of the specification, at every cut."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causerie.sse import KEEP_ALIVE, Decoder, Frame, encode


def decode(*chunks: bytes) -> list[Frame]:
    decoder = Decoder()
    return [frame for chunk in chunks for frame in decoder.feed(chunk)]


def plainly(body: bytes) -> list[Frame]:
    """The specification, line by line, over a whole body."""
    frames, last_id, event, data = [], None, "", []
    lines = re.split(b"\r\n|\n|\r", body.removeprefix(b"\xef\xbb\xbf"))
    for line in lines[:-1]:
        if not line:
            if data:
                frames.append(Frame(event or "message", b"\n".join(data), last_id))
            event, data = "", []
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"data":
                data.append(value)
            elif field == b"event":
                event = value.decode(errors="replace")
            elif field == b"id" and b"\0" not in value:
                last_id = value.decode(errors="replace")
    return frames


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"data: a\n\n", [Frame("message", b"a")]),
        (b"data:a\n\n", [Frame("message", b"a")]),
        (b"data:  a\n\n", [Frame("message", b" a")]),
        (b"data\n\n", [Frame("message", b"")]),
        (b"data:\ndata:\n\n", [Frame("message", b"\n")]),
        (b"data: a\ndata: b\n\n", [Frame("message", b"a\nb")]),
        (b"event: ping\ndata: a\n\ndata: b\n\n", [Frame("ping", b"a"), Frame("message", b"b")]),
        (b"event: ping\n\ndata: b\n\n", [Frame("message", b"b")]),
        (
            b"data: a\r\rdata: b\r\n\r\ndata: c\n\n",
            [Frame("message", b"a"), Frame("message", b"b"), Frame("message", b"c")],
        ),
        (b"data: a\n\r\n", [Frame("message", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [Frame("message", b"a")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [Frame("message", b"b")]),
        (b": a comment\n\n:\ndata: a\n: and another\n\n", [Frame("message", b"a")]),
        (KEEP_ALIVE, []),
        (
            b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
            [Frame("message", b"a", "1"), Frame("message", b"b", "1"), Frame("message", b"c", "")],
        ),
        (b"id: 7\n\ndata: b\n\n", [Frame("message", b"b", "7")]),
        (b"id: 1\ndata: a\n\nid: \x002\ndata: b\n\n", [Frame("message", b"a", "1"), Frame("message", b"b", "1")]),
        (b"nonsense: x\nDATA: y\ndata: a\n\n", [Frame("message", b"a")]),
        (b"data: a\n", []),
        (b"data: a", []),
    ],
)
def test_a_body_decodes_as_the_specification_says(body: bytes, frames: list[Frame]) -> None:
    assert decode(body) == frames
    assert plainly(body) == frames


pieces = st.sampled_from(
    [
        b"data: x\n\n",
        b"data",
        b"event",
        b"id",
        b"retry",
        b":",
        b" ",
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\xef\xbb\xbf",
        b"\xe2\x82",
        b"{}",
        b"12",
    ]
)


@settings(deadline=None)
@given(st.lists(pieces, max_size=40).map(b"".join), st.lists(st.integers(0, 200), max_size=12))
def test_where_the_bytes_are_cut_does_not_matter(body: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[a:b] for a, b in pairwise(edges)]
    assert decode(*chunks) == plainly(body)


@settings(deadline=None)
@given(st.lists(pieces, max_size=12).map(b"".join))
def test_single_bytes_give_the_same_as_the_whole(body: bytes) -> None:
    assert decode(*(body[i : i + 1] for i in range(len(body)))) == decode(body)


lines = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n\0"), min_size=1)


@settings(deadline=None)
@given(st.lists(st.tuples(lines, st.text().map(lambda t: t.encode(errors="replace")), lines)))
def test_what_was_encoded_is_decoded(events: list[tuple[str, bytes, str]]) -> None:
    body = b"".join(encode(event, data, id) for event, data, id in events)
    assert decode(body) == [Frame(event, re.sub(b"\r\n?", b"\n", data), id) for event, data, id in events]


def test_an_encoded_frame_is_one_event_line_one_data_line_and_a_blank_one() -> None:
    assert encode("message.output.delta", b'{"a":1}') == b'event: message.output.delta\ndata: {"a":1}\n\n'
    assert encode("ping", b"x", "41") == b"event: ping\nid: 41\ndata: x\n\n"
    assert encode("ping", b"x\ny") == b"event: ping\ndata: x\ndata: y\n\n"


def test_closing_drops_what_no_blank_line_ended_and_keeps_the_last_id() -> None:
    decoder = Decoder()
    assert decoder.feed(b"id: 3\nretry: 250\ndata: a\n\ndata: unfinished\r") == [Frame("message", b"a", "3")]
    decoder.close()
    assert decoder.feed(b"\xef\xbb\xbf\ndata: b\n\n") == [Frame("message", b"b", "3")]
    assert (decoder.last_id, decoder.retry) == ("3", 250)


def test_a_retry_that_is_not_a_small_number_is_ignored() -> None:
    decoder = Decoder()
    decoder.feed(b"retry: soon\nretry: " + b"9" * 5000 + b"\ndata: a\n\n")
    assert decoder.retry is None


def test_a_large_event_in_many_pieces_is_joined_once() -> None:
    decoder = Decoder()
    pieces = [b"data: "] + [b"x" * 1000] * 2000 + [b"\n\n"]
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    assert [len(frame.data) for frame in frames] == [2_000_000]
