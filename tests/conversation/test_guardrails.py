"""Guardrails: what a caller says is scored before the model sees it, and may go no further (PROTOCOL §6.2, §9)."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.moderating import HARMLESS
from tests.support.raw import Answer, Raw
from tests.support.replies import PATIENCE
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json

V1 = [
    "sexual", "hate_and_discrimination", "violence_and_threats", "dangerous_and_criminal_content", "selfharm", "health",
    "financial", "law", "pii",
]  # fmt: skip
V2 = [
    "sexual", "hate_and_discrimination", "violence_and_threats", "dangerous", "criminal", "selfharm", "health",
    "financial", "law", "pii", "jailbreaking",
]  # fmt: skip
Config = dict[str, Any]
Guard = Callable[..., Config]


@pytest.fixture
def guard(model: Script) -> Guard:
    """Make a guardrail that asks this test's moderation: thresholds by category, and the rest of a config."""

    def make(kind: str = "v2", *, block_on_error: bool | None = None, **config: Any) -> Config:
        thresholds = config.pop("thresholds", None)
        given = {} if thresholds is None else {"custom_category_thresholds": thresholds}
        outer = {} if block_on_error is None else {"block_on_error": block_on_error}
        return {**outer, f"moderation_llm_{kind}": {"model_name": model.name, **given, **config}}

    return make


@pytest.fixture
def nothing_is_left(raw: Raw, model: Script) -> Callable[[], None]:
    """See that the model was asked nothing and that no conversation of its name is there."""

    def look() -> None:
        assert model.requests == []
        listed = raw.get("/v1/conversations?page_size=1000").json
        assert [one for one in listed if one.get("model") == model.name] == []

    return look


def calm(names: list[str], **scores: float) -> dict[str, Any]:
    """The report about a harmless text, but for the categories that are given and violated."""
    plain = {name: {"score": HARMLESS, "violated": False} for name in names}
    return plain | {name: {"score": score, "violated": True} for name, score in scores.items()}


# ---- start


@pytest.mark.requirement("C-186")
def test_what_a_guardrail_blocks_reaches_neither_the_model_nor_the_store(
    sdk: SDK, model: Script, guard: Guard, nothing_is_left: Callable[[], None]
) -> None:
    model.moderations.scores({"sexual": 0.3})
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="Something lewd", guardrails=[guard(thresholds={"sexual": 0.1}, action="block")])

    assert refusal.code == 3200
    assert refusal.message == "Content blocked by guardrail"
    assert model.checked == ["Something lewd"]
    nothing_is_left()


@pytest.mark.requirement("C-230")
def test_a_block_has_the_documented_body(sdk: SDK, model: Script, guard: Guard) -> None:
    model.moderations.scores({"sexual": 0.3, "law": 0.6})
    thresholds = {"sexual": 0.1, "law": 0.6}
    config = guard(block_on_error=True, thresholds=thresholds, ignore_other_categories=True, action="block")
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="Something lewd", guardrails=[config])

    assert refusal.body == {
        "object": "Error",
        "message": "Content blocked by guardrail",
        "type": "invalid_request_error",
        "code": 3200,
        "error": {"message": "Content blocked by guardrail", "status": 403},
        "guardrails": {
            "results": {
                "moderation_llm_v2": {
                    "model_name": model.name,
                    "decisions": {
                        "sexual": {"threshold": 0.1, "score": 0.3, "violated": True},
                        "law": {"threshold": 0.6, "score": 0.6, "violated": False},
                    },
                    "violated": True,
                    "action": "block",
                }
            }
        },
    }


@pytest.mark.requirement("C-200")
def test_a_blocked_stream_is_a_403_before_any_event(
    raw: Raw, model: Script, guard: Guard, nothing_is_left: Callable[[], None]
) -> None:
    model.moderations.scores({"violence_and_threats": 0.9})
    body = {"inputs": "A threat", "model": model.name, "stream": True, "guardrails": [guard(action="block")]}
    answer = raw.post("/v1/conversations", body, {"Accept": "text/event-stream"})

    assert (answer.status, answer.headers["content-type"]) == (403, "application/json")
    assert answer.json["code"] == 3200
    nothing_is_left()


