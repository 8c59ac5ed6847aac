"""Bad input never gets a 500: whatever comes is answered with a clear JSON error, and nothing of it is stored."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.raw import Answer, Raw
from tests.support.replies import PATIENCE
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import serving

MODEL = b'"model":"MODEL"'
"""Stands for the name of the test's model in the bodies below."""
DEEP = 5000
MIB = 1024 * 1024
NO_JSON: dict[str, bytes] = {
    "nothing": b"",
    "blank": b" \n\t",
    "cut short": b'{"inputs":"x"',
    "one brace": b"{",
    "a brace too many": b'{"inputs":"x",MODEL}}',
    "two objects": b'{"inputs":"x",MODEL} {"inputs":"y",MODEL}',
    "single quotes": b"{'inputs':'x'}",
    "a form": b"inputs=x&model=y",
    "a comma too many": b'{"inputs":"x",MODEL,}',
    "a comment": b'{"inputs":"x",MODEL} // why',
    "bare words": b"{inputs:x}",
    "a byte order mark": b'\xef\xbb\xbf{"inputs":"x",MODEL}',
    "UTF-16": '{"inputs":"x"}'.encode("utf-16"),
    "UTF-32": '{"inputs":"x"}'.encode("utf-32"),
    "a NUL": b"\x00",
    "NULs after it": b'{"inputs":"x",MODEL}\x00\x00',
    "bytes": bytes(range(256)),
    "Latin-1": b'{"inputs":"caf\xe9",MODEL}',
    "overlong UTF-8": b'{"inputs":"\xc0\x80",MODEL}',
    "half of a character": b'{"inputs":"\xe2\x82",MODEL}',
    "a surrogate in UTF-8": b'{"inputs":"\xed\xa0\x80",MODEL}',
    "beyond Unicode": b'{"inputs":"\xf4\x90\x80\x80",MODEL}',
    "a bad escape": b'{"inputs":"\\x41",MODEL}',
    "half an escape": b'{"inputs":"\\u12',
    "a high surrogate": b'{"inputs":"\\ud800",MODEL}',
    "a low surrogate": b'{"inputs":"\\udc00",MODEL}',
    "surrogates in reverse": b'{"inputs":"\\udc00\\ud800",MODEL}',
    "a surrogate within text": b'{"inputs":"a\\uD83Db",MODEL}',
    "a surrogate in a chunk": b'{"inputs":[{"role":"user","content":[{"text":"\\ud83d"}]}],MODEL}',
    "a surrogate in a key": b'{"inputs":"x",MODEL,"metadata":{"\\ud800":1}}',
    "a surrogate in an id": b'{"inputs":[{"role":"user","content":"x","id":"\\udfff"}],MODEL}',
    **{f"the number {one.decode()}": b'{"inputs":"x",MODEL,"metadata":{"a":%b}}' % one for one in (
        b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"01", b"+1", b".5", b"1.", b"0x10", b"1_000", b"--1",
    )},
    "a number of 5,000 digits": b'{"inputs":"x",MODEL,"metadata":{"a":%b}}' % (b"1" * 5000),
    **{f"the word {one.decode()}": b'{"inputs":"x",MODEL,"metadata":{"a":%b}}' % one for one in (
        b"tru", b"True", b"None", b"undefined", b"nul",
    )},
}  # fmt: skip
NO_OBJECT = [b"[]", b"[{}]", b'"x"', b"1", b"1.5", b"null", b"true", b'["inputs"]']
TOO_DEEP: dict[str, bytes] = {
    "arrays": b"[" * DEEP,
    "closed arrays": b"[" * DEEP + b"]" * DEEP,
    "objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "a million": b"[" * 1_000_000,
    "inputs": b'{MODEL,"inputs":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "metadata": b'{MODEL,"inputs":"x","metadata":' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "parameters": b'{MODEL,"inputs":"x","tools":[{"type":"function","function":{"name":"f","parameters":'
    + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}}]}",
    "a schema": b'{MODEL,"inputs":"x","completion_args":{"response_format":{"type":"json_schema","json_schema":{"name":'
    b'"s","schema":' + b'{"a":[' * DEEP + b"]}" * DEEP + b"}}}}",
    "arguments": b'{MODEL,"inputs":[{"type":"function.call","tool_call_id":"c","name":"f","arguments":'
    + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}]}",
    "an unknown field": b'{MODEL,"inputs":"x","surprise":' + b"[" * DEEP + b"]" * DEEP + b"}",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(model_server: ScriptedServer) -> Iterator[tuple[Raw, str, str, str]]:
    """Run a server with one conversation in it: the way to it, a model, the conversation's path, and an entry."""
    with closing(model_server.script()) as script, serving(upstream=model_server.url) as url:
        raw = Raw(url)
        made = raw.post("/v1/conversations", {"inputs": "One", "model": script.name}).json
        yield raw, script.name, f"/v1/conversations/{made['conversation_id']}", made["outputs"][0]["id"]


