"""What the rules find and what they leave alone, and that no text makes them slow."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from re import _constants as constants  # type: ignore[attr-defined]  # how a pattern is built is only known to `re`
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from causerie.moderation import checksums, pii
from causerie.moderation.base import ModerationRequest, Score

FOUND = [
    ("email", "ada@example.com"),
    ("email", "ada.lovelace+letters@mail.example.co.uk"),
    ("email", "ædå@bücher.example"),
    ("card", "4111111111111111"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5555-5555-5555-4444"),
    ("card", "3782 822463 10005"),
    ("card", "6011111111111117"),
    ("card", "2223003122003222"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "gb82west12345698765432"),
    ("phone", "+1 (415) 555-2671"),
    ("phone", "+33 (0)6 12 34 56 78"),
    ("phone", "+4917012345678"),
    ("phone", "06 12 34 56 78"),
    ("phone", "0612345678"),
    ("phone", "030 1234 5678"),
    ("phone", "0171/123 4567"),
    ("phone", "030) 1234567"),
    ("phone", "415) 555-2671"),
    ("phone", "415-555-2671"),
    ("ip address", "8.8.8.8"),
    ("ip address", "2001:4860:4860::8888"),
    ("US social security number", "078-05-1120"),
    ("US social security number", "078 05 1120"),
    ("UK national insurance number", "AB 12 34 56 C"),
    ("English health service number", "943 476 5919"),
    ("French social security number", "2 55 08 14 168 025 38"),
    ("Spanish identity number", "12345678Z"),
    ("Spanish identity number", "X-1234567-L"),
    ("Italian tax code", "RSSMRA85T10A562S"),
    ("German tax number", "86 095 742 719"),
    ("Polish personal number", "44051401359"),
    ("Belgian national number", "93.05.18-223.61"),
    ("Swiss insurance number", "756.9217.0769.85"),
    ("Swedish personal number", "19811228-9874"),
    ("Finnish identity code", "131052-308T"),
    ("Brazilian taxpayer number", "111.444.777-35"),
    ("Indian Aadhaar number", "2341 2341 2346"),
]
LEFT_ALONE = [
    "", "Hello!", "Ada Lovelace, born 10 December 1815", "10.12.1815", "01/02/2024", "01-02-2024", "2024-01-02",
    "2024-01-02T10:20:30.123456Z", "12:30:45", "1.2.3", "v10.2.3.4-rc1", "127.0.0.1", "192.168.178.1", "::1", "fe80::1",
    "999.999.999.999", "@mention", "user@host", "a@b", "€ 1,234,567.89", "1700000000000", "1700000000000000",
    "order 123456789", "4111 1111 1111 1112", "4111111111111112", "1111111111111111", "DE89370400440532013001",
    "FR89370400440532013000", "000-12-3456", "666-12-3456", "912-12-3456", "078-00-1120", "078-05-0000",
    "12345678A", "RSSMRA85T10A562T", "93.05.18-223.62", "756.9217.0769.86", "811328-9874", "811228-9875",
    "131052-308U", "111.444.777-36", "2341 2341 2347", "143 476 5918", "GB 12 34 56 C", "x = 0x4111111111111111",
    "3.14159265358979323846", "deadbeef-dead-beef-dead-beefdeadbeef", "019fce791e4b7c0d8f6b2a5c3d4e5f60",
]  # fmt: skip


def kinds(text: str) -> set[str]:
    return {found.kind for found in pii.find(pii.plain(text))}


def score(*texts: str) -> list[Score]:
    request = ModerationRequest(model="", texts=texts, categories=frozenset({"pii"}))
    return [one["pii"] for one in asyncio.run(pii.Rules().score(request)).results]


@pytest.mark.parametrize(("kind", "text"), FOUND)
@pytest.mark.parametrize(
    "around", ["{}", "It is {}.", "({})", '"{}", and more', "{}\nnext", "ü {}!", "a: {}, 12 34 AB"]
)
def test_what_tells_who_somebody_is_is_found(kind: str, text: str, around: str) -> None:
    whole = around.format(text)
    assert (kind, text) in {(found.kind, whole[found.start : found.end]) for found in pii.find(whole)}


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert kinds(text) == set()


def wide(text: str) -> str:
    """Return `text` in the wide letters of East Asian typesetting."""
    return "".join(chr(ord(letter) + 0xFEE0) if letter > " " else letter for letter in text)


@pytest.mark.parametrize(
    "text",
    [
        wide("ada@example.com"), wide("4111 1111 1111 1111"), "4111\u00a01111\u00a01111\u00a01111",
        "jose\u0301@example.com", "4\u0300111 1111\u0315 1111 1\u0334111",
    ],
)  # fmt: skip
def test_other_forms_of_letters_and_digits_are_read_as_the_usual_ones(text: str) -> None:
    assert score(text)[0].flagged


def test_a_text_is_as_much_of_it_as_the_surest_thing_in_it() -> None:
    assert score("", "8.8.8.8", "8.8.8.8 or ada@example.com", "ada@example.com, 4111111111111111") == [
        Score(0.0, flagged=False), Score(0.6, flagged=True), Score(0.95, flagged=True), Score(0.99, flagged=True),
    ]  # fmt: skip


@given(st.text("0123456789", min_size=15, max_size=15))
def test_a_card_is_found_exactly_when_its_checksum_fits(digits: str) -> None:
    number = f"4{digits}"
    assert ("card" in kinds(number)) == checksums.luhn(number)
    grouped = " ".join(number[place : place + 4] for place in range(0, 16, 4))
    assert ("card" in kinds(grouped)) == checksums.luhn(number)


@given(st.text("0123456789", min_size=18, max_size=18), st.integers(2, 98))
def test_an_account_is_found_exactly_when_its_checksum_fits(account: str, check: int) -> None:
    number = f"DE{check:02}{account}"
    assert ("iban" in kinds(number)) == checksums.iban(number)


@given(st.integers(0, 3 * pii._PIECE), st.sampled_from(["ada@example.com", "DE89 3704 0044 0532 0130 00"]))
@settings(max_examples=20, deadline=None)
def test_it_is_found_wherever_it_stands_in_a_long_text(place: int, what: str) -> None:
    text = "." * place + " " + what + " " + "." * (3 * pii._PIECE - place)
    whole = {found.kind for found in pii.find(text)}
    assert score(text)[0].value == max(rule.sure for rule in pii.RULES if rule.kind in whole)


@pytest.mark.parametrize("shift", range(-22, 2))
def test_it_is_found_across_the_edge_of_a_piece(shift: int) -> None:
    text = "." * (pii._PIECE + shift - 1) + " 4111 1111 1111 1111"
    assert score(text) == [Score(0.99, flagged=True)]


@given(st.text(alphabet="0123456789+-./ ()@:ABZaz\u0661\uff11é", max_size=200))
@settings(max_examples=500)
def test_no_text_breaks_a_rule(text: str) -> None:
    plain = pii.plain(text)
    for found in pii.find(plain):
        assert 0 <= found.start < found.end <= len(plain)
        assert found.end - found.start <= pii.REACH


def parts(pattern: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every part of a parsed pattern, those inside of others included."""
    for kind, value in pattern:
        yield kind, value
        for inner in value if isinstance(value, tuple | list) else [value]:
            for one in inner if isinstance(inner, list) else [inner]:
                if isinstance(one, parser.SubPattern):
                    yield from parts(one)


