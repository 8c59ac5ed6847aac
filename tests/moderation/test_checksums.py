"""Each check takes the numbers that its authority publishes as examples, and notices every digit that is wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causerie.moderation import checksums

EXAMPLES: list[tuple[Callable[[str], bool], str]] = [
    (checksums.luhn, "4111111111111111"),
    (checksums.luhn, "378282246310005"),
    (checksums.luhn, "8112289874"),
    (checksums.iban, "DE89370400440532013000"),
    (checksums.iban, "GB82WEST12345698765432"),
    (checksums.iban, "NO9386011117947"),
    (checksums.verhoeff, "2363"),
    (checksums.verhoeff, "234123412346"),
    (checksums.ean, "7569217076985"),
    (checksums.cpf, "11144477735"),
    (checksums.nir, "255081416802538"),
    (checksums.nrn, "93051822361"),
    (checksums.dni, "12345678Z"),
    (checksums.dni, "X1234567L"),
    (checksums.codice_fiscale, "RSSMRA85T10A562S"),
    (checksums.steuer_id, "86095742719"),
    (checksums.hetu, "131052308T"),
    (checksums.pesel, "44051401359"),
    (checksums.nhs, "9434765919"),
]


def named(value: object) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(("check", "number"), EXAMPLES, ids=named)
def test_an_example_is_right(check: Callable[[str], bool], number: str) -> None:
    assert check(number)


@pytest.mark.parametrize(("check", "number"), EXAMPLES, ids=named)
def test_one_wrong_digit_is_noticed(check: Callable[[str], bool], number: str) -> None:
    wrong = [
        number[:place] + str(digit) + number[place + 1 :]
        for place, letter in enumerate(number)
        for digit in range(10)
        if letter.isdigit() and str(digit) != letter
    ]
    taken = [one for one in wrong if check(one)]
    # A letter for the sum of weights below 26 cannot tell all digits apart.
    assert len(taken) <= (2 if check is checksums.codice_fiscale else 0), taken


@pytest.mark.parametrize("check", [checksums.luhn, checksums.verhoeff])
@given(head=st.text("0123456789", min_size=1, max_size=18))
def test_one_digit_in_ten_fits(check: Callable[[str], bool], head: str) -> None:
    assert sum(check(head + digit) for digit in "0123456789") == 1


@given(st.sampled_from(["DE", "FR", "GB", "XK"]), st.text("0123456789ABCXYZ", min_size=11, max_size=30))
def test_an_account_number_has_one_pair_of_check_digits(country: str, account: str) -> None:
    fitting = [digits for digits in range(2, 99) if checksums.iban(f"{country}{digits:02}{account}")]
    assert len(fitting) == 1


def test_an_odd_number_of_the_same_digit_is_nobodys() -> None:
    assert not any(checksums.cpf(digit * 11) for digit in "0123456789")


@pytest.mark.parametrize("number", ["06095742719", "11111111111", "12345678903", "11223456786"])
def test_a_german_tax_number_repeats_one_digit(number: str) -> None:
    assert not checksums.steuer_id(number)


@pytest.mark.parametrize(
    ("year", "month", "day", "there"), [(2024, 2, 29, True), (2023, 2, 29, False), (0, 1, 1, False)]
)
def test_a_date_is_one_of_the_calendar(year: int, month: int, day: int, there: bool) -> None:
    assert checksums.is_date(year, month, day) == there