@pytest.fixture
def door(place: tuple[Raw, str, str, str]) -> Iterator[Raw]:
    """The way to that server; whatever the test tried, nothing has come of it."""
    raw, _, path, _ = place

    def seen() -> list[bytes]:
        return [raw.get(one).body for one in ("/v1/conversations", path, f"{path}/history")]

    before = seen()
    yield raw
    assert seen() == before, "something was stored"
    assert raw.get("/health").status == 200


@pytest.fixture
def refuses(place: tuple[Raw, str, str, str], door: Raw) -> Callable[..., list[Answer]]:
    """Send a body to each operation that takes one; see that it is refused with one of these statuses, as JSON."""
    _, model, path, entry = place

    def send(body: bytes, *statuses: int, headers: dict[str, str] | None = None) -> list[Answer]:
        body = body.replace(MODEL, f'"model":"{model}"'.encode())
        answers = [door.post("/v1/conversations", body, headers)]
        body = body.replace(f'"model":"{model}",'.encode(), b"").replace(f',"model":"{model}"'.encode(), b"")
        answers.append(door.post(path, body, headers))
        if body.startswith(b'{"'):
            body = b'{"from_entry_id":"%b",' % entry.encode() + body[1:]
        answers.append(door.post(f"{path}/restart", body, headers))
        for answer in answers:
            check_refusal(answer, *statuses)
        return answers

    return send


def check_refusal(answer: Answer, *statuses: int) -> None:
    """See that `answer` is an error object with one of these statuses."""
    assert answer.status in statuses, answer.body[:500]
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["object"] == "Error"
    assert answer.json["message"]
    assert answer.headers["mistral-correlation-id"]


def spoken(raw: Raw, data: bytes) -> Answer:
    """Send bytes as they are and read one response, if it is one."""
    host, _, port = raw.host.partition(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
        connection.sendall(data)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())


@pytest.mark.requirement("C-227")
@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_not_json_is_refused(refuses: Callable[..., list[Answer]], body: bytes) -> None:
    refuses(body, 400)


@pytest.mark.parametrize("body", NO_OBJECT, ids=bytes.decode)
def test_json_that_is_no_object_is_refused(refuses: Callable[..., list[Answer]], body: bytes) -> None:
    for answer in refuses(body, 422):
        assert answer.json["detail"][0]["loc"] == ["body"]


@pytest.mark.requirement("C-227")
@pytest.mark.parametrize("body", TOO_DEEP.values(), ids=TOO_DEEP)
def test_json_that_is_nested_too_deep_is_refused(refuses: Callable[..., list[Answer]], body: bytes) -> None:
    for answer in refuses(body, 400):
        assert "deep" in answer.json["message"]


