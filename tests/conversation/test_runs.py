"""Runs can be looked at: what they follow, how far they are, what they use, and why they failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.raw import Answer, Raw
from tests.support.reading import Reading
from tests.support.replies import PATIENCE, Text
from tests.support.samples import GET_RATE, MOMENT
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

TOOLS = [{"type": "web_search"}, GET_RATE]
BOUNDS = {"run_seconds": 30.0, "max_model_calls": 3}
FIELDS = {
    "object", "id", "conversation_id", "operation", "state", "started_at", "ended_at", "bounds", "usage", "error",
}  # fmt: skip


@pytest.fixture(scope="module")
def url(model_server: ScriptedServer) -> Iterator[str]:
    """Run a server with bounds of its own, once: stopping one costs more than a test."""
    with serving(upstream=model_server.url, toolsets={"web_search": ScriptedToolset()}, **BOUNDS) as url:
        yield url


class Conversation:
    """A conversation and its runs."""

    def __init__(self, url: str, model: Script) -> None:
        """Start it."""
        self.raw, self.model = Raw(url), model
        made = self.raw.post("/v1/conversations", {"inputs": "One", "model": model.name, "tools": TOOLS}).json
        self.id = made["conversation_id"]
        self.path = f"/v1/conversations/{self.id}"
        self.first = made["outputs"][0]["id"]

    def append(self, **more: Any) -> Answer:
        """Run another turn."""
        return self.raw.post(self.path, {"inputs": "Two", **more})

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What is listed; each looks the same alone."""
        listed = self.raw.get(f"{self.path}/runs")
        assert (listed.status, listed.json.keys(), listed.json["object"]) == (200, {"object", "data"}, "list")
        runs: list[dict[str, Any]] = listed.json["data"]
        for run in runs:
            if run["state"] != "running":
                assert self.raw.get(f"{self.path}/runs/{run['id']}").json == run
        return runs


@pytest.fixture
def conversation(url: str, model: Script) -> Conversation:
    """A conversation of one turn."""
    return Conversation(url, model)


def test_a_run_that_is_done_says_what_it_was(conversation: Conversation) -> None:
    (run,) = conversation.runs

    assert run.keys() == FIELDS
    assert (run["object"], run["operation"], run["state"], run["error"]) == ("run", "start", "done", None)
    assert run["id"].startswith("run_")
    assert run["conversation_id"] == conversation.id
    assert MOMENT.fullmatch(run["started_at"])
    assert MOMENT.fullmatch(run["ended_at"])
    assert run["started_at"] <= run["ended_at"]
    assert run["usage"] == {"prompt_tokens": 16, "completion_tokens": 3, "total_tokens": 19}
    used = run["bounds"]
    assert (used["model_calls"], used["max_model_calls"], used["max_seconds"]) == (1, 3, 30.0)
    assert 0 <= used["seconds"] < 30


def test_a_run_of_several_turns_adds_up(conversation: Conversation, model: Script) -> None:
    for query in ("x", "y"):
        model.call("web_search", {"query": query})
    answer = conversation.append()
    run = conversation.runs[0]
    assert run["bounds"]["model_calls"] == 3
    assert run["usage"] == answer.json["usage"]
    assert run["usage"]["prompt_tokens"] == 48
    assert run["usage"]["connectors"] == {"web_search": 2}


def test_a_run_that_is_under_way_says_how_far_it_is(conversation: Conversation, model: Script, meanwhile: Any) -> None:
    with model.gate() as gate:
        model.call("web_search", {"query": "x"})
        model.say("Two.", before=gate)
        asked = meanwhile(conversation.append)
        gate.wait_reached()
        run, before = conversation.runs
        alone = conversation.raw.get(f"{conversation.path}/runs/{run['id']}").json
        gate.open()
        assert asked.result(PATIENCE).status == 200
    assert (run["state"], run["operation"], run["ended_at"], run["error"]) == ("running", "append", None, None)
    assert (run["bounds"]["model_calls"], before["state"]) == (2, "done")
    assert run["usage"]["prompt_tokens"] == 16, "what its first turn took"
    assert {**alone, "bounds": run["bounds"]} == run
    assert alone["bounds"]["seconds"] >= run["bounds"]["seconds"]
    assert conversation.runs[0]["state"] == "done"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("status", "code"), [(500, 502), (429, 429), (503, 503), (400, 400)])
def test_a_run_that_failed_says_why(
    conversation: Conversation, model: Script, stream: bool, status: int, code: int
) -> None:
    model.fail(status, "it broke")
    told = conversation.append(stream=stream)
    run = conversation.runs[0]

    assert run["state"] == "failed"
    assert run["error"].keys() == {"code", "message"}
    assert run["error"]["code"] == code == (told.events[-1]["code"] if stream else told.status)
    assert run["error"]["message"] == (told.events[-1] if stream else told.json)["message"]
    assert "it broke" in run["error"]["message"]
    assert run["ended_at"] >= run["started_at"]
    assert run["bounds"]["model_calls"] == 1


