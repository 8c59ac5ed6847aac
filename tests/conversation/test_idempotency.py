"""A request that comes again under its idempotency key makes no second run: it gets the first one's answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from causerie.engine import engine
from causerie.ids import Clock
from tests.support.raw import Answer, Raw
from tests.support.reading import CANCELLED, DONE, FAILED, Reading
from tests.support.replies import PATIENCE, Text
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.stage import serving

OPERATIONS = ["start", "append", "restart"]


def key(text: str = "once") -> dict[str, str]:
    """Return the header that names a key."""
    return {"Idempotency-Key": text}


class Asking:
    """One of the three operations on a conversation of one turn, to be asked again and again."""

    def __init__(self, raw: Raw, model: Script, operation: str, **more: Any) -> None:
        """Start the conversation."""
        self.raw, self.model = raw, model
        made = raw.post("/v1/conversations", {"inputs": "One", "model": model.name}).json
        self.made = f"/v1/conversations/{made['conversation_id']}"
        self.path, self.body = {
            "start": ("/v1/conversations", {"inputs": "Two", "model": model.name}),
            "append": (self.made, {"inputs": "Two"}),
            "restart": (f"{self.made}/restart", {"inputs": "Two", "from_entry_id": made["outputs"][0]["id"]}),
        }[operation]
        # Keys of a start are the workspace's, and all tests share that.
        self.key = key(f"once {made['conversation_id']}")
        self.body |= more

    def __call__(self, **more: Any) -> Answer:
        """Ask, under the key."""
        return self.raw.post(self.path, self.body | more, self.key)

    @property
    def turns(self) -> int:
        """How often the model was asked since the conversation was started."""
        return len(self.model.requests) - 1


@pytest.fixture(params=OPERATIONS)
def ask(request: pytest.FixtureRequest, raw: Raw, model: Script) -> Asking:
    """Each operation, ready to be asked."""
    return Asking(raw, model, request.param)


def test_a_retry_of_what_is_done_gets_the_same_bytes(ask: Asking) -> None:
    first, *again = [ask() for _ in range(3)]

    assert [answer.status for answer in (first, *again)] == [200, 200, 200]
    assert {answer.body for answer in again} == {first.body}
    assert first.json["outputs"][0]["content"] == "Answer 2"
    assert ask.turns == 1
    history = ask.raw.get(f"/v1/conversations/{first.json['conversation_id']}/history").json["entries"]
    assert [entry["content"] for entry in history[-2:]] == ["Two", "Answer 2"]
    assert len(ask.raw.get(f"/v1/conversations/{first.json['conversation_id']}/runs").json["data"]) <= 2


@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_of_what_runs_attaches_to_it(ask: Asking, model: Script, meanwhile: Any, stream: bool) -> None:
    with model.gate() as gate:
        model.reply(Text("Sev"), gate, Text("en."))
        first: Future[Answer] = meanwhile(ask, stream=stream)
        gate.wait_reached()
        with ask.raw.stream(ask.path, ask.body | {"stream": True}, ask.key) as attached:
            started = attached.frame()  # it is told from the first event on
            others: list[Future[Answer]] = [meanwhile(ask, stream=one) for one in (False, True, False)]
            gate.open()
            had = Reading([started, *attached.frames()])
    answers = [one.result(PATIENCE) for one in (first, *others)]

    assert ask.turns == 1
    assert {answer.status for answer in answers} == {200}
    whole = [answer for answer in answers if answer.headers["content-type"] == "application/json"]
    assert len({answer.body for answer in whole}) == 1
    outputs = whole[0].json["outputs"]
    assert [output["content"] for output in outputs] == ["Seven."]
    for reading in (had, *(Reading(answer.frames) for answer in answers if answer not in whole)):
        reading.check(outputs)
    assert ask().body == whole[0].body


def test_many_that_come_at_once_make_one_run(ask: Asking, meanwhile: Any) -> None:
    asked: list[Future[Answer]] = [meanwhile(ask, stream=number % 3 == 0) for number in range(12)]
    answers = [one.result(PATIENCE) for one in asked]

    assert {answer.status for answer in answers} == {200}
    assert ask.turns == 1
    whole = {answer.body for number, answer in enumerate(answers) if number % 3}
    assert len(whole) == 1
    for answer in answers[::3]:
        Reading(answer.frames).check(answers[1].json["outputs"])


def test_a_streamed_retry_replays_the_run(ask: Asking, model: Script) -> None:
    model.reply(Text("Sev"), Text("en."))
    first, again = ask(stream=True), ask(stream=True)
    assert [frame.data for frame in again.frames] == [frame.data for frame in first.frames]
    Reading(again.frames).check(ask().json["outputs"])
    assert ask.turns == 1


@pytest.mark.parametrize("first", [True, False])
def test_a_retry_may_be_read_in_another_way(ask: Asking, first: bool) -> None:
    one, other = ask(stream=first), ask(stream=not first)
    streamed, whole = (one, other) if first else (other, one)
    Reading(streamed.frames).check(whole.json["outputs"])
    assert Reading(streamed.frames).events[0]["conversation_id"] == whole.json["conversation_id"]
    assert Reading(streamed.frames).events[-1]["usage"] == whole.json["usage"]
    assert ask(on_disconnect="cancel", stream=None).body == whole.body
    assert ask.turns == 1


@pytest.mark.parametrize("change", [{"inputs": "Three"}, {"completion_args": {"temperature": 0.5}}, {"store": True}])
@pytest.mark.parametrize("running", [False, True])
def test_another_body_under_the_key_is_refused(
    ask: Asking, model: Script, meanwhile: Any, change: dict[str, Any], running: bool
) -> None:
    with model.gate() as gate:
        model.say("Two.", before=gate)
        first: Future[Answer] = meanwhile(ask)
        gate.wait_reached()
        if running:
            other = ask(**change)
        gate.open()
        assert first.result(PATIENCE).status == 200
        if not running:
            other = ask(**change)
    assert other.status == 422, other.body
    assert other.json["detail"][0]["loc"] == ["header", "idempotency-key"]
    assert ask.key["Idempotency-Key"] in other.json["message"]
    assert ask.turns == 1
    assert ask().body == first.result(PATIENCE).body


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_failed_gives_its_key_back(ask: Asking, model: Script, stream: bool) -> None:
    model.fail(500, "it broke")
    failed = ask(stream=stream)
    assert failed.events[-1]["type"] == FAILED if stream else failed.status == 502
    other = ask(inputs="Another body, as the key is free.")
    assert other.status == 200
    assert ask(inputs="Another body, as the key is free.").body == other.body
    assert ask.turns == 2


def test_who_attached_to_a_run_that_fails_learns_of_it(ask: Asking, model: Script, meanwhile: Any) -> None:
    with model.gate() as gate:
        model.fail(500, "it broke", before=gate)
        first: Future[Answer] = meanwhile(ask)
        gate.wait_reached()
        with ask.raw.stream(ask.path, ask.body | {"stream": True}, ask.key) as attached:
            frames = [attached.frame()]
            others: list[Future[Answer]] = [meanwhile(ask) for _ in range(2)]
            gate.open()
            frames += attached.frames()
    statuses = [one.result(PATIENCE).status for one in (first, *others)]
    assert statuses[0] == 502
    assert set(statuses) <= {502, 200}, "who came too late to attach makes a run of its own"
    assert [frame.event for frame in frames][-1] == FAILED
    assert frames[-1].json["code"] == 502


def test_a_refused_request_binds_nothing(ask: Asking) -> None:
    assert ask(inputs=[{"type": "function.result", "tool_call_id": "callAAAA1", "result": "x"}]).status == 422
    assert ask().status == 200
    assert ask.turns == 1


def test_a_busy_conversation_binds_nothing(raw: Raw, model: Script, meanwhile: Any) -> None:
    ask = Asking(raw, model, "append")
    with model.gate() as gate:
        model.say("Two.", before=gate)
        running: Future[Answer] = meanwhile(raw.post, ask.path, {"inputs": "In the way."})
        gate.wait_reached()
        assert ask().status == 409
        gate.open()
        running.result(PATIENCE)
    answer = ask()
    assert answer.status == 200
    assert ask().body == answer.body


def test_a_run_that_was_cancelled_keeps_its_key(raw: Raw, model: Script, meanwhile: Any) -> None:
    ask = Asking(raw, model, "append")
    with model.gate() as gate:
        model.reply(Text("Sev"), gate)
        first: Future[Answer] = meanwhile(ask, stream=True)
        gate.wait_reached()
        with raw.stream(ask.path, ask.body | {"stream": True}, ask.key) as attached:
            frames = [attached.frame(), attached.frame()]
            raw.post(f"{ask.made}/cancel", None)
            frames += attached.frames()
    cut, again = Reading(first.result(PATIENCE).frames), ask()
    assert cut.types[-2:] == [CANCELLED, DONE]
    for reading in (cut, Reading(frames), Reading(ask(stream=True).frames)):
        reading.check(again.json["outputs"])
    assert [output["content"] for output in again.json["outputs"]] == ["Sev"]
    assert ask().body == again.body
    assert ask.turns == 1


def test_a_key_belongs_to_an_operation_on_a_conversation(raw: Raw, model: Script) -> None:
    one, other = Asking(raw, model, "append"), Asking(raw, model, "append")
    first = raw.get(f"{one.made}/history").json["entries"][-1]["id"]
    answers = [
        raw.post(path, body, one.key)
        for path, body in (
            (one.path, {"inputs": "Two"}),
            (other.path, {"inputs": "Two"}),
            (f"{one.made}/restart", {"inputs": "Two", "from_entry_id": first}),
            ("/v1/conversations", {"inputs": "Two", "model": model.name}),
            ("/v1/conversations", {"inputs": "Two", "model": model.name}),
        )
    ]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 4
    assert answers[3].body == answers[4].body


def test_a_key_goes_with_its_conversation(raw: Raw, model: Script) -> None:
    start, restart = Asking(raw, model, "start"), Asking(raw, model, "restart")
    for ask in (start, restart):
        first = ask()
        raw.delete(f"/v1/conversations/{first.json['conversation_id']}")
        again = ask(inputs="Another body, as the key is free.")
        assert again.status == 200
        assert again.json["conversation_id"] != first.json["conversation_id"]
    append = Asking(raw, model, "append")
    append()
    raw.delete(append.made)
    assert append().status == 404


def test_a_conversation_that_is_gone_comes_before_its_key(raw: Raw, model: Script) -> None:
    ask = Asking(raw, model, "restart")
    branch = ask()
    raw.delete(ask.made)
    assert ask().status == 404
    assert raw.get(f"/v1/conversations/{branch.json['conversation_id']}").status == 200


@pytest.mark.parametrize("text", ["", "x" * 257])
def test_what_is_no_key_is_refused(ask: Asking, text: str) -> None:
    answer = ask.raw.post(ask.path, ask.body, key(text))
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["header", "idempotency-key"])
    assert ask.turns == 0


def test_any_other_text_is_a_key(ask: Asking) -> None:
    for text in ("x" * 256, "é", "a b", "' OR 1=1 --", '"quoted"'):
        ask.key = {"Idempotency-Key": (text + ask.made[-20:])[:256]}
        assert ask().body == ask().body
    assert ask.turns == 5


def test_a_key_is_of_no_use_where_nothing_is_kept(ask: Asking) -> None:
    """With ``store=false`` there is nothing that a retry could find; what cannot be honoured is refused (D11)."""
    answer = ask(store=False)
    assert answer.status == 422, answer.body
    assert answer.json["detail"][0]["loc"] == ["header", "idempotency-key"]
    assert ask.turns == 0


def test_a_retry_finds_its_answer_on_a_server_started_anew(
    tmp_path: Path, model_server: ScriptedServer, model: Script
) -> None:
    before: list[tuple[str, dict[str, Any], dict[str, str], Answer]] = []
    settings: dict[str, Any] = {"upstream": model_server.url, "data": str(tmp_path)}
    with serving(**settings) as url:
        for operation in OPERATIONS:
            ask = Asking(Raw(url), model, operation)
            before.append((ask.path, ask.body, ask.key, ask()))
    asked = len(model.requests)
    with serving(**settings) as url:
        for path, body, header, answer in before:
            assert Raw(url).post(path, body, header).body == answer.body
            Reading(Raw(url).post(path, body | {"stream": True}, header).frames).check(answer.json["outputs"])
            assert Raw(url).post(path, body | {"inputs": "Other"}, header).status == 422
    assert len(model.requests) == asked


class Earlier(Clock):
    """A clock that is slow."""

    def __init__(self, by: timedelta) -> None:
        """Be slow by so much."""
        self._by = by

    def now(self) -> datetime:
        """Return the time as it was."""
        return super().now() - self._by


@pytest.mark.parametrize(("hours", "turns"), [(23.9, 1), (24.1, 2)])
def test_a_key_is_kept_for_a_day(
    tmp_path: Path, model_server: ScriptedServer, model: Script, monkeypatch: pytest.MonkeyPatch, hours: float,
    turns: int,
) -> None:  # fmt: skip
    settings: dict[str, Any] = {"upstream": model_server.url, "data": str(tmp_path)}
    with monkeypatch.context() as patch:
        patch.setattr(engine, "Clock", lambda: Earlier(timedelta(hours=hours)))
        with serving(**settings) as url:
            ask = Asking(Raw(url), model, "append")
            first = ask()
    with serving(**settings) as url:
        again = Raw(url).post(ask.path, ask.body, ask.key)
        assert again.status == 200
        assert (again.body == first.body) == (turns == 1)
        assert Raw(url).post(ask.path, ask.body, ask.key).body == again.body
    assert ask.turns == turns


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_sdk_retries_under_a_key(sdk: SDK, raw: Raw, model: Script, operation: str) -> None:
    ask = Asking(raw, model, operation)
    more = {name: value for name, value in ask.body.items() if name != "model"}
    more |= {} if operation == "start" else {"conversation_id": ask.made.rpartition("/")[2]}
    again: Callable[..., Any] = getattr(sdk, operation)
    first, second = (again(**more, http_headers=ask.key) for _ in range(2))
    assert as_json(first) == as_json(second)
    started, delta, done = getattr(sdk, f"{operation}_stream")(**more, http_headers=ask.key)
    assert (started.conversation_id, delta.content) == (first.conversation_id, first.outputs[0].content)
    assert done.type == DONE
    assert ask.turns == 1
    with sdk.refuses(422) as refusal:
        again(**more | {"inputs": "Another body"}, http_headers=ask.key)
    assert refusal.loc == ["header", "idempotency-key"]
