"""A run's answer as one of pydantic's models, which our client never imports itself."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from causerie.client import Mistral, errors
from causerie.client.run import Function
from tests.support.running import serving
from tests.support.scripted import ScriptedServer

pydantic = pytest.importorskip("pydantic", reason="the official SDK brings it")


class Place(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    """Where somebody goes."""

    city: str


class Trip(pydantic.BaseModel):  # type: ignore[misc, name-defined]
    """A trip."""

    to: Place
    days: int = pydantic.Field(ge=2)


def test_an_answer_and_arguments_are_models_of_pydantics() -> None:
    seen: list[Any] = []

    def plan(to: Place, others: list[Place]) -> Trip:
        """Plan a trip."""
        seen.extend([to, *others])
        return Trip(to=to, days=2)

    parameters = Function(plan).tool.function.parameters
    assert parameters["properties"]["to"]["properties"]["city"]["type"] == "string"
    with (
        ScriptedServer().running() as models,
        serving(upstream=models.url) as url,
        Mistral(server_url=url) as mistral,
    ):
        script = models.script()
        script.call("plan", {"to": {"city": "Lyon"}, "others": [{"city": "Nice"}]})
        script.say('{"to": {"city": "Lyon"}, "days": 3}')
        run = mistral.beta.conversations.run
        result = run(inputs="Plan.", model=script.name, functions=[plan], output=Trip)
        assert result.output == Trip(to=Place(city="Lyon"), days=3)
        assert seen == [Place(city="Lyon"), Place(city="Nice")]
        assert script.last.messages[-1]["content"] == '{"to":{"city":"Lyon"},"days":2}'

        script.say('{"to": {"city": "Lyon"}, "days": 1}')
        with pytest.raises(errors.WrongOutput, match="greater than or equal to 2"):
            run(inputs="Plan.", model=script.name, output=Trip)
        script.close()


def test_our_client_does_not_import_pydantic() -> None:
    code = "import sys, causerie.client.run; print(sorted({'pydantic', 'mcp', 'jsonschema_rs'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