@pytest.mark.requirement("C-200")
def test_a_blocked_stream_raises_before_its_first_event(sdk: SDK, model: Script, guard: Guard) -> None:
    model.moderations.scores({"violence_and_threats": 0.9})
    with sdk.refuses(403) as refusal:
        sdk.start_stream(inputs="A threat", guardrails=[guard(action="block")])

    assert refusal.body["guardrails"]["results"]["moderation_llm_v2"]["violated"] is True
    assert model.requests == []


@pytest.mark.parametrize("stream", [False, True])
def test_the_model_is_not_asked_before_the_verdict(
    raw: Raw, model: Script, guard: Guard, meanwhile: Callable[..., Future[Answer]], stream: bool
) -> None:
    body = {"inputs": "Hello", "model": model.name, "guardrails": [guard(action="block")], "stream": stream}
    with model.gate() as gate:
        model.moderations.scores({}, before=gate)
        asked = meanwhile(raw.post, "/v1/conversations", body)
        gate.wait_reached()
        listed = raw.get("/v1/conversations?page_size=1000").json
        assert [one for one in listed if one.get("model") == model.name] == []
        assert model.requests == []
        assert not asked.done()

    assert asked.result(PATIENCE).status == 200
    assert len(model.requests) == 1


@pytest.mark.requirement("C-198")
def test_what_was_found_is_in_the_answer(sdk: SDK, model: Script, guard: Guard) -> None:
    response = sdk.start(inputs="Hello", guardrails=[guard(action="block")])

    assert as_json(response)["guardrails"] == [{"moderation_llm_v2": {"action": "none", "categories": calm(V2)}}]
    assert response.outputs[0].content == "Answer 1"
    assert list(as_json(response)["guardrails"][0]["moderation_llm_v2"]["categories"]) == V2


def test_what_was_found_is_in_the_last_event(sdk: SDK, raw: Raw, model: Script, guard: Guard) -> None:
    events = sdk.start_stream(inputs="Hello", guardrails=[guard()])
    body = {"inputs": "Hello", "model": model.name, "guardrails": [guard()], "stream": True}
    done = raw.post("/v1/conversations", body).events[-1]

    assert events[-1].type == "conversation.response.done"
    assert done["guardrails"] == [{"moderation_llm_v2": {"action": "none", "categories": calm(V2)}}]


@pytest.mark.requirement("C-199")
@pytest.mark.parametrize("guardrails", [None, []])
def test_without_guardrails_nothing_is_checked_and_the_report_is_null(
    raw: Raw, model: Script, guardrails: list[Config] | None
) -> None:
    body = {"inputs": "Hello", "model": model.name, "guardrails": guardrails}
    answer = raw.post("/v1/conversations", body).json
    done = raw.post("/v1/conversations", body | {"stream": True}).events[-1]

    assert answer["guardrails"] is None
    assert "guardrails" not in done
    assert model.moderated == []


@pytest.mark.requirement("C-187")
def test_the_first_version_knows_nine_categories(sdk: SDK, raw: Raw, model: Script, guard: Guard) -> None:
    response = sdk.start(inputs="Hello", guardrails=[guard("v1")])
    assert as_json(response)["guardrails"] == [{"moderation_llm_v1": {"action": "none", "categories": calm(V1)}}]

    # Its newer kin is not one of them; the SDK does not let this be said at all.
    config = guard("v1", thresholds={"jailbreaking": 0.5})
    refused = raw.post("/v1/conversations", {"inputs": "Hello", "model": model.name, "guardrails": [config]})
    loc = ["body", "guardrails", 0, "moderation_llm_v1", "custom_category_thresholds", "jailbreaking"]
    assert (refused.status, refused.json["detail"][0]["loc"]) == (422, loc)