def test_a_run_that_passed_a_bound_says_which(conversation: Conversation, model: Script) -> None:
    for query in "abc":
        model.call("web_search", {"query": query})
    assert conversation.append().status == 400
    run = conversation.runs[0]
    assert (run["state"], run["error"]["code"]) == ("failed", 400)
    assert "max_model_calls" in run["error"]["message"]
    assert run["bounds"]["model_calls"] == run["bounds"]["max_model_calls"] == 3


def test_a_run_that_was_cancelled_says_so(conversation: Conversation, model: Script) -> None:
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        with conversation.raw.stream(conversation.path, {"inputs": "Two", "stream": True}) as stream:
            stream.frame()
            stream.frame()
            conversation.raw.post(f"{conversation.path}/cancel", None)
            list(stream.frames())
    run = conversation.runs[0]
    assert (run["state"], run["error"]) == ("cancelled", None)
    assert run["ended_at"] >= run["started_at"]


def test_the_newest_run_comes_first(conversation: Conversation, model: Script) -> None:
    model.fail(500)
    for _ in range(3):
        conversation.append()
    runs = conversation.runs
    assert [run["state"] for run in runs] == ["done", "done", "failed", "done"]
    assert [run["operation"] for run in runs] == ["append"] * 3 + ["start"]
    assert [run["started_at"] for run in runs] == sorted((run["started_at"] for run in runs), reverse=True)


def test_a_branch_has_runs_of_its_own(conversation: Conversation) -> None:
    body = {"inputs": "Another way.", "from_entry_id": conversation.first}
    branch = conversation.raw.post(f"{conversation.path}/restart", body).json["conversation_id"]
    (run,) = conversation.raw.get(f"/v1/conversations/{branch}/runs").json["data"]
    assert (run["operation"], run["conversation_id"]) == ("restart", branch)
    assert [one["operation"] for one in conversation.runs] == ["start"]


def test_a_run_that_is_not_stored_leaves_no_trace(conversation: Conversation) -> None:
    before = conversation.runs
    started, *_ = conversation.append(store=False, stream=True).events
    assert conversation.runs == before
    path = f"{conversation.path}/runs/{started['run_id']}"
    for request in (("GET", path), ("GET", f"{path}/events"), ("POST", f"{path}/cancel")):
        assert conversation.raw.request(*request).status == 404, request


def test_a_start_that_failed_as_json_leaves_nothing_to_look_at(url: str, model: Script) -> None:
    raw = Raw(url)
    before = {one["id"] for one in raw.get("/v1/conversations?page_size=1000").json}
    model.fail(500)
    assert raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).status == 502
    assert {one["id"] for one in raw.get("/v1/conversations?page_size=1000").json} == before


def test_a_start_that_failed_in_its_stream_can_be_looked_at(url: str, model: Script) -> None:
    raw = Raw(url)
    model.fail(500)
    frames = raw.post("/v1/conversations", {"inputs": "One", "model": model.name, "stream": True}).frames
    started = frames[0].json
    (run,) = raw.get(f"/v1/conversations/{started['conversation_id']}/runs").json["data"]
    assert (run["id"], run["state"], run["error"]["code"]) == (started["run_id"], "failed", 502)
    Reading(frames).check([], last="conversation.response.error")


def test_what_is_not_there_is_not_found(conversation: Conversation, url: str, model: Script) -> None:
    other = Conversation(url, model)
    mine = conversation.runs[0]["id"]
    for path in (
        "/v1/conversations/conv_0/runs",
        f"/v1/conversations/conv_0/runs/{mine}",
        f"{conversation.path}/runs/run_0",
        f"{other.path}/runs/{mine}",
    ):
        answer = conversation.raw.get(path)
        assert (answer.status, answer.json["object"], type(answer.json["code"])) == (404, "Error", int), path
    conversation.raw.delete(conversation.path)
    for path in (f"{conversation.path}/runs", f"{conversation.path}/runs/{mine}"):
        assert conversation.raw.get(path).status == 404


@pytest.mark.parametrize("path", ["runs", "runs/run_0", "runs/run_0/events", "runs/run_0/cancel", "cancel"])
def test_other_methods_are_told_which_are_taken(conversation: Conversation, path: str) -> None:
    answer = conversation.raw.request("PUT", f"{conversation.path}/{path}", {})
    assert answer.status == 405
    assert set(answer.headers["allow"].split(", ")) <= {"GET", "HEAD", "POST"}
