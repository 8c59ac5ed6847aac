"""What tells who somebody is, found by rules: the category `pii` without a model, a download or a network.

A rule is a pattern and, where numbers of its kind have one, a check. Every pattern is bounded: from each place in a
text it looks at no more than `REACH` characters and takes few turns back, so that a text costs what its length says,
whatever is in it. Names and addresses of houses are not found: that takes a model.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator
from typing import NamedTuple

from . import checksums
from .base import ModerationRequest, Offered, Score, Scored

CATEGORY = "pii"
REACH = 700
_PIECE = 1 << 16
_FLAGGED = 0.5
_IBANS = """
    15 NO | 16 BE | 18 DK FI FK FO GL NL SD | 19 MK SI | 20 AT BA EE KZ LT LU MN XK | 21 CH HR LI LV
    22 BG BH CR DE GB GE IE ME RS VA | 23 AE GI IL IQ OM SO TL | 24 AD CZ ES MD PK RO SA SE SK ST TN VG
    25 LY PT | 26 IS TR | 27 BI DJ FR GR IT MC MR SM | 28 AL AZ BY CY DO GT HU LB NI PL SV | 29 BR EG PS QA UA
    30 JO KW MU | 31 MT SC | 32 LC | 33 RU
"""
_CARD = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:2(?:2[1-9]|[3-9]\d)|[3-6]\d\d|7(?:[01]\d|20))\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|35\d{14}|6(?:011|4[4-9]\d|5\d\d)\d{12}|62\d{14,17}"
)


class Finding(NamedTuple):
    """One thing that was found: its kind, where it stands, and how sure that is."""

    kind: str
    start: int
    end: int
    sure: float


class Rule(NamedTuple):
    """A kind of thing: its pattern, how sure a find is, and what else has to hold of the text that was found."""

    kind: str
    pattern: re.Pattern[str]
    sure: float
    holds: Callable[[str], bool]


def _digits(text: str) -> str:
    return "".join(letter for letter in text if letter.isdigit())


def _letters(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum()).upper()


def _card(text: str) -> bool:
    digits = _digits(text)
    return _CARD.fullmatch(digits) is not None and checksums.luhn(digits)


def _address(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).is_global
    except ValueError:
        return False


def _swedish(text: str) -> bool:
    digits = _digits(text)[-10:]
    years = (1900 + int(digits[:2]), 2000 + int(digits[:2]))
    born = any(checksums.is_date(year, int(digits[2:4]), int(digits[4:6])) for year in years)
    return born and checksums.luhn(digits)


def _phone(text: str) -> bool:
    return 9 <= len(_digits(text)) <= 12


def _ibans() -> str:
    """Bank account numbers, each country's with its length: as a pattern that knows where a number ends."""
    found = []
    for length, countries in re.findall(r"(\d\d)((?: [A-Z]{2})+)", _IBANS):
        found.append(rf"(?:{'|'.join(countries.split())})\d\d(?: ?[A-Z0-9]){{{int(length) - 4}}}")
    return rf"(?i:{_ON}(?:{'|'.join(found)}){_OFF})"


def _any(_: str) -> bool:
    return True


