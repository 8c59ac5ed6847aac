"""The tree of exceptions: what the docstring draws is what there is, and each says its status and code."""

from __future__ import annotations

import inspect
import re

import pytest

from causerie import errors
from causerie.errors import APIError, BadRequest, CauserieError, InvalidRequest

CLASSES = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, CauserieError)]


def test_the_tree_that_is_drawn_is_the_tree() -> None:
    drawn = {name: int(status or 0) for name, status in re.findall(r"\b([A-Z]\w+)(?: (\d{3}))?", errors.__doc__ or "")}
    assert {one.__name__ for one in CLASSES} <= drawn.keys()
    statuses = {one.__name__: one.status_code for one in CLASSES if issubclass(one, APIError) and one is not APIError}
    assert {name: status for name, status in drawn.items() if status and name in statuses} == {
        name: status for name, status in statuses.items() if drawn[name]
    }


@pytest.mark.parametrize("one", CLASSES, ids=lambda one: one.__name__)
def test_the_docstring_is_the_message(one: type[CauserieError]) -> None:
    assert one().message == (one.__doc__ or "").strip()
    assert one("Something more exact.").message == str(one("Something more exact.")) == "Something more exact."


def test_an_occurrence_may_have_a_code_and_headers_of_its_own() -> None:
    error = BadRequest("No such model.", code=3003, headers={"Retry-After": "1"})
    assert (error.status_code, error.code, error.headers) == (400, 3003, {"Retry-After": "1"})
    assert BadRequest(code=1).code != BadRequest.code
    assert BadRequest().headers == {}


def test_a_refused_field_has_the_list_that_the_sdks_demand() -> None:
    error = InvalidRequest("Too many.", loc=("body", "tools", 0), kind="too_long", given=5)
    assert error.detail == [{"type": "too_long", "loc": ["body", "tools", 0], "msg": "Too many.", "input": 5}]