def test_nesting_within_reason_is_kept(raw: Raw, model: Script) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    brackets = "[{" * 10_000 + '"\\'
    start = {"inputs": brackets, "model": model.name, "metadata": {"deep": deep}}
    answer = raw.post("/v1/conversations", start)

    assert answer.status == 200, answer.body
    assert raw.get(f"/v1/conversations/{answer.json['conversation_id']}").json["metadata"] == {"deep": deep}
    assert model.last.messages[0]["content"] == brackets


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "in chunks"])
def test_a_body_of_50_mib_is_refused(door: Raw, place: tuple[Raw, str, str, str], chunked: bool) -> None:
    _, model, path, _ = place
    body = b'{"model":"%b","inputs":"%b"}' % (model.encode(), b"x" * (50 * MIB))
    pieces = (body[start : start + MIB] for start in range(0, len(body), MIB))
    connection = http.client.HTTPConnection(door.host, timeout=PATIENCE)
    with closing(connection):
        connection.request("POST", path, pieces if chunked else body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        answer = Answer(response.status, headers, response.read())
    check_refusal(answer, 413)
    assert "max_body_bytes" in answer.json["message"]


def test_the_longest_body_is_a_setting(serve: Callable[..., str], model: Script) -> None:
    raw = Raw(serve(max_body_bytes=1000))
    head = b'{"model":"%b","inputs":"' % model.name.encode()
    fits = head + b"x" * (1000 - len(head) - 2) + b'"}'

    assert raw.post("/v1/conversations", fits).status == 200
    listed = raw.get("/v1/conversations").body
    check_refusal(raw.post("/v1/conversations", fits + b" "), 413)
    in_chunks = b"POST /v1/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    in_chunks += b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + fits + b" \r\n0\r\n\r\n"
    check_refusal(spoken(raw, in_chunks), 413)
    assert raw.get("/v1/conversations").body == listed
    assert len(model.requests) == 1


def test_a_body_that_never_ends_leaves_nothing(door: Raw) -> None:
    host, _, port = door.host.partition(":")
    for length in (b"Content-Length: 1000", b"Transfer-Encoding: chunked"):
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            head = b"POST /v1/conversations HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            connection.sendall(head + length + b'\r\n\r\n{"inputs":')


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "json",
             "application/jsonx", "application/json, text/plain", "", "\xff", "application/xml; application/json"],
)  # fmt: skip
def test_what_is_not_declared_as_json_is_refused(refuses: Callable[..., list[Answer]], kind: str) -> None:
    refuses(b'{"inputs":"x",MODEL}', 415, headers={"Content-Type": kind})


def test_what_is_not_declared_at_all_is_refused(door: Raw, place: tuple[Raw, str, str, str]) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 14\r\n\r\n" % place[2].encode()
    check_refusal(spoken(door, head + b'{"inputs":"x"}'), 415)


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", " application/json ;x=y"])
def test_json_may_be_declared_in_any_way(raw: Raw, model: Script, kind: str) -> None:
    body = json.dumps({"inputs": "Hello", "model": model.name}).encode()
    assert raw.post("/v1/conversations", body, {"Content-Type": kind}).status == 200


def test_of_a_key_given_twice_one_value_counts(raw: Raw, model: Script) -> None:
    body = b'{"inputs":"one","model":"x","inputs":"two","model":"%b"}' % model.name.encode()
    answer = raw.post("/v1/conversations", body)
    if answer.status != 200:
        check_refusal(answer, 400, 422)
        return
    (asked,) = model.last.messages
    entries = raw.get(f"/v1/conversations/{answer.json['conversation_id']}/history").json["entries"]
    assert asked["content"] == entries[0]["content"]
    assert asked["content"] in ("one", "two")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "", ":80",
             "0.0.0.0", "192.168.0.1", "[::2]:80", "[::1]evil.example", "[::1", "localhost@evil.example",
             "127.0.0.1, evil.example", "xn--localhost", "\xff"],
)  # fmt: skip
def test_only_loopback_names_are_answered_to(door: Raw, host: str) -> None:
    named = {"Host": host}
    check_refusal(door.get("/v1/conversations", named), 403)
    check_refusal(door.post("/v1/conversations", {"inputs": "x", "model": "any"}, named), 403)
    check_refusal(door.request("DELETE", "/v1/conversations/x", headers=named), 403)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "app.localhost", "127.0.0.1", "127.9.8.7:99", "[::1]:80"])
