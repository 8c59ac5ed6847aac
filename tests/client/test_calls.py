"""Plain calls: what is sent, what is raised, and when it is sent again."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from causerie.client import Mistral, errors, models
from causerie.client.utils import BackoffStrategy, RetryConfig
from causerie.errors import from_response

from .canned import Canned, canned
from .conftest import Side

ANSWER = Canned(b'{"conversation_id":"conv_1","outputs":[],"usage":{}}')
RUNS = {"list_runs", "get_run", "follow_run", "cancel_run", "cancel"}


def retries(codes: list[str] | None = None, *, connection: bool = False) -> RetryConfig:
    return RetryConfig("backoff", BackoffStrategy(1, 1, 1.0, 60_000, jitter_ms=0), connection, codes)


def test_a_start_says_what_it_was_given_and_no_more(connect: Callable[..., Side]) -> None:
    with canned(ANSWER) as server:
        connect(server.url).call("start", inputs="Hi", model="m", instructions=None)
    (asked,) = server.asked
    assert asked.json == {"inputs": "Hi", "model": "m", "instructions": None, "stream": False}
    assert asked.headers["content-type"] == asked.headers["accept"] == "application/json"
    assert asked.headers["user-agent"].startswith("causerie-python/")


def test_append_and_restart_send_the_sdks_defaults(connect: Callable[..., Side]) -> None:
    with canned(ANSWER, ANSWER) as server:
        client = connect(server.url)
        client.call("append", conversation_id="a/b ü", completion_args=None)
        client.call("restart", conversation_id="conv_1", from_entry_id="msg_1", metadata=None)
    append, restart = server.asked
    defaults = {"store": True, "handoff_execution": "server", "stream": False}
    assert (append.path, append.json) == ("/v1/conversations/a%2Fb%20%C3%BC", defaults)
    assert restart.json == defaults | {"from_entry_id": "msg_1", "metadata": None}
    assert restart.path == "/v1/conversations/conv_1/restart"


def test_objects_dicts_and_iterables_are_sent_alike(connect: Callable[..., Side]) -> None:
    class Foreign:
        def model_dump(self, **_: Any) -> dict[str, Any]:
            return {"type": "web_search"}

    message = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
    entry = models.MessageInputEntry(role="user", content=[models.TextChunk(text="Hi")])
    function = models.FunctionTool(function=models.Function(name="f", parameters={}))
    with canned(ANSWER) as server:
        connect(server.url).call(
            "start", inputs=(one for one in (message, entry)), tools=(function, Foreign()), model="m",
            completion_args=models.CompletionArgs(temperature=0.5),
        )  # fmt: skip
    sent = server.asked[0].json
    assert sent["inputs"][0] == message
    assert sent["inputs"][1].items() >= (message | {"type": "message.input", "object": "entry"}).items()
    assert [tool["type"] for tool in sent["tools"]] == ["function", "web_search"]
    assert sent["completion_args"] == {"temperature": 0.5}


def test_a_list_is_asked_for_in_the_query(connect: Callable[..., Side]) -> None:
    with canned(Canned(b"[]"), Canned(b"[]")) as server:
        client = connect(server.url)
        assert client.call("list") == []
        client.call("list", page=2, page_size=5, metadata={"a": "b c"})
    paths = [asked.path for asked in server.asked]
    assert paths[0] == "/v1/conversations?page=0&page_size=100"
    assert paths[1] == "/v1/conversations?page=2&page_size=5&metadata=%7B%22a%22%3A%22b+c%22%7D"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_refusal_that_may_pass_is_asked_again_under_one_key(connect: Callable[..., Side], status: int) -> None:
    with canned(Canned(status=status, headers={"Retry-After": "0"}), Canned(status=status), ANSWER) as server:
        connect(server.url).call("start", inputs="Hi", retries=retries())
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 1
    assert len(server.asked) == 3
    assert len({asked.body for asked in server.asked}) == 1


def test_two_calls_have_two_keys_and_the_callers_own_counts(connect: Callable[..., Side]) -> None:
    with canned(ANSWER, ANSWER, ANSWER) as server:
        client = connect(server.url)
        for headers in ({}, {}, {"Idempotency-Key": "mine"}):
            client.call("start", inputs="Hi", http_headers=headers)
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert len(set(keys)) == 3
    assert keys[2] == "mine"


@pytest.mark.parametrize(
    ("config", "answer"),
    [
        (None, Canned(status=500)), (retries(), Canned(status=400)), (retries(), None),
        (retries(["409"]), Canned(status=500)),
        (RetryConfig("none", retries().backoff, retry_connection_errors=True), Canned(status=500)),
        (RetryConfig("backoff", BackoffStrategy(1, 1, 1.0, -1), retry_connection_errors=True), None),
    ],
)  # fmt: skip
def test_what_nobody_asked_to_retry_is_sent_once(
    connect: Callable[..., Side], config: RetryConfig | None, answer: Canned | None
) -> None:
    with canned(answer, ANSWER) as server:
        with pytest.raises(errors.CauserieError):
            connect(server.url, retry_config=config).call("start", inputs="Hi")
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("config", "answer"),
    [(retries(connection=True), None), (retries(["4XX"]), Canned(status=418)), (retries(["418"]), Canned(status=418))],
)
def test_what_somebody_asked_to_retry_is_sent_again(
    connect: Callable[..., Side], config: RetryConfig, answer: Canned | None
) -> None:
    with canned(answer, ANSWER) as server:
        connect(server.url, retry_config=config).call("start", inputs="Hi")
        assert len(server.asked) == 2


def test_a_call_says_better_than_the_client_whether_to_retry(connect: Callable[..., Side]) -> None:
    with canned(Canned(status=500), ANSWER) as server, pytest.raises(errors.ServerFault):
        connect(server.url, retry_config=retries()).call("start", inputs="Hi", retries=None)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message", "code"),
    [
        (400, {"object": "Error", "message": "No.", "type": "t", "code": 3000}, errors.BadRequest, "No.", 3000),
        (401, {"detail": "Unauthorized"}, errors.Unauthenticated, "Unauthorized", 3401),
        (403, {"message": "Stop.", "code": 3200}, errors.Blocked, "Stop.", 3200),
        (403, {"error": {"message": "Stop."}, "guardrails": {}}, errors.Blocked, "Stop.", 3200),
        (403, {"message": "Stop.", "code": 3201, "guardrails": []}, errors.Blocked, "Stop.", 3201),
        (403, {"message": "Stop.", "code": 3403}, errors.Forbidden, "Stop.", 3403),
        (404, {"message": "Gone.", "code": "3404"}, errors.NotFound, "Gone.", 3404),
        (409, {"message": {"a": 1}}, errors.Conflict, '{"a": 1}', 3409),
        (413, {"message": "Big."}, errors.PayloadTooLarge, "Big.", 3413),
        (429, {"message": "Slow."}, errors.RateLimited, "Slow.", 1300),
        (502, {"message": "Up."}, errors.UpstreamError, "Up.", 3000),
        (503, {"message": "Up."}, errors.UpstreamUnavailable, "Up.", 3000),
        (504, {"message": "Up."}, errors.UpstreamTimeout, "Up.", 3000),
        (418, "I am a teapot", errors.APIError, "I am a teapot", 3000),
        (500, "", errors.ServerFault, "The server answered with status 500 and said no more.", 3000),
        (500, "[" * 3000, errors.ServerFault, "[" * 2000 + "…", 3000),
    ],
)
def test_a_refusal_is_the_class_of_its_status(
    connect: Callable[..., Side], status: int, body: Any, kind: type[errors.APIError], message: str, code: int
) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {"mistral-correlation-id": "c-1", "Retry-After": "9"}
    with canned(Canned(text.encode(), status=status, headers=headers)) as server, pytest.raises(kind) as caught:
        connect(server.url).call("get", conversation_id="x")
    error = caught.value
    assert type(error) is kind
    assert isinstance(error, errors.SDKError)
    assert (error.status_code, error.message, error.code) == (status, message, code)
    assert not isinstance(error, errors.Blocked) or error.guardrails == json.loads(text).get("guardrails")
    assert (error.body, error.correlation_id, error.headers["retry-after"]) == (text, "c-1", "9")
    assert isinstance(error.raw_response, httpx.Response)
    assert str(error) == f"{message} (status {status}, code {code}, correlation id c-1)"


def test_a_refused_field_says_which(connect: Callable[..., Side], server_url: str) -> None:
    with pytest.raises(errors.HTTPValidationError) as caught:
        connect(server_url).call("start", inputs="Hi", model="rehearsal", completion_args={"temperature": 5})
    (point,) = caught.value.data.detail
    assert point.loc == ["body", "completion_args", "temperature"]
    assert (point.msg, caught.value.loc) == (caught.value.message, tuple(point.loc))
    assert str(caught.value).startswith(f"completion_args.temperature: {point.msg} (status 422")


def test_several_refused_fields_are_all_told() -> None:
    points = [{"loc": ["body", "a"], "msg": "one", "type": "x"}, {"loc": ["body", 0], "msg": "two", "type": "y"}]
    error = from_response(422, json.dumps({"detail": points}), {})
    assert isinstance(error, errors.InvalidRequest)
    assert [(point.loc, point.msg) for point in error.data.detail] == [(["body", "a"], "one"), (["body", 0], "two")]
    assert (error.message, str(error)) == ("one", "a: one")
    plain = from_response(422, '{"detail": []}', {})
    assert isinstance(plain, errors.InvalidRequest)
    assert plain.data.detail[0].msg == plain.message


@pytest.mark.parametrize(("operation", "arguments", "blamed"), [
    ("start", {}, r"Conversations\.start\(\) missing .* 'inputs'"),
    ("start_stream", {"inputs": "x", "modal": "m"}, r"Conversations\.start\(\) got .* 'modal'"),
    ("get", {"conversation_id": None}, "conversation_id is text, not None"),
    ("get_run", {"conversation_id": "conv_1", "run_id": 5}, "run_id is text, not 5"),
])  # fmt: skip
def test_what_cannot_be_asked_is_blamed_by_the_name_that_the_caller_knows(
    connect: Callable[..., Side], operation: str, arguments: dict[str, Any], blamed: str
) -> None:
    with canned() as server, pytest.raises(TypeError, match=blamed):
        connect(server.url).call(operation, **arguments)
    assert server.asked == []


def test_no_server_is_no_answer(connect: Callable[..., Side]) -> None:
    with canned() as server:
        url = server.url
    for operation, where in (("list", {}), ("start_stream", {"inputs": "Hi"})):
        with pytest.raises(errors.ConnectionFailed, match=url):
            connect(url).call(operation, **where)


def test_an_answer_that_is_no_json_is_no_answer(connect: Callable[..., Side]) -> None:
    with canned(Canned(b"<html>")) as server, pytest.raises(errors.ConnectionFailed, match="not JSON"):
        connect(server.url).call("get", conversation_id="x")


def test_answers_may_have_more_than_is_known(connect: Callable[..., Side]) -> None:
    entity = {
        "id": "conv_1", "created_at": "2026-01-01T00:00:00.5Z", "updated_at": "then", "model": "m", "new": {"a": 1},
        "tools": [{"type": "teleport", "to": "Lyon"}, {"type": "web_search", "depth": 3}],
        "completion_args": {"temperature": 7, "tool_choice": "sometimes"},
    }  # fmt: skip
    agent = {"id": "conv_2", "created_at": "x", "updated_at": "x", "agent_id": "ag_1", "agent_version": 3}
    output = {"type": "message.output", "content": [{"type": "text", "text": "Hi", "new": 1}], "id": "msg_1"}
    riddle = {"type": "riddle", "text": "?"}
    answer = {"conversation_id": "conv_1", "outputs": [output, riddle], "usage": {"total_tokens": 3, "joules": 1}}
    with canned(Canned(json.dumps([entity, agent]).encode()), Canned(json.dumps(answer).encode())) as server:
        client = connect(server.url)
        first, second = client.call("list")
        response = client.call("append", conversation_id="conv_1")

    assert isinstance(first, models.ModelConversation)
    assert (first.created_at.year, first.updated_at, first.completion_args.temperature) == (2026, "then", 7)
    assert [tool.type for tool in first.tools] == ["teleport", "web_search"]
    assert isinstance(second, models.AgentConversation)
    assert second.agent_version == 3
    assert response.outputs[0].content[0].text == "Hi"
    assert response.outputs[1].raw == riddle
    assert (response.usage.total_tokens, response.usage.prompt_tokens, response.object) == (
        3, 0, "conversation.response",
    )  # fmt: skip
    assert first.model_dump()["tools"][0] == {"type": "teleport", "to": "Lyon"}
    assert json.loads(response.model_dump_json())["outputs"][1] == riddle


def test_both_kinds_of_conversation_are_told_apart(connect: Callable[..., Side], server_url: str) -> None:
    client = connect(server_url)
    made = client.call("start", inputs="Hi", model="rehearsal", metadata={"suite": "calls"})
    got = client.call("get", conversation_id=made.conversation_id)
    assert isinstance(got, models.ModelConversation)
    assert got.metadata == {"suite": "calls"}
    assert client.call("list", metadata={"suite": "calls"}, page_size=1) == [got]
    assert client.call("delete", conversation_id=made.conversation_id) is None


@pytest.mark.parametrize(
    ("given", "environment", "sent"),
    [
        ("explicit", {"MISTRAL_API_KEY": "env"}, "Bearer explicit"),
        (lambda: "called", {}, "Bearer called"),
        (None, {"MISTRAL_API_KEY": "env"}, "Bearer env"),
        (None, {"MISTRAL_API_KEY": "env", "MISTRAL_SA_TOKEN_PATH": "token"}, "Bearer of a file"),
        ("explicit", {"MISTRAL_SA_TOKEN_PATH": "token"}, "Bearer explicit"),
        ("", {"MISTRAL_API_KEY": "env"}, None),
        (None, {}, None),
    ],
)
def test_who_asks(
    connect: Callable[..., Side], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    given: Any, environment: dict[str, str], sent: str | None,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text("of a file\n")
    for name in ("MISTRAL_API_KEY", "MISTRAL_SA_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with canned(Canned(b"[]")) as server:
        connect(server.url, api_key=given).call("list")
    assert server.asked[0].headers.get("authorization") == sent


def test_a_token_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for path, content in ((tmp_path / "none", None), (tmp_path / "empty", "")):
        if content is not None:
            path.write_text(content)
        monkeypatch.setenv("MISTRAL_SA_TOKEN_PATH", str(path))
        with pytest.raises(errors.SettingsError, match="MISTRAL_SA_TOKEN_PATH"):
            Mistral(server_url="http://127.0.0.1:1").beta.conversations.list()


def test_where_to() -> None:
    def where(**settings: Any) -> str:
        return Mistral(**settings).connection._base

    assert where() == where(server="global") == "https://api.mistral.ai"
    assert where(server="eu") == "https://api.eu.mistral.ai"
    assert where(server_url="http://{host}:1/", url_params={"host": "h"}) == "http://h:1"
    with pytest.raises(errors.SettingsError, match="no server 'mars'"):
        Mistral(server="mars")


def test_a_call_may_go_elsewhere_and_has_its_own_patience(connect: Callable[..., Side]) -> None:
    with canned(Canned(b"[]")) as server:
        assert connect("http://127.0.0.1:1").call("list", server_url=f"{server.url}/") == []
    assert server.asked[0].path == "/v1/conversations?page=0&page_size=100"


def test_given_clients_are_used_and_left_open() -> None:
    told: list[str] = []

    class Told:
        def debug(self, msg: str, *args: Any, **_: Any) -> None:
            told.append(msg % args)

    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b"[]")

    with httpx.Client(transport=httpx.MockTransport(answer)) as http:
        with Mistral(server_url="http://nowhere", client=http, timeout_ms=1500, debug_logger=Told()) as mistral:
            assert mistral.beta.conversations.list(timeout_ms=2500) == []
            assert mistral.beta.conversations.list() == []
        assert not http.is_closed
    assert [request.extensions["timeout"]["read"] for request in asked] == [2.5, 1.5]
    assert told[1] == "GET http://nowhere/v1/conversations?page=0&page_size=100 -> 200"


def test_a_closed_client_opens_again(server_url: str) -> None:
    with Mistral(server_url=server_url) as mistral:
        mistral.beta.conversations.list()
    assert mistral.beta.conversations.list(page_size=1) is not None
    mistral.__exit__(None, None, None)
    gc.collect()
