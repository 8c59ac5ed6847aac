"""What tells who somebody is, found by rules: the category `pii` without a model, a download or a network.

A rule is a pattern and, where numbers of its kind have one, a check. Every pattern is bounded: from each place in a
text it looks at no more than `REACH` characters and never turns back, so that a text costs what its length says,
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
_PIECE = 1 << 14
_FLAGGED = 0.5
_LONGEST_FORM = 4  # a single character may stand for eighteen, and a text of them must not become that long
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
    """A kind of thing: its pattern, how sure a find is, what else has to hold of it, and what a text without has none.

    A pattern begins with a set of characters, which is what `re` is quick to look for; what may repeat never gives
    back what it took, so that no text can make it try the same characters in many ways.
    """

    kind: str
    pattern: re.Pattern[str]
    sure: float
    holds: Callable[[str], bool]
    needs: re.Pattern[str]


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


def _email(text: str) -> bool:
    top = text.rpartition(".")[2].rstrip("_-")
    return len(top) > 1 and top.isalpha()


def _any(_: str) -> bool:
    return True


def _by_digits(check: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: check(_digits(text))


def _by_letters(check: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: check(_letters(text))


def _ibans() -> str:
    """Bank account numbers behind their first four characters, which say how long they are."""
    found = []
    for length, countries in re.findall(r"(\d\d)((?: [A-Z]{2})+)", _IBANS):
        found.append(rf"(?<=(?i:{'|'.join(countries.split())})\d\d)(?: ?+[A-Za-z0-9]){{{int(length) - 4}}}")
    return rf"[A-Za-z]\d\d(?:{'|'.join(found)})"


# How sure a find is says what else looks like it: of the surest there is a checksum or a form that nothing else has.
# First comes the set of characters that one begins with, then the rest.
_NUMBERS: tuple[tuple[str, float, Callable[[str], bool], str, str], ...] = (
    ("card", 0.99, _card, r"\d", r"(?:\d{12,18}+|\d{3}([ -])\d{4}\1\d{4}\1\d{4}|\d{3}([ -])\d{6}\2\d{4,5}+)"),
    ("iban", 0.99, _by_letters(checksums.iban), r"[A-Za-z]", _ibans()),
    ("phone", 0.7, _any, r"[2-9]", r"\d\d(?:\) ?+|[ .-])[2-9]\d\d[ .-]\d{4}"),
    ("phone", 0.6, _phone, r"0", r"[1-9]\d{0,3}+\)?+[ /-](?!\d\d[-/]\d{4})\d{2,8}+(?:[ -]\d{2,4}+){0,4}+"),
    ("phone", 0.5, _any, r"0", r"[1-9]\d{8,9}+"),
    ("ip address", 0.6, _address, r"\d", r"\d{0,2}+(?:\.\d{1,3}+){3}"),
    ("US social security number", 0.8, _any, r"[0-8]", r"\d\d(?<!000)(?<!666)([ -])(?!00)\d\d\1(?!0000)\d{4}"),
    ("UK national insurance number", 0.7, _any, r"[A-CEGHJ-PR-TW-Z]",
     r"[A-CEGHJ-NPR-TW-Z](?<!BG)(?<!GB)(?<!NK)(?<!KN)(?<!TN)(?<!NT)(?<!ZZ) ?+\d\d ?+\d\d ?+\d\d ?+[A-D]"),
    ("English health service number", 0.7, _by_digits(checksums.nhs), r"\d", r"\d\d \d{3} \d{4}"),
    ("French social security number", 0.9, _by_letters(checksums.nir), r"[1-478]",
     r" ?+\d\d ?+\d\d ?+\d[\dAB] ?+\d{3} ?+\d{3} ?+\d\d"),
    ("Spanish identity number", 0.8, _by_letters(checksums.dni), r"\d", r"\d{7}[ -]?+[A-Z]"),
    ("Spanish identity number", 0.8, _by_letters(checksums.dni), r"[XYZ]", r"[ -]?+\d{7}[ -]?+[A-Z]"),
    ("Italian tax code", 0.95, checksums.codice_fiscale, r"[A-Z]", r"[A-Z]{5}\d\d[A-EHLMPRST]\d\d[A-Z]\d{3}[A-Z]"),
    ("German tax number", 0.6, _by_digits(checksums.steuer_id), r"[1-9]", r"\d ?+\d{3} ?+\d{3} ?+\d{3}"),
    ("Polish personal number", 0.6, checksums.pesel, r"\d", r"\d{10}"),
    ("Belgian national number", 0.9, _by_digits(checksums.nrn), r"\d", r"\d\.\d\d\.\d\d-\d{3}[.-]\d\d"),
    ("Swiss insurance number", 0.9, _by_digits(checksums.ean), r"7", r"56(\.?+)\d{4}\1\d{4}\1\d\d"),
    ("Swedish personal number", 0.8, _swedish, r"\d", r"\d{5}(?:\d\d)?+[-+]\d{4}"),
    ("Finnish identity code", 0.9, _by_letters(checksums.hetu), r"\d", r"\d{5}[-+A-FU-Y]\d{3}[0-9A-Y]"),
    ("Brazilian taxpayer number", 0.9, _by_digits(checksums.cpf), r"\d", r"\d\d\.\d{3}\.\d{3}-\d\d"),
    ("Indian Aadhaar number", 0.7, _by_digits(checksums.verhoeff), r"[2-9]", r"\d{3} \d{4} \d{4}"),
)  # fmt: skip
_DIGIT = re.compile(r"\d", re.ASCII)


def _rules() -> Iterator[Rule]:
    # In these, letters and digits of every script may stand; what has digits alone is written in ASCII.
    email = r"[\w.%+'-](?<![\w.%+'-].)[\w.%+'-]{0,63}+@[\w-]{1,63}+(?:\.[\w-]{1,63}+){1,8}+"
    yield Rule("email", re.compile(email), 0.95, _email, re.compile("@"))
    phone = re.compile(r"\+(?<![\w+]\+)[1-9](?:[ .()/-]{0,2}+\d){7,14}+(?!\d)", re.ASCII)
    yield Rule("phone", phone, 0.85, _any, re.compile(r"\+"))
    v6 = r"[0-9A-Fa-f:](?<![\w:.].)[0-9A-Fa-f]{0,3}+(?::[0-9A-Fa-f]{0,4}+){1,7}+(?![\w:])"
    yield Rule("ip address", re.compile(v6, re.ASCII), 0.6, _address, re.compile("::|:[0-9A-Fa-f]{1,4}:"))
    for kind, sure, holds, first, rest in _NUMBERS:
        # A number begins and ends where no longer one goes on.
        pattern = rf"{first}(?<![\w.+-].){rest}(?![\w-]|\.\w)"
        yield Rule(kind, re.compile(pattern, re.ASCII), sure, holds, _DIGIT)


RULES = tuple(_rules())


def find(text: str, start: int = 0, stop: int | None = None) -> Iterator[Finding]:
    """Yield what is found in `text`, rule by rule; only what begins from `start` up to `stop`."""
    stop = len(text) if stop is None else stop
    end = min(len(text), stop + REACH)
    for rule in RULES:
        if rule.needs.search(text, start, end) is None:
            continue
        for found in rule.pattern.finditer(text, start, end):
            if found.start() < stop and rule.holds(found[0]):
                yield Finding(rule.kind, found.start(), found.end(), rule.sure)


class _Plain(dict[int, str]):
    """Each character in its plain form, found out when it first comes; a mark upon another one is left out.

    One by one: to normalize a whole text takes time that grows with the square of how many marks stand together.
    """

    def __missing__(self, code: int) -> str:
        letter = chr(code)
        normal = "" if unicodedata.combining(letter) else unicodedata.normalize("NFKC", letter)
        self[code] = found = normal if len(normal) <= _LONGEST_FORM else letter
        return found


_PLAIN = _Plain()


def plain(text: str) -> str:
    """Return `text` with letters and digits in their plain form, for wide ones are read like them."""
    return text if text.isascii() else text.translate(_PLAIN)


class Rules:
    """The moderator of `pii`: a text is as much of it as the surest thing found in it."""

    @property
    def offered(self) -> Offered:
        """See `Moderator.offered`."""
        return Offered(frozenset({CATEGORY}))

    async def score(self, request: ModerationRequest) -> Scored:
        """See `Moderator.score`. A long text is read in pieces, so that others get their turn in between."""
        results = []
        for given in request.texts:
            text, sure = await _unhurried(given), 0.0
            for start in range(0, len(text), _PIECE):
                sure = max([sure, *(found.sure for found in find(text, start, start + _PIECE))])
                await asyncio.sleep(0)
            results.append({CATEGORY: Score(sure, sure >= _FLAGGED)})
        return Scored(results)

    async def close(self) -> None:
        """There is nothing to let go of."""


async def _unhurried(text: str) -> str:
    """Return `text` in plain form; a long one is not read in one go either."""
    found = []
    for start in range(0, len(text), _PIECE):
        found.append(plain(text[start : start + _PIECE]))
        await asyncio.sleep(0)
    return "".join(found)