def _rules() -> Iterator[Rule]:
    """Yield every rule. What is sure says what else looks like it: a checksum or a form that nothing else has."""

    def digits(check: Callable[[str], bool]) -> Callable[[str], bool]:
        return lambda text: check(_digits(text))

    def letters(check: Callable[[str], bool]) -> Callable[[str], bool]:
        return lambda text: check(_letters(text))

    rows: tuple[tuple[str, float, Callable[[str], bool], str], ...] = (
        ("card", 0.99, _card, r"\d{13,19}+|\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}([ -])\d{6}\2\d{4,5}"),
        ("phone", 0.7, _any, r"(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .-])[2-9]\d\d[ .-]\d{4}"),
        ("phone", 0.6, _phone, r"\(?0[1-9]\d{0,3}\)?[ /-](?!\d\d[-/]\d{4})\d{2,8}(?:[ -]\d{2,4}){0,4}"),
        ("phone", 0.5, _any, r"0[1-9]\d{8,9}"),
        ("ip address", 0.6, _address, r"\d{1,3}(?:\.\d{1,3}){3}"),
        ("US social security number", 0.8, _any, r"(?!000|666|9)\d{3}([ -])(?!00)\d\d\1(?!0000)\d{4}"),
        ("UK national insurance number", 0.7, _any,
         r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d\d ?\d\d ?\d\d ?[A-D]"),
        ("English health service number", 0.7, digits(checksums.nhs), r"\d{3} \d{3} \d{4}"),
        ("French social security number", 0.9, letters(checksums.nir),
         r"[1-478] ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d"),
        ("Spanish identity number", 0.8, letters(checksums.dni), r"(?:\d{8}|[XYZ][ -]?\d{7})[ -]?[A-Z]"),
        ("Italian tax code", 0.95, checksums.codice_fiscale, r"[A-Z]{6}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]"),
        ("German tax number", 0.6, digits(checksums.steuer_id), r"\d\d ?\d{3} ?\d{3} ?\d{3}"),
        ("Polish personal number", 0.6, checksums.pesel, r"\d{11}"),
        ("Belgian national number", 0.9, digits(checksums.nrn), r"\d\d\.\d\d\.\d\d-\d{3}[.-]\d\d"),
        ("Swiss insurance number", 0.9, digits(checksums.ean), r"756(\.?)\d{4}\1\d{4}\1\d\d"),
        ("Swedish personal number", 0.8, _swedish, r"(?:19|20)?\d{6}[-+]\d{4}"),
        ("Finnish identity code", 0.9, letters(checksums.hetu), r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]"),
        ("Brazilian taxpayer number", 0.9, digits(checksums.cpf), r"\d{3}\.\d{3}\.\d{3}-\d\d"),
        ("Indian Aadhaar number", 0.7, digits(checksums.verhoeff), r"[2-9]\d{3} \d{4} \d{4}"),
    )  # fmt: skip
    # Letters and digits of every script may be in these two; what has digits alone is written in ASCII.
    yield Rule("email", re.compile(r"(?<![\w.%+'-])[\w.%+'-]{1,64}+@(?:[\w-]{1,63}+\.){1,8}[^\W\d_]{2,63}"), 0.95, _any)
    yield Rule("phone", re.compile(r"(?<![\w+])\+[1-9](?:[ .()/-]{0,2}\d){7,14}+(?!\d)", re.ASCII), 0.85, _any)
    yield Rule("iban", re.compile(_ibans(), re.ASCII), 0.99, letters(checksums.iban))
    v6 = r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])"
    yield Rule("ip address", re.compile(v6, re.ASCII), 0.6, _address)
    for kind, sure, holds, pattern in rows:
        yield Rule(kind, re.compile(rf"{_ON}(?:{pattern}){_OFF}", re.ASCII), sure, holds)


# A number begins and ends where no longer one goes on.
_ON = r"(?<![\w.+-])"
_OFF = r"(?![\w-]|\.\w)"
RULES = tuple(_rules())


def find(text: str, start: int = 0, stop: int | None = None) -> Iterator[Finding]:
    """Yield what is found in `text`, rule by rule; only what begins from `start` up to `stop`."""
    stop = len(text) if stop is None else stop
    for rule in RULES:
        for found in rule.pattern.finditer(text, start, min(len(text), stop + REACH)):
            if found.start() < stop and rule.holds(found[0]):
                yield Finding(rule.kind, found.start(), found.end(), rule.sure)


def plain(text: str) -> str:
    """Return `text` with letters and digits in their plain form, for wide ones are read like them."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


class Rules:
    """The moderator of `pii`: a text is as much of it as the surest thing found in it."""

    @property
    def offered(self) -> Offered:
        """See `Moderator.offered`."""
        return Offered(frozenset({CATEGORY}))

    async def score(self, request: ModerationRequest) -> Scored:
        """See `Moderator.score`. A long text is read in pieces, so that others get their turn in between."""
        results = []
        for text in map(plain, request.texts):
            sure = 0.0
            for start in range(0, len(text), _PIECE):
                sure = max([sure, *(found.sure for found in find(text, start, start + _PIECE))])
                await asyncio.sleep(0)
            results.append({CATEGORY: Score(sure, sure >= _FLAGGED)})
        return Scored(results)

    async def close(self) -> None:
        """There is nothing to let go of."""
