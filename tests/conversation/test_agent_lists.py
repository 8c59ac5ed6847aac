"""Which agents there are: by pages, by cursor, by what they have."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.raw import Raw
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json

from .test_listing import SENTINEL, ids


class Alone:
    """A server where nothing else is listed, by the SDK and by plain HTTP."""

    def __init__(self, sdk: SDK, raw: Raw) -> None:
        self.agents = sdk.agents
        self.sdk, self.raw = sdk, raw

    def made(self, count: int) -> list[str]:
        """Make agents; return their ids, the newest first."""
        return [self.agents.create(name=f"Agent {number}").id for number in range(count)][::-1]

    def walk(self, query: str = "") -> list[list[str]]:
        """Go from page to page by plain HTTP; return the ids of each."""
        pages, token = list[list[str]](), ""
        while token is not None:
            page = self.raw.get(f"/v1/agents/pages?{query}{token and f'&page_token={quote(token)}'}").json
            assert page.keys() == {"object", "data", "next_page_token"}
            assert page["object"] == "list"
            pages.append([one["id"] for one in page["data"]])
            token = page["next_page_token"]
        return pages


@pytest.fixture
def alone(serve: Callable[..., str], connect: Callable[[str], SDK]) -> Alone:
    """Give a server where nothing else is listed."""
    url = serve()
    return Alone(connect(url), Raw(url))


def test_the_list_is_a_bare_array_newest_first(alone: Alone) -> None:
    made = alone.made(5)
    alone.agents.update(agent_id=made[-1], name="Changed")
    assert ids(alone.agents.list()) == made
    assert alone.raw.get("/v1/agents").json == [alone.raw.get(f"/v1/agents/{one}").json for one in made]
    pages = [ids(alone.agents.list(page=page, page_size=2)) for page in range(4)]
    assert pages == [made[:2], made[2:4], made[4:], []]


def test_a_page_has_twenty_unless_told_otherwise(alone: Alone) -> None:
    made = alone.made(21)
    assert ids(alone.agents.list()) == made[:20]
    assert alone.walk() == [made[:20], made[20:]]
    assert ids(alone.agents.list(page_size=1000)) == made


@pytest.mark.requirement("C-262")
@pytest.mark.parametrize("size", [1, 2, 3, 5, 6, 1000])
def test_a_walk_meets_each_agent_once(alone: Alone, size: int) -> None:
    made = alone.made(6)
    pages = alone.walk(f"page_size={size}")
    assert pages == [made[start : start + size] for start in range(0, 6, size)]


@pytest.mark.requirement("C-262")
def test_a_walk_meets_what_was_there_whatever_comes_and_goes(alone: Alone) -> None:
    made = alone.made(6)
    first = alone.raw.get("/v1/agents/pages?page_size=2").json
    alone.made(3)
    alone.agents.delete(agent_id=made[1])
    alone.agents.delete(agent_id=made[3])
    rest = alone.walk(f"page_size=2&page_token={quote(first['next_page_token'])}")
    assert [one["id"] for one in first["data"]] == made[:2]
    assert [one for page in rest for one in page] == [made[2], made[4], made[5]]


def test_the_sdk_walks_the_pages(alone: Alone) -> None:
    made = alone.made(5)
    if not hasattr(alone.sdk._beta.agents, "list_pages"):
        pytest.skip("this generation of the SDK does not know the operation")
    assert [ids(page) for page in alone.agents.walk(page_size=2)] == [made[:2], made[2:4], made[4:]]
    assert [ids(page) for page in alone.agents.walk(page_size=2, search="agent 1")] == [[made[3]]]
    assert [ids(page) for page in alone.agents.walk(name="nobody")] == [[]]
    assert [len(page) for page in alone.agents.walk(sources=["api"], page_size=3)] == [3, 2]


def test_nothing_is_a_page_too(alone: Alone) -> None:
    assert alone.raw.get("/v1/agents/pages").json == {"object": "list", "data": [], "next_page_token": None}
    assert alone.agents.list() == []


@pytest.mark.requirement("C-263")
def test_the_path_of_the_pages_is_no_agent(raw: Raw) -> None:
    assert raw.get("/v1/agents/pages").json["object"] == "list"
    assert raw.request("DELETE", "/v1/agents/pages").status == 405
    assert raw.request("PATCH", "/v1/agents/pages", {}).status == 405


@pytest.mark.requirement("C-260", "C-265")
def test_agents_are_filtered(alone: Alone) -> None:
    one = alone.agents.create(name="Élan vital", metadata={"team": "a", "n": 1}).id
    two = alone.agents.create(name="plan", metadata={"team": "a", "deep": {"k": [1]}}).id
    three = alone.agents.create(name="Other").id
    alone.agents.update(agent_id=three, deployment_chat=True)
    for query, found in (
        ({}, [three, two, one]), ({"name": "plan"}, [two]), ({"name": "Plan"}, []), ({"name": "null"}, []),
        ({"search": "LAN"}, [two, one]), ({"search": "élan"}, [one]), ({"search": two}, [two]),
        ({"search": "%"}, []), ({"id": one}, [one]), ({"id": "ag_x"}, []), ({"deployment_chat": True}, [three]),
        ({"deployment_chat": False}, [two, one]), ({"sources": ["api"]}, [three, two, one]),
        ({"sources": ["playground"]}, []), ({"sources": ["playground", "api"]}, [three, two, one]),
        ({"sources": ["agent_builder_v1", "playground"]}, []), ({"metadata": {"team": "a"}}, [two, one]),
        ({"metadata": {"team": "a", "n": 1}}, [one]), ({"metadata": {"deep": {"k": [1]}}}, [two]),
        ({"metadata": {"team": "b"}}, []), ({"metadata": {"team": "a"}, "search": "élan"}, [one]),
        ({"metadata": {"team": "a"}, "page": 1, "page_size": 1}, [one]),
    ):  # fmt: skip
        assert ids(alone.agents.list(**query)) == found, query
        if "page" not in query:
            assert alone.walk(_written(query)) == [found], query


@pytest.mark.requirement("C-265")
def test_an_agent_is_found_by_what_its_current_version_has(alone: Alone) -> None:
    made = alone.agents.create(metadata={"team": "a"}).id
    alone.agents.update(agent_id=made, name="Changed", metadata={"team": "b"})
    assert [ids(alone.agents.list(metadata={"team": team})) for team in "ab"] == [[], [made]]
    assert ids(alone.agents.list(name="Changed")) == [made]
    alone.agents.update_version(agent_id=made, version=0)
    assert [ids(alone.agents.list(metadata={"team": team})) for team in "ab"] == [[made], []]
    assert alone.agents.list(name="Changed") == []
    alone.agents.update(agent_id=made, metadata=None)
    assert [ids(alone.agents.list(metadata={"team": team})) for team in "ab"] == [[], []]


@pytest.mark.parametrize("path", ["/v1/conversations", "/v1/agents", "/v1/agents/pages"])
def test_a_filter_is_nested_no_deeper_than_metadata(raw: Raw, path: str) -> None:
    for levels, status in ((128, 200), (129, 422), (900, 422), (2000, 422)):
        text = '{"a":' * levels + "1" + "}" * levels
        answer = raw.get(f"{path}?metadata={quote(text, safe='')}")
        assert answer.status == status, levels
        assert status == 200 or answer.json["detail"][0]["loc"] == ["query", "metadata"]


@pytest.mark.requirement("C-261")
@pytest.mark.parametrize("path", ["/v1/agents", "/v1/agents/pages"])
def test_the_sdks_placeholder_is_no_filter(alone: Alone, path: str) -> None:
    made = alone.made(2)
    assert ids(alone.agents.list(search="Agent")) == made
    for text in (SENTINEL, "null", "[]", "no JSON"):
        answer = alone.raw.get(f"{path}?metadata={quote(text)}")
        found = answer.json if path == "/v1/agents" else answer.json["data"]
        assert (answer.status, [one["id"] for one in found]) == (200, made)


@pytest.mark.parametrize("path", ["/v1/agents", "/v1/agents/pages"])
@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("page_size=0", "page_size"), ("page_size=1001", "page_size"), ("page_size=x", "page_size"),
        ("deployment_chat=perhaps", "deployment_chat"), ("sources=api&sources=elsewhere", "sources"),
        ("sources=", "sources"), ("surprise=1", "surprise"),
    ],
)  # fmt: skip
def test_a_query_that_is_wrong_is_refused_by_its_parameter(raw: Raw, path: str, query: str, name: str) -> None:
    answer = raw.get(f"{path}?{query}")
    assert answer.status == 422
    assert answer.json["detail"][0]["loc"][:2] == ["query", name]


def test_each_list_has_pages_of_its_own_kind(raw: Raw) -> None:
    for path, query in (("/v1/agents", "page_token=x"), ("/v1/agents/pages", "page=0"), ("/v1/agents", "page=-1")):
        answer = raw.get(f"{path}?{query}")
        assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["query", query.partition("=")[0]])


def test_a_token_of_nobodys_is_refused(raw: Raw) -> None:
    foreign = base64.urlsafe_b64encode(b"line\nbreak").decode()
    for token in ("x", "", "é", "====", foreign, "YWdf\n", "a" * 5000):
        answer = raw.get(f"/v1/agents/pages?page_token={quote(token)}")
        assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["query", "page_token"]), token


def test_conversations_and_agents_are_not_listed_together(sdk: SDK, model: Script) -> None:
    label = {"of": f"both {model.name}"}
    made = sdk.agents.create(metadata=label)
    conversation = sdk.start(inputs="Hello", metadata=label).conversation_id
    assert ids(sdk.list(metadata=label)) == [conversation]
    (listed,) = sdk.agents.list(metadata=label)
    assert as_json(listed) == as_json(made)


def _written(query: dict[str, Any]) -> str:
    """Return a query as it goes over the wire."""
    parts = list[str]()
    for name, value in query.items():
        texts = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else str(value)]
        parts += [f"{name}={quote(text)}" for text in texts]
    return "&".join(parts)
