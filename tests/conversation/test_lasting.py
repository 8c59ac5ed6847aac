"""What outlives the server process: everything that was answered, to the byte, prompts included."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.samples import FOREIGN_HISTORY, GET_RATE, GET_TIME, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import serving
from tests.support.toolset import ScriptedToolset

Serving = Callable[[], AbstractContextManager[str]]


@pytest.fixture
def anew(tmp_path: Path, model_server: ScriptedServer) -> Serving:
    """Start a server on the same data again."""
    toolsets = {"web_search": ScriptedToolset()}
    return lambda: serving(data=str(tmp_path), upstream=model_server.url, toolsets=toolsets)


def everything(raw: Raw) -> dict[str, Any]:
    """Return all that a server shows of its conversations."""
    listed = raw.get("/v1/conversations").json
    paths = [f"/v1/conversations/{one['id']}{part}" for one in listed for part in ("", "/history", "/messages")]
    return {"list": listed} | {path: raw.get(path).body for path in paths}


@pytest.mark.requirement("C-038", "C-096")
def test_a_server_started_anew_shows_the_same(anew: Serving, model: Script) -> None:
    with anew() as url:
        raw = Raw(url)
        start = {"inputs": FOREIGN_HISTORY, "model": model.name, "name": "n", "metadata": {"z": 1, "a": [None, 2.5]}}
        first = raw.post("/v1/conversations", start | {"tools": [GET_RATE], "instructions": "Be brief."}).json
        path = f"/v1/conversations/{first['conversation_id']}"
        raw.post(f"{path}/restart", {"from_entry_id": first["outputs"][0]["id"], "inputs": "Branch"})
        raw.post("/v1/conversations", {"inputs": "Not kept", "model": model.name, "store": False})
        before = everything(raw)

    with anew() as url:
        assert everything(Raw(url)) == before
    assert len(before["list"]) == 2


@pytest.mark.requirement("C-048", "C-032", "C-033")
def test_the_prompt_goes_on_byte_for_byte_after_a_start_anew(anew: Serving, model: Script) -> None:
    model.call("web_search", {"query": "rates"}, call_id="chatcmpl-tool-1")
    model.calls(("get_rate", {"date": "x"}), ("get_time", {}))
    tools = [{"type": "web_search"}, GET_RATE, GET_TIME]
    start = {"inputs": "Which rate? 🙂", "model": model.name, "tools": tools, "instructions": "Be brief."}
    with anew() as url:
        first = Raw(url).post("/v1/conversations", start | {"completion_args": {"temperature": 0.25}}).json
    results = [result(call["tool_call_id"], "fine") for call in first["outputs"][1:]]
    with anew() as url:
        second = Raw(url).post(f"/v1/conversations/{first['conversation_id']}", {"inputs": results}).json
    assert [output["content"] for output in second["outputs"]] == ["Answer 3"]
    with anew() as url:
        Raw(url).post(f"/v1/conversations/{first['conversation_id']}", {"inputs": "More"})

    prompts = [request.messages_bytes[:-1] for request in model.requests]
    assert all(later.startswith(earlier) for earlier, later in pairwise(prompts))
    assert len({str(request.tools) for request in model.requests}) == 1
    assert {request.json["temperature"] for request in model.requests} == {0.25}
    roles = [message["role"] for message in model.last.messages]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool", "tool", "assistant", "user"]


@pytest.mark.requirement("C-082")
def test_a_branch_stands_after_its_original_was_deleted_and_the_server_started_anew(
    anew: Serving, model: Script
) -> None:
    with anew() as url:
        raw = Raw(url)
        first = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json
        path = f"/v1/conversations/{first['conversation_id']}"
        cut = {"from_entry_id": first["outputs"][0]["id"], "inputs": "Two"}
        branch = f"/v1/conversations/{raw.post(f'{path}/restart', cut).json['conversation_id']}"
        raw.delete(path)

    with anew() as url:
        raw = Raw(url)
        assert raw.get(path).status == 404
        raw.post(branch, {"inputs": "Three"})
        said = [entry["content"] for entry in raw.get(f"{branch}/history").json["entries"]]
    assert said == ["One", "Answer 1", "Two", "Answer 2", "Three", "Answer 3"]
    assert [message["content"] for message in model.last.messages] == said[:-1]