@pytest.mark.requirement("C-187")
def test_the_first_version_blocks_by_its_own_categories(sdk: SDK, model: Script, guard: Guard) -> None:
    model.moderations.scores({"dangerous_and_criminal_content": 0.8})
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="How to", guardrails=[guard("v1", action="block")])

    decisions = refusal.body["guardrails"]["results"]["moderation_llm_v1"]["decisions"]
    assert [name for name, one in decisions.items() if one["violated"]] == ["dangerous_and_criminal_content"]
    assert list(decisions) == V1


@pytest.mark.parametrize(("kind", "name"), [("v1", "mistral-moderation-2411"), ("v2", "mistral-moderation-2603")])
def test_each_version_has_its_model(sdk: SDK, model: Script, kind: str, name: str) -> None:
    sdk.start(inputs=f"Hello from <{model.name}>", guardrails=[{f"moderation_llm_{kind}": {}}])

    assert [request.json for request in model.moderated] == [{"model": name, "input": [f"Hello from <{model.name}>"]}]


# ---- thresholds and actions


@pytest.mark.requirement("C-188")
@pytest.mark.parametrize(
    ("threshold", "score", "blocked"),
    [(0.5, 0.51, True), (0.5, 0.5, False), (0.5, 0.49, False), (0, 0.001, True), (0, 0, False), (1, 1, False)],
)
def test_a_score_above_the_threshold_violates(
    sdk: SDK, model: Script, guard: Guard, threshold: float, score: float, blocked: bool
) -> None:
    model.moderations.scores({"health": score})
    config = guard(thresholds={"health": threshold}, action="block")
    if blocked:
        with sdk.refuses(403) as refusal:
            sdk.start(inputs="My knee", guardrails=[config])
        (found,) = [refusal.body["guardrails"]["results"]["moderation_llm_v2"]["decisions"]["health"]]
        assert found == {"threshold": threshold, "score": score, "violated": True}
    else:
        (report,) = as_json(sdk.start(inputs="My knee", guardrails=[config]))["guardrails"]
        assert report["moderation_llm_v2"]["categories"]["health"] == {"score": score, "violated": False}


@pytest.mark.requirement("C-188")
@pytest.mark.parametrize("thresholds", [None, {}, {"health": None}, {"law": 0.1}])
def test_without_a_threshold_the_moderation_itself_says_what_is_too_much(
    sdk: SDK, model: Script, guard: Guard, thresholds: Any
) -> None:
    model.moderations.scores({"health": 0.2}, flags={"health": True})
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="My knee", guardrails=[guard(thresholds=thresholds, action="block")])

    decisions = refusal.body["guardrails"]["results"]["moderation_llm_v2"]["decisions"]
    assert decisions["health"] == {"threshold": None, "score": 0.2, "violated": True}
    model.moderations.scores({"health": 0.9}, flags={"health": False})
    assert sdk.start(inputs="My knee", guardrails=[guard(thresholds=thresholds, action="block")]).outputs


@pytest.mark.requirement("C-188")
@pytest.mark.parametrize("others", [dict.fromkeys(V2[1:], 1), None])
def test_nobody_is_asked_about_what_is_switched_off(
    sdk: SDK, model: Script, guard: Guard, others: dict[str, float] | None
) -> None:
    model.moderations.fail(500)
    thresholds = {V2[0]: 1, **(others or {})}
    config = guard(
        block_on_error=True, thresholds=thresholds, action="block", ignore_other_categories=others is None
    )  # fmt: skip
    response = sdk.start(inputs="Hello", guardrails=[config])

    assert as_json(response)["guardrails"] == [{"moderation_llm_v2": {"action": "none", "categories": {}}}]
    assert model.moderated == []


