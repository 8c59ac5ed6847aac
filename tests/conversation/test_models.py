"""The models: listed and looked up through the official SDK, and through plain HTTP."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from causerie.settings import ModelRoute
from tests.support.library import errors
from tests.support.raw import Raw
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import Clients, Portal, Way
from tests.support.stage import BEHIND

CAPABILITIES = {"completion_chat", "function_calling", "completion_fim", "fine_tuning", "vision", "classification"}


class Models:
    """The SDK's `models`, on either of its sides."""

    def __init__(self, mistral: Any, portal: Portal | None) -> None:
        self._models, self._portal = mistral.models, portal

    def list(self, **arguments: Any) -> Any:
        return self._call("list", arguments)

    def retrieve(self, **arguments: Any) -> Any:
        return self._call("retrieve", arguments)

    def _call(self, name: str, arguments: dict[str, Any]) -> Any:
        if self._portal is None:
            return getattr(self._models, name)(**arguments)
        return self._portal.call(getattr(self._models, f"{name}_async")(**arguments))


@pytest.fixture
def models(clients: Clients, way: Way, server_url: str) -> Models:
    """The SDK's `models`."""
    mistral = BEHIND[server_url] if way.in_process else clients.mistral
    return Models(mistral, clients.portal if way.mode == "async" else None)


@pytest.mark.requirement("C-282")
def test_the_models_of_the_upstream_are_listed(models: Models, model: Script) -> None:
    listed = models.list()

    assert listed.object == "list"
    (card,) = [card for card in listed.data if card.id == model.name]
    assert (card.object, card.type) == ("model", "base")
    assert type(card).__name__ == "BaseModelCard"
    assert card.capabilities.completion_chat is True


@pytest.mark.requirement("C-282")
def test_a_model_that_is_listed_can_be_looked_up(models: Models, model: Script) -> None:
    card = models.retrieve(model_id=model.name)

    assert (card.id, card.type) == (model.name, "base")
    assert type(card).__name__ == "BaseModelCard"
    (listed,) = [one for one in models.list().data if one.id == model.name]
    assert card.model_dump() == listed.model_dump()


@pytest.mark.requirement("C-282")
def test_the_cards_have_what_both_generations_need(raw: Raw, model: Script) -> None:
    answer = raw.get("/v1/models")

    assert answer.status == 200
    assert answer.headers["content-type"].partition(";")[0] == "application/json"
    assert answer.json.keys() == {"object", "data"}
    ids = [card["id"] for card in answer.json["data"]]
    assert model.name in ids
    assert len(set(ids)) == len(ids)
    for card in answer.json["data"]:
        assert (card["object"], card["type"], type(card["created"])) == ("model", "base", int)
        assert card["capabilities"].keys() >= CAPABILITIES
        assert {type(one) for one in card["capabilities"].values()} == {bool}


@pytest.mark.requirement("C-282")
def test_a_name_may_have_slashes(models: Models, raw: Raw, model: Script, model_server: ScriptedServer) -> None:
    name = f"some-org/Some.Model:{model.name} ü"
    model_server.script(name)

    assert models.retrieve(model_id=name).id == name
    assert raw.get("/v1/models/no-org/Some.Model").status == 404
    made = raw.post("/v1/conversations", {"inputs": "Hello", "model": name})
    assert made.json["outputs"][0]["model"] == name


@pytest.mark.requirement("C-282")
def test_every_listed_model_can_be_talked_to(raw: Raw, model_server: ScriptedServer) -> None:
    named = [model_server.script().name for _ in range(3)]
    listed = [card["id"] for card in raw.get("/v1/models").json["data"]]
    assert set(named) <= set(listed)
    for name in named:
        assert raw.post("/v1/conversations", {"inputs": "Hello", "model": name}).status == 200


@pytest.mark.requirement("C-282")
def test_routes_and_the_default_are_listed_too(serve: Callable[..., str], model: Script) -> None:
    routes = {"small": ModelRoute(upstream="default", name=model.name), "stand-in": ModelRoute(upstream="rehearsal")}
    raw = Raw(serve(model="small", models=routes))
    listed = [card["id"] for card in raw.get("/v1/models").json["data"]]

    assert {"small", "stand-in", model.name} <= set(listed)
    for name in ("small", "stand-in"):
        assert raw.get(f"/v1/models/{name}").json["id"] == name
    made = raw.post("/v1/conversations", {"inputs": "Hello"}).json
    assert made["outputs"][0]["model"] == "small"
    assert model.last.json["model"] == model.name, "the server is asked by its own name for it"
    assert raw.post("/v1/conversations", {"inputs": "Hello", "model": "stand-in"}).status == 200
    assert len(model.requests) == 1


@pytest.mark.requirement("C-283")
@pytest.mark.parametrize("name", ["no-such-model", "no such/model", "%", "..", "ü🙂", "x" * 1000])
def test_a_model_that_does_not_exist_is_not_found(models: Models, name: str) -> None:
    with pytest.raises(errors.SDKError) as caught:
        models.retrieve(model_id=name)

    assert caught.value.status_code == 404
    assert '"object":"Error"' in caught.value.body
    assert '"code":3404' in caught.value.body


@pytest.mark.requirement("C-283")
def test_without_a_model_server_there_are_no_models(serve: Callable[..., str]) -> None:
    with socket.socket() as taken:  # nobody listens there
        taken.bind(("127.0.0.1", 0))
        raw = Raw(serve(upstream=f"http://127.0.0.1:{taken.getsockname()[1]}/v1"))
        listed, looked_up = raw.get("/v1/models"), raw.get("/v1/models/any")
    assert listed.json == {"object": "list", "data": []}
    assert looked_up.status == 404