@pytest.mark.parametrize("rule", pii.RULES, ids=lambda rule: rule.kind)
def test_a_rule_is_bounded_by_the_way_it_is_written(rule: pii.Rule) -> None:
    parsed = parser.parse(rule.pattern.pattern, rule.pattern.flags)
    shortest, longest = parsed.getwidth()
    assert 0 < shortest <= longest <= pii.REACH
    for kind, value in parts(parsed):
        if kind in (constants.MAX_REPEAT, constants.MIN_REPEAT):
            fewest, most, _ = value
            assert fewest == most, "what may repeat could give back what it took"


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "0",
        "a@",
        "@",
        "a.",
        "a@a.",
        "a@" + "a." * 20,
        "1 ",
        "1-",
        "(0",
        "+1 ",
        "0 1",
        "::",
        "1:",
        "1.",
        "DE00 ",
        "AA00A ",
        "é",
        "\u0315\u0300\u0334",  # marks that want to stand in another order
        "\ufdfa",  # one that stands for eighteen
    ],
)
def test_much_of_almost_anything_is_read_to_its_end(piece: str) -> None:
    text = (piece * (200_000 // len(piece)))[:200_000]
    assert score(text, text + " ada@example.com")[1].value >= 0.95


@pytest.mark.parametrize("pattern", [r"a+b", r"(?:a{1,3}){2}b", r"a*+b", r"(?:ab?|c){2}"])
def test_a_pattern_that_is_not_bounded_would_be_noticed(pattern: str) -> None:
    loose = pii.Rule("loose", re.compile(pattern), 0.5, lambda _: True, re.compile("a"))
    with pytest.raises(AssertionError):
        test_a_rule_is_bounded_by_the_way_it_is_written(loose)