@pytest.mark.requirement("C-189")
def test_other_categories_can_be_left_alone(sdk: SDK, model: Script, guard: Guard) -> None:
    model.moderations.scores({"sexual": 0.99, "law": 0.2})
    config = guard(thresholds={"law": 0.5, "pii": None}, ignore_other_categories=True, action="block")
    response = sdk.start(inputs="Hello", guardrails=[config])

    assert as_json(response)["guardrails"] == [{"moderation_llm_v2": {"action": "none", "categories": {
        "law": {"score": 0.2, "violated": False}, "pii": {"score": HARMLESS, "violated": False},
    }}}]  # fmt: skip


@pytest.mark.requirement("C-190")
@pytest.mark.parametrize("action", [{}, {"action": "none"}])
def test_without_a_block_a_violation_is_reported_only(sdk: SDK, model: Script, guard: Guard, action: Config) -> None:
    model.moderations.scores({"selfharm": 0.97})
    response = sdk.start(inputs="Something sad", guardrails=[guard(**action)])

    report = {"moderation_llm_v2": {"action": "none", "categories": calm(V2, selfharm=0.97)}}
    assert as_json(response)["guardrails"] == [report]
    assert len(model.requests) == 1


# ---- several


@pytest.mark.requirement("C-193")
def test_each_of_several_guardrails_has_a_report(sdk: SDK, model: Script, guard: Guard) -> None:
    only = {"ignore_other_categories": True}
    configs = [guard("v1"), guard(thresholds={"law": 0.1}, **only), guard(thresholds={"law": 0.001}, **only)]
    response = sdk.start(inputs="Hello", guardrails=configs)

    calm_law, violated = {"score": HARMLESS, "violated": False}, {"score": HARMLESS, "violated": True}
    assert as_json(response)["guardrails"] == [
        {"moderation_llm_v1": {"action": "none", "categories": calm(V1)}},
        {"moderation_llm_v2": {"action": "none", "categories": {"law": calm_law}}},
        {"moderation_llm_v2": {"action": "none", "categories": {"law": violated}}},
    ]
    assert len(model.moderated) == 1, "one question is asked once"


@pytest.mark.requirement("C-193")
@pytest.mark.parametrize("blocking", [0, 1, 2])
def test_each_of_several_guardrails_can_block(
    sdk: SDK, model: Script, guard: Guard, nothing_is_left: Callable[[], None], blocking: int
) -> None:
    thresholds = [{"law": 0.0 if place == blocking else 0.9} for place in range(3)]
    configs = [guard(kind, thresholds=one, action="block", ignore_other_categories=True)
               for kind, one in zip(("v1", "v2", "v2"), thresholds, strict=True)]  # fmt: skip
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="Hello", guardrails=configs)

    told = refusal.body["guardrails"]
    kinds = ["moderation_llm_v1", "moderation_llm_v2", "moderation_llm_v2"]
    assert [next(iter(one)) for one in told["each"]] == kinds
    assert [one[kind]["action"] == "block" for one, kind in zip(told["each"], kinds, strict=True)] == [
        place == blocking for place in range(3)
    ]
    assert told["results"].keys() == set(kinds)
    assert told["results"][kinds[blocking]]["action"] == "block"
    nothing_is_left()


def test_both_versions_may_stand_in_one_guardrail(sdk: SDK, model: Script, guard: Guard) -> None:
    response = sdk.start(inputs="Hello", guardrails=[guard("v1") | guard("v2")])

    assert as_json(response)["guardrails"] == [{
        "moderation_llm_v1": {"action": "none", "categories": calm(V1)},
        "moderation_llm_v2": {"action": "none", "categories": calm(V2)},
    }]  # fmt: skip


# ---- when the moderation fails


