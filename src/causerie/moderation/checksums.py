"""The checks that tell a number which somebody was given from one that only looks like it. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

_TIMES = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5), (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7), (4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3), (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)  # fmt: skip
_SHUFFLE = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_ODD_LETTERS = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def luhn(digits: str) -> bool:
    """Payment cards, and Sweden's personal numbers."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def iban(text: str) -> bool:
    """ISO 7064 mod 97-10, as in bank account numbers: capitals and digits, the country first."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1


def verhoeff(digits: str) -> bool:
    """India's Aadhaar."""
    shuffle, check = tuple(range(10)), 0
    for digit in reversed(digits):
        check = _TIMES[check][shuffle[int(digit)]]
        shuffle = tuple(shuffle[one] for one in _SHUFFLE)
    return check == 0


def weighed(digits: str, weights: Iterable[int], modulus: int) -> bool:
    """Whether the digits, each times its weight, add up to a multiple of `modulus`."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True)) % modulus == 0


def ean(digits: str) -> bool:
    """Thirteen digits as on goods, and in Switzerland's insurance numbers."""
    return weighed(digits, (1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1), 10)


def cpf(digits: str) -> bool:
    """Brazil's taxpayers: two check digits, each over all that stand before it."""
    if len(set(digits)) == 1:
        return False
    return all(
        sum(int(digit) * weight for digit, weight in zip(digits, range(length + 1, 1, -1), strict=False)) * 10 % 11 % 10
        == int(digits[length])
        for length in (9, 10)
    )


def nir(text: str) -> bool:
    """France's social security number, with its key; Corsica's departments have letters."""
    number = text[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(text[13:])


def nrn(digits: str) -> bool:
    """Belgium's national number: those born since 2000 reckon with a 2 before it."""
    return any(97 - int(before + digits[:9]) % 97 == int(digits[9:]) for before in ("", "2"))


def dni(text: str) -> bool:
    """Spain's identity numbers: of citizens eight digits, of foreigners X, Y or Z and seven, then a letter."""
    number = str("XYZ".find(text[0])) + text[1:-1] if text[0] in "XYZ" else text[:-1]
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1]


def codice_fiscale(text: str) -> bool:
    """Italy's tax code."""
    total = sum(
        int(letter, 36) - (0 if letter.isdigit() else 10) if place % 2 else _ODD_LETTERS[letter]
        for place, letter in enumerate(text[:15])
    )
    return chr(ord("A") + total % 26) == text[15]


def steuer_id(digits: str) -> bool:
    """Germany's tax number: of its first ten digits exactly one comes twice or three times; ISO 7064 mod 11,10."""
    counts = [digits[:10].count(digit) for digit in set(digits[:10])]
    if digits[0] == "0" or max(counts) not in (2, 3) or sum(count > 1 for count in counts) != 1:
        return False
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


def hetu(text: str) -> bool:
    """Finland's personal identity code, its separator left out."""
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:9]) % 31] == text[9]


def pesel(digits: str) -> bool:
    """Poland's personal number: the century is in the month."""
    century, month = divmod(int(digits[2:4]), 20)
    year = (1900, 2000, 2100, 2200, 1800)[century] + int(digits[:2])
    return is_date(year, month, int(digits[4:6])) and weighed(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10)


def nhs(digits: str) -> bool:
    """The health service of England."""
    return weighed(digits, range(10, 0, -1), 11)


def is_date(year: int, month: int, day: int) -> bool:
    """Whether there is such a day."""
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