def test_loopback_has_many_names(door: Raw, host: str) -> None:
    assert door.get("/v1/conversations", {"Host": host}).status == 200


@pytest.mark.parametrize(
    "odd", ["\x00", "a\x00b", " ", "..", "../conversations", "%", "🙂", "\U0010ffff", "\u202e", "é", "conv_" + "0" * 32,
            "x" * 60_000, "'; drop table entries; --", "{conversation_id}", "a?b", "a#b", "\r\nX: y"],
    ids=lambda odd: repr(odd)[:20],
)  # fmt: skip
def test_an_odd_id_is_looked_up_and_not_found(door: Raw, odd: str) -> None:
    path = f"/v1/conversations/{quote(odd, safe='')}"
    answers = [door.get(path), door.delete(path), door.get(f"{path}/history"), door.get(f"{path}/messages")]
    answers.append(door.post(path, {"inputs": "x"}))
    answers.append(door.post(f"{path}/restart", {"from_entry_id": odd, "inputs": "x"}))
    answers.append(door.get(f"/v1/models/{quote(odd, safe='')}"))
    for answer in answers:
        check_refusal(answer, 404)


@pytest.mark.parametrize(
    "path", ["%", "%zz", "%f", "%00", "%ff", "%ED%A0%80", "%u0041", "%2e%2e", "%2F", "//", ";x", "\xff\xfe", "é"]
)
def test_a_path_that_is_badly_written_is_not_found(door: Raw, path: str) -> None:
    for start in ("/v1/conversations/", "/v1/models/", "/"):
        line = b"GET " + start.encode() + path.encode("latin-1") + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        answer = spoken(door, line)
        if answer.headers["content-type"].startswith("text/plain"):
            assert answer.status == 400  # it was no HTTP, and did not come as far as the application
        else:
            check_refusal(answer, 404)


@pytest.mark.parametrize(
    "query", ["page=%zz", "page=%00", "page=%ff", "page=", "page=1.5", "page=-1", "page=NaN", "page=0x1", "page=null",
              "page=%E0%A5%A7", "page=" + "1" * 100, "page=" + "1" * 5000, "page=[]", "page=true", "page%00=1", "=1",
              "page_size=0", "page_size=1001", "page_size=-" + "9" * 30, "page_size=x", "surprise=1"],
    ids=lambda query: query[:20],
)  # fmt: skip
def test_a_bad_query_is_refused(door: Raw, query: str) -> None:
    answer = door.get(f"/v1/conversations?{query}")
    check_refusal(answer, 422)
    assert answer.json["detail"][0]["loc"][0] == "query"


@pytest.mark.parametrize(
    "text", ["{", "[]", "1", "null", "[" * DEEP, '{"a":' * 3000, '{"a":' * 3000 + "1" + "}" * 3000, '{"a":NaN}',
             '{"a":1e999}', '{"a":"\\ud800"}', '{"a":' + "1" * 100 + "}", '{"a":' + "1" * 5000 + "}", '{"\x00":"\x00"}',
             '{"a":{"b":[1,{"c":null}]}}', "\x00", "%", '{"' + "k" * 20_000 + '":1}', '{"a":1,"a":2}', "~?~unset~?~"],
    ids=lambda text: repr(text)[:25],
)  # fmt: skip
def test_an_odd_filter_finds_nothing_or_is_none(door: Raw, text: str) -> None:
    answer = door.get(f"/v1/conversations?metadata={quote(text, safe='')}")
    if answer.status == 200:
        assert isinstance(answer.json, list)
    else:
        check_refusal(answer, 400, 422)


def test_metadata_in_bad_percent_encoding_is_no_filter(door: Raw) -> None:
    for text in ("%zz", "%", "%ED%A0%80", "%ff%fe", "&&&", "a=b=c"):
        answer = door.get(f"/v1/conversations?metadata={text}")
        assert answer.status in (200, 422), answer.body


def test_what_is_no_http_does_not_disturb(door: Raw) -> None:
    for data in (
        b"\x00" * 100 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ):
        assert spoken(door, data).status in (400, 403, 404, 505)