@pytest.mark.requirement("C-191")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [429, 500, 503, 401])
def test_a_failing_moderation_blocks_where_that_is_asked_for(
    sdk: SDK, model: Script, guard: Guard, nothing_is_left: Callable[[], None], status: int, stream: bool
) -> None:
    model.moderations.fail(status)
    with sdk.refuses(403) as refusal:
        (sdk.start_stream if stream else sdk.start)(inputs="Hello", guardrails=[guard(block_on_error=True)])

    message = "Request blocked due to error in guardrail evaluation and block_on_error is set to True."
    (told,) = refusal.body.pop("guardrails")
    assert refusal.body == {
        "object": "Error", "message": message, "type": "invalid_request_error", "code": 3201,
        "error": {"message": message, "status": 403},
    }  # fmt: skip
    assert told["moderation_llm_v2"]["action"] == "block"
    assert f"({status}): the scripted moderation fails" in told["moderation_llm_v2"]["error"]["message"]
    nothing_is_left()


@pytest.mark.requirement("C-192")
@pytest.mark.parametrize("given", [{}, {"block_on_error": False}])
def test_a_failing_moderation_lets_pass_otherwise_and_says_so(
    sdk: SDK, model: Script, guard: Guard, given: Config
) -> None:
    model.moderations.fail(503)
    response = sdk.start(inputs="Hello", guardrails=[guard(action="block", **given)])

    (report,) = as_json(response)["guardrails"]
    assert report["moderation_llm_v2"]["action"] == "none"
    assert "is not available (503)" in report["moderation_llm_v2"]["error"]["message"]
    assert response.outputs[0].content == "Answer 1"


@pytest.mark.requirement("C-191")
@pytest.mark.parametrize(
    "body",
    [
        b"", b"nonsense", b"[]", b"{}", b'{"results": []}', b'{"results": [{"category_scores": {"law": 1.5}}]}',
        b'{"results": [{"category_scores": {"law": "high"}}]}', b'{"results": [{}, {}]}',
    ],
)  # fmt: skip
def test_an_answer_that_is_none_is_a_failure(sdk: SDK, model: Script, guard: Guard, body: bytes) -> None:
    model.moderations.body(body)
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="Hello", guardrails=[guard(block_on_error=True)])

    assert refusal.code == 3201
    assert "gave a broken answer" in json.dumps(refusal.body["guardrails"])


@pytest.mark.requirement("C-191")
def test_a_moderation_that_is_not_there_is_a_failure(
    serve: Callable[..., str], connect: Callable[[str], SDK], model: Script
) -> None:
    sdk = connect(serve(moderation_url="http://127.0.0.1:9/v1"))
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="Hello", guardrails=[{"block_on_error": True, "moderation_llm_v2": {}}])

    assert "The moderation server moderation cannot be reached" in json.dumps(refusal.body["guardrails"])
    assert model.requests == []


@pytest.mark.requirement("C-191")
def test_a_moderation_that_is_too_slow_is_a_failure(
    serve: Callable[..., str], connect: Callable[[str], SDK], model: Script, guard: Guard
) -> None:
    sdk = connect(serve(moderation_seconds=0.2))
    with model.gate() as gate:
        model.moderations.scores({}, before=gate)
        with sdk.refuses(403) as refusal:
            sdk.start(inputs="Hello", guardrails=[guard(block_on_error=True)])

    assert "took more than 0.2 s" in json.dumps(refusal.body["guardrails"])
    assert model.requests == []


def test_one_guardrail_that_cannot_be_checked_blocks_and_all_are_reported(
    sdk: SDK, model: Script, guard: Guard
) -> None:
    model.moderations.fail(500)
    usual: Config = {"moderation_llm_v1": {}}
    with sdk.refuses(403) as refusal:
        sdk.start(inputs=f"From <{model.name}>", guardrails=[guard(block_on_error=True), guard(), usual])

    failed, passed, checked = refusal.body["guardrails"]
    assert [failed["moderation_llm_v2"]["action"], passed["moderation_llm_v2"]["action"]] == ["block", "none"]
    assert checked == {"moderation_llm_v1": {"action": "none", "categories": calm(V1)}}
