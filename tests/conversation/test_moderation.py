"""Who scores: the rules with nothing configured, any server with a `/moderations`, by category; and scores alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from causerie.settings import ModelRoute, UpstreamSettings
from causerie.types.completion import CATEGORIES_V1, CATEGORIES_V2
from tests.support.moderating import HARMLESS
from tests.support.raw import Raw
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json

Config = dict[str, Any]
Serve = Callable[..., str]
Connect = Callable[[str], SDK]
OPENAI = {
    "sexual": 0.11, "sexual/minors": 0.12, "harassment": 0.21, "harassment/threatening": 0.32, "hate": 0.23,
    "hate/threatening": 0.24, "illicit": 0.45, "illicit/violent": 0.41, "self-harm": 0.01, "self-harm/intent": 0.02,
    "self-harm/instructions": 0.53, "violence": 0.31, "violence/graphic": 0.29,
}  # fmt: skip
PII_ONLY = {"custom_category_thresholds": {"pii": 0.5}, "ignore_other_categories": True, "action": "block"}


def named(*names: str, model: str | None = None, **config: Any) -> list[Config]:
    """Return a guardrail that checks these categories and no others."""
    thresholds = dict.fromkeys(names, 0.9)
    config = {"custom_category_thresholds": thresholds, "ignore_other_categories": True, **config}
    return [{"moderation_llm_v2": config if model is None else config | {"model_name": model}}]


def scores(response: Any) -> dict[str, Any]:
    """Return the scores that an answer reports."""
    (report,) = as_json(response)["guardrails"]
    (one,) = report.values()
    return {name: found["score"] for name, found in one["categories"].items()}


# ---- what is refused


@pytest.mark.parametrize(
    ("config", "loc"),
    [
        ({}, []),
        ({"block_on_error": True}, []),
        ({"moderation_llm_v1": None, "moderation_llm_v2": None}, []),
        ({"moderation_llm_v2": {"ignore_other_categories": True}}, ["moderation_llm_v2", "custom_category_thresholds"]),
        (
            {"moderation_llm_v2": {"ignore_other_categories": True, "custom_category_thresholds": {}}},
            ["moderation_llm_v2", "custom_category_thresholds"],
        ),
        (
            {"moderation_llm_v2": {"custom_category_thresholds": {"sexual": 1.01}}},
            ["moderation_llm_v2", "custom_category_thresholds", "sexual"],
        ),
        (
            {"moderation_llm_v1": {"custom_category_thresholds": {"sexual": -0.01}}},
            ["moderation_llm_v1", "custom_category_thresholds", "sexual"],
        ),
        (
            {"moderation_llm_v2": {"custom_category_thresholds": {"gossip": 0.5}}},
            ["moderation_llm_v2", "custom_category_thresholds", "gossip"],
        ),
        ({"moderation_llm_v2": {"action": "warn"}}, ["moderation_llm_v2", "action"]),
        ({"moderation_llm_v2": {"models": "x"}}, ["moderation_llm_v2", "models"]),
        ({"moderation_llm_v3": {}}, ["moderation_llm_v3"]),
        ({"output": True, "moderation_llm_v2": {}}, ["output"]),
    ],
)
@pytest.mark.parametrize("operation", ["start", "restart"])
def test_a_guardrail_that_cannot_be_kept_is_refused_by_field(
    raw: Raw, model: Script, operation: str, config: Config, loc: list[str]
) -> None:
    path, body = "/v1/conversations", {"inputs": "Hello", "model": model.name}
    if operation == "restart":
        made = raw.post(path, body).json
        path = f"{path}/{made['conversation_id']}/restart"
        body = {"inputs": "Hello", "from_entry_id": made["outputs"][0]["id"]}
    asked = len(model.requests)
    answer = raw.post(path, body | {"guardrails": [{"moderation_llm_v2": {}}, config]})

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", "guardrails", 1, *loc]
    assert len(model.requests) == asked
    assert model.moderated == []


def test_so_many_guardrails_and_no_more(raw: Raw, model: Script) -> None:
    body = {"inputs": "Hello", "model": model.name, "guardrails": named("law", model=model.name) * 32}
    assert raw.post("/v1/conversations", body).status == 200

    answer = raw.post("/v1/conversations", body | {"guardrails": named("law") * 33})
    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "guardrails"])


# ---- with nothing configured


@pytest.fixture
def rehearsing(serve: Serve) -> str:
    """A server with no model server at all."""
    return serve(upstream=None)


def test_personal_data_is_found_with_nothing_configured(connect: Connect, rehearsing: str) -> None:
    sdk = connect(rehearsing)
    guardrails = [{"block_on_error": True, "moderation_llm_v2": PII_ONLY}, {"moderation_llm_v1": PII_ONLY}]
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="My card is 4111 1111 1111 1111", guardrails=guardrails)
    response = sdk.start(inputs="My card is 4111 1111 1111 1112", guardrails=guardrails)

    assert refusal.body["guardrails"]["results"]["moderation_llm_v2"] == {
        "model_name": "mistral-moderation-2603",
        "decisions": {"pii": {"threshold": 0.5, "score": 0.99, "violated": True}},
        "violated": True,
        "action": "block",
    }
    assert [*as_json(response)["guardrails"][0].values()] == [
        {"action": "none", "categories": {"pii": {"score": 0.0, "violated": False}}}
    ]
    with sdk.refuses(403):
        sdk.append(conversation_id=response.conversation_id, inputs="Then write to ada@example.com")


@pytest.mark.parametrize("operation", ["start", "restart"])
def test_a_category_that_nobody_scores_is_refused_by_its_name(
    connect: Connect, rehearsing: str, operation: str
) -> None:
    sdk = connect(rehearsing)
    first = sdk.start(inputs="Hello")
    ask: Any = sdk.start
    if operation == "restart":
        cut = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[0].id}
        ask = lambda **how: sdk.restart(**cut, **how)  # noqa: E731  # one of two
    with sdk.refuses(422) as refusal:
        ask(inputs="Hello", guardrails=named("pii", "jailbreaking"))
    assert refusal.loc == ["body", "guardrails", 0, "moderation_llm_v2", "custom_category_thresholds", "jailbreaking"]
    assert "Nobody here can score jailbreaking. Name those that are meant" in refusal.message

    with sdk.refuses(422) as refusal:
        ask(inputs="Hello", guardrails=[{"moderation_llm_v1": {"custom_category_thresholds": {"pii": 0.5}}}])
    assert refusal.loc == ["body", "guardrails", 0, "moderation_llm_v1", "ignore_other_categories"]
    assert all(name in refusal.message for name in CATEGORIES_V1 if name != "pii")
    assert "ignore_other_categories" in refusal.message
    assert "setting moderation" in refusal.message


def test_a_category_that_is_switched_off_needs_nobody(connect: Connect, rehearsing: str) -> None:
    off = {name: 1 for name in CATEGORIES_V2 if name != "pii"}
    config = [{"moderation_llm_v2": {"custom_category_thresholds": off, "action": "block"}}]
    sdk = connect(rehearsing)

    assert scores(sdk.start(inputs="Hello", guardrails=config)) == {"pii": 0.0}
    with sdk.refuses(403):
        sdk.start(inputs="I am ada@example.com", guardrails=config)


def test_rules_go_by_no_model(connect: Connect, rehearsing: str) -> None:
    sdk = connect(rehearsing)
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", guardrails=named("pii", model="my-moderation"))

    assert refusal.loc == ["body", "guardrails", 0, "moderation_llm_v2", "model_name"]


# ---- a server's scores


def test_openais_categories_are_read_as_those_that_mean_the_same(sdk: SDK, model: Script) -> None:
    model.moderations.scores(OPENAI, only=True)
    guardrails = named(
        *("sexual", "hate_and_discrimination", "violence_and_threats", "dangerous", "criminal", "selfharm", "pii"),
        model=model.name,
    )
    assert scores(sdk.start(inputs="Hello", guardrails=guardrails)) == {
        "sexual": 0.12, "hate_and_discrimination": 0.32, "violence_and_threats": 0.32, "dangerous": 0.41,
        "criminal": 0.45, "selfharm": 0.53, "pii": 0.0,
    }  # fmt: skip

    model.moderations.scores(OPENAI, only=True)
    first = {**named("dangerous_and_criminal_content", model=model.name)[0]}
    response = sdk.start(inputs="Hello", guardrails=[{"moderation_llm_v1": first["moderation_llm_v2"]}])
    assert scores(response) == {"dangerous_and_criminal_content": 0.45}


def test_what_a_server_flags_in_its_own_words_counts(sdk: SDK, model: Script) -> None:
    model.moderations.scores(OPENAI, only=True, flags={"harassment": True})
    config = {"model_name": model.name, "action": "block", "ignore_other_categories": True}
    config["custom_category_thresholds"] = {"hate_and_discrimination": None, "selfharm": None}
    with sdk.refuses(403) as refusal:
        sdk.start(inputs="Hello", guardrails=[{"moderation_llm_v2": config}])

    assert refusal.body["guardrails"]["results"]["moderation_llm_v2"]["decisions"] == {
        "hate_and_discrimination": {"threshold": None, "score": 0.32, "violated": True},
        "selfharm": {"threshold": None, "score": 0.53, "violated": True},
    }


def test_a_category_that_a_server_turns_out_not_to_score_is_refused(sdk: SDK, model: Script) -> None:
    model.moderations.scores(OPENAI, only=True)
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", guardrails=[{"moderation_llm_v2": {"model_name": model.name}}])

    assert refusal.loc == ["body", "guardrails", 0, "moderation_llm_v2", "ignore_other_categories"]
    assert "health, financial, law, jailbreaking" in refusal.message
    assert "pii" not in refusal.message.partition(".")[0]
    assert model.requests == []


def test_a_model_server_without_moderations_scores_nothing(sdk: SDK, model: Script) -> None:
    # The scripted server answers 404 where it knows neither the model nor whose text it is.
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", guardrails=named("law", "pii"))
    assert "law (the moderation server default answers moderations with 404 (Not Found))" in refusal.message

    with sdk.refuses(403):
        sdk.start(inputs="I am ada@example.com", guardrails=[{"moderation_llm_v2": PII_ONLY}])
    assert model.requests == []


# ---- by configuration


def test_a_server_of_its_own_is_asked_with_its_own_key(
    serve: Serve, connect: Connect, model_server: ScriptedServer, model: Script
) -> None:
    url = serve(
        upstream_api_key="for the model", moderation_url=model_server.url, moderation_api_key="for the moderation",
        moderation_model=model.name,
    )  # fmt: skip
    sdk = connect(url)
    assert scores(sdk.start(inputs="Hello", guardrails=named("law"))) == {"law": HARMLESS}
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", guardrails=named("law", model="another"))

    assert refusal.loc[-1] == "model_name"
    (asked,) = model.moderated
    assert asked.json == {"model": model.name, "input": ["Hello"]}
    assert asked.headers["authorization"] == "Bearer for the moderation"
    assert model.last.headers["authorization"] == "Bearer for the model"


def test_the_upstream_is_asked_with_its_key(serve: Serve, connect: Connect, model: Script) -> None:
    sdk = connect(serve(upstream_api_key="for both"))
    sdk.start(inputs="Hello", guardrails=named("law", model=model.name))

    assert model.moderated[0].headers["authorization"] == "Bearer for both"


def test_each_category_goes_to_whom_the_table_says(
    serve: Serve, connect: Connect, model_server: ScriptedServer, model: Script
) -> None:
    other = model_server.script()
    url = serve(
        upstreams={"guard": UpstreamSettings(url=model_server.url, api_key="for the guard")},
        moderation={
            "others": ModelRoute.parse(f"default/{model.name}"), "law": ModelRoute.parse(f"guard/{other.name}"),
            "pii": ModelRoute.parse("rules"), "health": ModelRoute.parse("none"),
        },
    )  # fmt: skip
    model.moderations.scores({"sexual": 0.1, "law": 0.2, "pii": 0.3})
    other.moderations.scores({"sexual": 0.4, "law": 0.5, "pii": 0.6})
    sdk = connect(url)
    guardrails = named("sexual", "law", "pii")
    assert scores(sdk.start(inputs="I am ada@example.com", guardrails=named("sexual", "law"))) == {
        "sexual": 0.1, "law": 0.5,
    }  # fmt: skip
    assert scores(sdk.start(inputs="Hello", guardrails=guardrails)) == {"sexual": HARMLESS, "law": HARMLESS, "pii": 0.0}
    assert [len(one.moderated) for one in (model, other)] == [2, 2]
    assert other.moderated[0].headers["authorization"] == "Bearer for the guard"
    sdk.start(inputs="Hello", guardrails=named("pii"))
    assert [len(one.moderated) for one in (model, other)] == [2, 2], "who is not needed is not asked"
    with sdk.refuses(422) as refusal:
        sdk.start(inputs="Hello", guardrails=named("health"))
    assert refusal.loc[-1] == "health"


# ---- scores alone


@pytest.mark.requirement("C-298")
@pytest.mark.parametrize(
    ("inputs", "texts"), [("Hello", ["Hello"]), (["Hello"], ["Hello"]), (["One", "Two"], ["One", "Two"])]
)
def test_texts_are_scored(sdk: SDK, model: Script, inputs: Any, texts: list[str]) -> None:
    rows: list[dict[str, float]] = [{"law": 0.25}, {"law": 0.75}]
    model.moderations.scores(*rows[: len(texts)])
    response = sdk.moderate(model=model.name, inputs=inputs)

    assert response.id
    assert response.model == model.name
    assert len(response.results) == len(texts)
    for result, row in zip(response.results, rows, strict=False):
        assert result.category_scores == dict.fromkeys(CATEGORIES_V2, HARMLESS) | row
        assert result.categories == dict.fromkeys(CATEGORIES_V2, False) | {"law": row["law"] > 0.5}
    assert [request.json for request in model.moderated] == [{"model": model.name, "input": texts}]


@pytest.mark.requirement("C-298")
def test_the_first_model_scores_nine_categories(sdk: SDK, model: Script) -> None:
    (result,) = sdk.moderate(model="mistral-moderation-2411", inputs=f"<{model.name}>").results

    assert list(result.category_scores) == list(CATEGORIES_V1)


CHAT = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "How do I do it?"},
    {"role": "assistant", "content": "You do not."},
    {"role": "user", "content": [{"type": "text", "text": "But"}, {"type": "text", "text": "how?"}]},
]


def test_the_last_message_of_a_chat_is_scored(sdk: SDK, model: Script) -> None:
    model.moderations.scores({"criminal": 0.9})
    (result,) = sdk.moderate_chat(model=model.name, inputs=CHAT).results
    assert result.categories["criminal"] is True
    assert result.category_scores["criminal"] == 0.9

    response = sdk.moderate_chat(model=model.name, inputs=[CHAT, CHAT[:2]])
    assert len(response.results) == 2
    assert [request.json["input"] for request in model.moderated] == [
        ["But\nhow?"], ["But\nhow?", "How do I do it?"],
    ]  # fmt: skip


def test_a_server_that_reads_chats_is_given_the_chat(raw: Raw, model: Script) -> None:
    model.reads_chats = True
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "callAAAA1", "function": {"name": "f"}}]}
    chat = [*CHAT, call, {"role": "tool", "content": "3", "tool_call_id": "callAAAA1", "name": "f"}]
    answer = raw.post("/v1/chat/moderations", {"model": model.name, "input": chat})

    assert answer.status == 200
    assert [(request.path, request.json["input"]) for request in model.moderated] == [("/v1/chat/moderations", [chat])]


def test_with_nothing_configured_personal_data_is_scored(connect: Connect, rehearsing: str) -> None:
    sdk = connect(rehearsing)
    response = sdk.moderate(model="any", inputs=["I am ada@example.com", "I am Ada"])

    assert [result.category_scores for result in response.results] == [{"pii": 0.95}, {"pii": 0.0}]
    assert [result.categories for result in response.results] == [{"pii": True}, {"pii": False}]
    (result,) = sdk.moderate_chat(model="any", inputs=[{"role": "user", "content": "+33 6 12 34 56 78"}]).results
    assert result.categories == {"pii": True}


def test_a_model_server_without_moderations_leaves_the_rules(sdk: SDK) -> None:
    (result,) = sdk.moderate(model="no such model", inputs="I am ada@example.com").results

    assert result.category_scores == {"pii": 0.95}


def test_a_server_may_be_told_to_score_nothing(serve: Serve, connect: Connect) -> None:
    sdk = connect(serve(upstream=None, moderation={"pii": ModelRoute.parse("none")}))
    with sdk.refuses(422) as refusal:
        sdk.moderate_chat(model="any", inputs=[{"role": "user", "content": "Hello"}])
    assert refusal.loc == ["body", "model"]
    with sdk.refuses(422):
        sdk.start(inputs="Hello", guardrails=named("pii"))


@pytest.mark.parametrize(
    ("path", "body", "loc"),
    [
        ("moderations", {"input": []}, ["input"]),
        ("moderations", {"input": "x", "metadata": {"a": 1}}, ["metadata"]),
        ("moderations", {"input": "x", "stream": False}, ["stream"]),
        ("moderations", {"input": [1]}, ["input", 0]),
        ("moderations", {}, ["input"]),
        ("chat/moderations", {"input": []}, ["input"]),
        ("chat/moderations", {"input": [[]]}, ["input"]),
        ("chat/moderations", {"input": [CHAT, CHAT[0]]}, ["input"]),
        ("chat/moderations", {"input": [{"role": "boss", "content": "x"}]}, ["input", 0, "role"]),
    ],
)
def test_a_moderation_that_makes_no_sense_is_refused_by_field(
    raw: Raw, model: Script, path: str, body: Config, loc: list[Any]
) -> None:
    answer = raw.post(f"/v1/{path}", {"model": model.name} | body)

    assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", *loc])
    assert model.moderated == []


@pytest.mark.parametrize(("status", "told"), [(429, 429), (503, 503), (504, 504), (500, 502), (401, 502), (400, 400)])
def test_a_failing_moderation_is_told_as_a_failing_model_is(sdk: SDK, model: Script, status: int, told: int) -> None:
    model.moderations.fail(status, **{"Retry-After": "7"})
    with sdk.refuses(told) as refusal:
        sdk.moderate(model=model.name, inputs="Hello")

    if status in (429, 503):
        assert refusal.headers["retry-after"] == "7"
