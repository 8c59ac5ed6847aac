"""Several upstreams behind one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest

from causerie.errors import BadRequest
from causerie.upstreams.base import Delta, FinishDelta, ModelRequest, TextDelta
from causerie.upstreams.router import Router


class Named:
    """An upstream that says its name."""

    def __init__(self, name: str, *models: str) -> None:
        self.name = name
        self.listed = list(models)
        self.closed = 0
        self.given_up = 0

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        try:
            yield [TextDelta(f"{self.name} for {request.model}")]
            yield [FinishDelta("stop")]
        except GeneratorExit:
            self.given_up += 1
            raise

    async def models(self) -> list[str]:
        return self.listed

    async def close(self) -> None:
        self.closed += 1


def test_a_model_goes_to_its_upstream_and_others_to_the_default(run: Any, ask: Any, collect: Any) -> None:
    router = Router({"a": Named("one"), "b": Named("two")}, Named("rest"))

    async def scenario() -> None:
        for model, name in (("a", "one"), ("b", "two"), ("c", "rest")):
            batches = await collect(router, ask(model=model))
            assert batches == [[TextDelta(f"{name} for {model}")], [FinishDelta("stop")]]

    run(scenario())


def test_an_unknown_model_without_a_default_is_refused_with_the_names_that_exist(
    run: Any, ask: Any, collect: Any
) -> None:
    with pytest.raises(BadRequest, match=r"no model 'c' here\. Models: a, b") as caught:
        run(collect(Router({"b": Named("two"), "a": Named("one")}), ask(model="c")))
    assert caught.value.code == 3003
    with pytest.raises(BadRequest, match="none is configured"):
        run(collect(Router({}), ask(model="c")))


def test_the_models_are_the_configured_names_then_those_of_the_default(run: Any) -> None:
    one = Named("one", "hidden")
    assert run(Router({"b": one, "a": one}, Named("rest", "x", "a")).models()) == ["b", "a", "x"]
    assert run(Router({"b": one}).models()) == ["b"]


def test_giving_up_reaches_the_upstream(run: Any, ask: Any) -> None:
    one = Named("one")

    async def scenario() -> None:
        async with aclosing(Router({"a": one}).stream(ask(model="a"))) as batches:
            await anext(batches)
        # By the time that the caller has let go, not when somebody collects the garbage.
        assert one.given_up == 1

    run(scenario())


def test_closing_closes_each_upstream_once(run: Any) -> None:
    one, rest = Named("one"), Named("rest")
    run(Router({"a": one, "b": one, "c": rest}, rest).close())
    assert (one.closed, rest.closed) == (1, 1)
