"""Content chunks: what a message is made of when it is more than text, on its way in and on its way out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.replies import Content, Reasoning, Step, Text
from tests.support.samples import user
from tests.support.scripted import Script
from tests.support.sdk import SDK, as_json

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
)
IMAGES = ["https://example.org/a%20b.png?x=1&y=ü", "http://127.0.0.1:9/i.jpg", PIXEL]


def thinking(*texts: str, **members: Any) -> dict[str, Any]:
    """Return a chunk of thoughts."""
    return {"type": "thinking", "thinking": [{"type": "text", "text": text} for text in texts], **members}


THOUGHTS: dict[str, list[Step]] = {
    "reasoning_content": [Reasoning("Let me "), Reasoning("see."), Text("Sev"), Text("en.")],
    "reasoning": [Reasoning("Let me ", "reasoning"), Reasoning("see.", "reasoning"), Text("Sev"), Text("en.")],
}
"""The same thoughts and answer in two of the fields that servers put them in."""
MISTRAL: list[dict[str, Any]] = [thinking("Let me see."), {"type": "text", "text": "Seven."}]
"""And in the third: the content itself."""


def refused_at(raw: Raw, model: Script, entry: dict[str, Any]) -> dict[str, Any]:
    """Start with `entry` after another; return the one thing that the 422 complains about."""
    answer = raw.post("/v1/conversations", {"inputs": [user("One"), entry, user("Two")], "model": model.name})
    assert (answer.status, answer.json["code"]) == (422, 3001), answer.body
    assert model.requests == []
    (detail,) = answer.json["detail"]
    return dict(detail)


@pytest.mark.requirement("C-121")
def test_text_chunks_of_the_caller_are_kept_and_read_as_one_text(sdk: SDK, model: Script) -> None:
    chunks = [{"type": "text", "text": "What is "}, {"type": "text", "text": "3+4? 🙂"}]
    spoken = {"type": "message.output", "content": [{"type": "text", "text": "Se"}, {"type": "text", "text": "ven."}]}
    response = sdk.start(inputs=[{"role": "user", "content": chunks}, spoken, user("Sure?")])

    asked, answered, *_ = as_json(sdk.get_history(response.conversation_id))["entries"]
    assert asked["content"] == chunks
    assert answered["content"] == spoken["content"]
    assert model.last.messages == [
        {"role": "user", "content": "What is 3+4? 🙂"},
        {"role": "assistant", "content": "Seven."},
        {"role": "user", "content": "Sure?"},
    ]


@pytest.mark.requirement("C-121")
@pytest.mark.parametrize("streamed", [False, True])
def test_text_chunks_of_the_model_become_a_string(sdk: SDK, model: Script, streamed: bool) -> None:
    model.reply(Content([{"type": "text", "text": "Sev"}, {"type": "text", "text": "en."}]))
    if streamed:
        started, *deltas, _ = sdk.start_stream(inputs="What is 3+4?")
        made, pieces = started.conversation_id, [delta.content for delta in deltas]
    else:
        response = sdk.start(inputs="What is 3+4?")
        made, pieces = response.conversation_id, [response.outputs[0].content]

    assert all(isinstance(piece, str) for piece in pieces)
    assert "".join(pieces) == sdk.get_history(made).entries[-1].content == "Seven."


@pytest.mark.requirement("C-122")
def test_a_chunk_without_a_type_is_known_by_its_fields(raw: Raw, model: Script) -> None:
    bare = [{"text": "Look: "}, {"image_url": IMAGES[0]}]
    inputs = [
        {"role": "user", "content": bare},
        {"type": "message.output", "content": [{"thinking": [{"text": "Hm."}]}, {"text": "I see."}]},
        {"type": "message.input", "role": "user", "content": [{"text": "And?"}]},
    ]
    answer = raw.post("/v1/conversations", {"inputs": inputs, "model": model.name})

    assert answer.status == 200, answer.json
    looked, seen, more, _ = raw.get(f"/v1/conversations/{answer.json['conversation_id']}/history").json["entries"]
    assert looked["content"] == [{"type": "text"} | bare[0], {"type": "image_url"} | bare[1]]
    assert [chunk["type"] for chunk in seen["content"]] == ["thinking", "text"]
    assert seen["content"][0]["thinking"] == [{"type": "text", "text": "Hm."}]
    assert more["content"] == [{"type": "text", "text": "And?"}]
    assert model.last.messages[0]["content"][0] == {"type": "text", "text": "Look: "}
    assert model.last.messages[2]["content"] == "And?"


@pytest.mark.requirement("C-123")
@pytest.mark.parametrize("url", IMAGES, ids=["https", "http", "data"])
def test_an_image_reaches_the_model_and_stays_in_history(sdk: SDK, model: Script, url: str) -> None:
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": url}]
    response = sdk.start(inputs=[{"role": "user", "content": content}])
    sdk.append(conversation_id=response.conversation_id, inputs="And its colour?")

    assert as_json(sdk.get_history(response.conversation_id))["entries"][0]["content"] == content
    first, second = model.requests
    assert first.messages == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}],
        }
    ]
    assert second.messages_bytes.startswith(first.messages_bytes.rstrip(b"]"))


@pytest.mark.requirement("C-123")
def test_images_stand_where_they_were_put(sdk: SDK, model: Script) -> None:
    content = [
        {"type": "image_url", "image_url": IMAGES[0]},
        {"type": "text", "text": "or"},
        {"type": "image_url", "image_url": IMAGES[1]},
    ]
    sdk.start(inputs=[{"role": "user", "content": content}])

    (message,) = model.last.messages
    assert [(part["type"], part.get("text")) for part in message["content"]] == [
        ("image_url", None),
        ("text", "or"),
        ("image_url", None),
    ]
    assert [part["image_url"]["url"] for part in message["content"] if "image_url" in part] == IMAGES[:2]


@pytest.mark.requirement("C-123")
def test_an_image_over_the_limit_is_refused(raw: Raw, model: Script) -> None:
    huge = "data:image/png;base64," + "A" * (28 * 1024 * 1024)
    wrong = refused_at(raw, model, {"role": "user", "content": [{"type": "image_url", "image_url": huge}]})
    assert wrong["loc"][:5] == ["body", "inputs", 1, "content", 0]


@pytest.mark.requirement("C-124")
@pytest.mark.parametrize(
    "detail",
    [{"detail": "low"}, {"detail": "auto"}, {"detail": "high"}, {"detail": None}, {}],
    ids=["low", "auto", "high", "null", "absent"],
)
def test_an_image_object_may_say_how_closely_to_look(sdk: SDK, model: Script, detail: dict[str, Any]) -> None:
    chunk = {"type": "image_url", "image_url": {"url": IMAGES[0]} | detail}
    response = sdk.start(inputs=[{"role": "user", "content": [chunk]}])

    kept = as_json(sdk.get_history(response.conversation_id))["entries"][0]["content"][0]["image_url"]
    assert (kept["url"], kept.get("detail")) == (IMAGES[0], detail.get("detail"))
    given = {name: value for name, value in detail.items() if value}
    assert model.last.messages[0]["content"] == [{"type": "image_url", "image_url": {"url": IMAGES[0]} | given}]


@pytest.mark.requirement("C-124")
@pytest.mark.parametrize(
    ("image", "member"),
    [({"url": IMAGES[0], "detail": "enormous"}, "detail"), ({"detail": "low"}, "url"), ({"url": None}, "url"),
     ({"url": IMAGES[0], "width": 5}, "width")],
    ids=["another detail", "no url", "null url", "unknown member"],
)  # fmt: skip
def test_a_wrong_image_object_is_refused(raw: Raw, model: Script, image: dict[str, Any], member: str) -> None:
    wrong = refused_at(raw, model, {"role": "user", "content": [{"type": "image_url", "image_url": image}]})
    assert wrong["loc"] == ["body", "inputs", 1, "content", 0, "image_url", member]


@pytest.mark.requirement("C-128")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("dialect", [*THOUGHTS, "content"])
def test_thoughts_are_one_chunk_before_the_text(sdk: SDK, model: Script, dialect: str, streamed: bool) -> None:
    model.reply(*THOUGHTS.get(dialect, [Content(MISTRAL)]))
    if streamed:
        made = sdk.start_stream(inputs="What is 3+4?")[0].conversation_id
    else:
        response = sdk.start(inputs="What is 3+4?")
        made = response.conversation_id
        assert as_json(response.outputs) == as_json(sdk.get_history(made).entries[1:])

    thought, text = as_json(sdk.get_history(made).entries[1])["content"]
    assert (thought["type"], thought["closed"]) == ("thinking", True)
    assert thought["thinking"] == [{"type": "text", "text": "Let me see."}]
    assert text == {"type": "text", "text": "Seven."}
    assert as_json(sdk.get_messages(made).messages[1])["content"] == [thought, text]


@pytest.mark.requirement("C-128")
def test_a_model_that_only_thought_has_answered(sdk: SDK, model: Script) -> None:
    model.reply(Reasoning("Hm."))
    response = sdk.start(inputs="Hello")

    (thought,) = as_json(response.outputs[0])["content"]
    assert (thought["type"], thought["thinking"]) == ("thinking", [{"type": "text", "text": "Hm."}])
    assert sdk.append(conversation_id=response.conversation_id, inputs="More").outputs[0].content == "Answer 2"


@pytest.mark.requirement("C-128", "C-129")
@pytest.mark.parametrize("dialect", [*THOUGHTS, "content"])
def test_a_model_reads_its_own_thoughts_in_its_own_dialect(sdk: SDK, model: Script, dialect: str) -> None:
    signed = [{**MISTRAL[0], "signature": "c2lnbmF0dXJl"}, MISTRAL[1]]
    model.reply(*THOUGHTS.get(dialect, [Content(signed)]))
    response = sdk.start(inputs="What is 3+4?")
    sdk.append(conversation_id=response.conversation_id, inputs="Sure?")

    answered = model.last.messages[1]
    if dialect == "content":
        assert answered == {"role": "assistant", "content": signed}
        assert as_json(sdk.get_history(response.conversation_id))["entries"][1]["content"][0]["signature"] == (
            "c2lnbmF0dXJl"
        )
    else:
        assert answered == {"role": "assistant", "content": "Seven.", dialect: "Let me see."}


@pytest.mark.requirement("C-129")
@pytest.mark.parametrize("kind", [{"type": "message.output"}, {"type": "message.input", "role": "assistant"}],
                         ids=["output", "input"])  # fmt: skip
@pytest.mark.parametrize(
    "members",
    [{}, {"closed": True}, {"closed": False}, {"signature": "c2lnbmF0dXJl"}, {"signature": None}],
    ids=["plain", "closed", "open", "signed", "null signature"],
)
def test_replayed_thoughts_are_kept_and_reach_the_model(
    sdk: SDK, raw: Raw, model: Script, kind: dict[str, str], members: dict[str, Any]
) -> None:
    content = [thinking("Let me ", "see.", **members), {"type": "text", "text": "Seven."}]
    response = sdk.start(inputs=[user("What is 3+4?"), kind | {"content": content}, user("Sure?")])

    entry = raw.get(f"/v1/conversations/{response.conversation_id}/history").json["entries"][1]
    kept = entry["content"][0]
    assert kept["thinking"] == content[0]["thinking"]
    assert (kept["closed"], kept.get("signature")) == (members.get("closed", True), members.get("signature"))
    answered = model.last.messages[1]
    assert answered["role"] == "assistant"
    assert "Let me see." in str(answered)
    assert "Seven." in str(answered["content"])
    again = sdk.start(inputs=[user("What is 3+4?"), entry, user("Sure?")])
    assert as_json(sdk.get_history(again.conversation_id))["entries"][1]["content"] == entry["content"]


@pytest.mark.requirement("C-129")
def test_thoughts_may_hold_references(raw: Raw, model: Script) -> None:
    thought = {"type": "thinking", "closed": True, "thinking": [
        {"type": "text", "text": "See "}, {"type": "reference", "reference_ids": [1, "a"]},
        {"type": "tool_reference", "tool": "web_search", "title": "Sums"},
    ]}  # fmt: skip
    spoken = {"type": "message.output", "content": [thought, {"type": "text", "text": "Seven."}]}
    answer = raw.post("/v1/conversations", {"inputs": [user("One"), spoken, user("Two")], "model": model.name})

    assert answer.status == 200, answer.json
    history = raw.get(f"/v1/conversations/{answer.json['conversation_id']}/history").json["entries"]
    assert history[1]["content"][0] == thought
    assert "See " in str(model.last.messages[1])


@pytest.mark.requirement("C-123", "C-129")
@pytest.mark.parametrize(
    ("role", "chunk"),
    [("user", thinking("Let me see.")), ("assistant", {"type": "image_url", "image_url": IMAGES[0]})],
    ids=["a user's thoughts", "an assistant's image"],
)
@pytest.mark.parametrize("beside", [[], [{"type": "text", "text": "Hello."}]], ids=["alone", "beside text"])
def test_a_chunk_is_refused_or_reaches_the_model_but_is_never_dropped(
    raw: Raw, model: Script, role: str, chunk: dict[str, Any], beside: list[dict[str, Any]]
) -> None:
    inputs = [{"type": "message.input", "role": role, "content": [*beside, chunk]}, user("Go on.")]
    answer = raw.post("/v1/conversations", {"inputs": inputs, "model": model.name})

    if answer.status == 422:
        assert answer.json["detail"][0]["loc"][:5] == ["body", "inputs", 0, "content", len(beside)]
    else:
        assert answer.status == 200, answer.body
        sent = str(model.last.messages[0])
        assert "Let me see." in sent or IMAGES[0] in sent


@pytest.mark.requirement("C-132")
@pytest.mark.parametrize("kind", ["message.input", "message.output"])
@pytest.mark.parametrize(
    "chunk", [{"type": "video_url", "video_url": "x"}, {"type": "", "text": "x"}, {"type": None, "text": "x"},
              {"type": 5, "text": "x"}, {"type": "reference", "reference_ids": [1]}],
    ids=["unknown", "empty", "null", "a number", "a reference outside of thoughts"],
)  # fmt: skip
def test_a_chunk_of_an_unknown_type_is_refused(raw: Raw, model: Script, kind: str, chunk: dict[str, Any]) -> None:
    entry = {"type": kind, "role": "user" if kind == "message.input" else "assistant"}
    wrong = refused_at(raw, model, entry | {"content": [{"type": "text", "text": "x"}, chunk]})
    assert wrong["loc"] == ["body", "inputs", 1, "content", 1, "type"]


@pytest.mark.requirement("C-132")
def test_a_reference_to_a_tool_is_for_outputs_only(raw: Raw, model: Script) -> None:
    chunk = {"type": "tool_reference", "tool": "web_search", "title": "Sums"}
    assert refused_at(raw, model, {"role": "user", "content": [chunk]})["loc"] == [
        "body", "inputs", 1, "content", 0, "type",
    ]  # fmt: skip


@pytest.mark.requirement("C-132")
@pytest.mark.parametrize("inner", [{"type": "image_url", "image_url": "x"}, {"type": "unknown"}, "text", 1])
def test_thoughts_hold_text_and_references_only(raw: Raw, model: Script, inner: object) -> None:
    chunk = {"type": "thinking", "thinking": [{"type": "text", "text": "x"}, inner]}
    wrong = refused_at(raw, model, {"type": "message.output", "content": [chunk]})
    assert wrong["loc"][:7] == ["body", "inputs", 1, "content", 0, "thinking", 1]


@pytest.mark.requirement("C-132")
@pytest.mark.parametrize("chunk", [{}, {"surprise": 1}, "text", None, 1, []])
def test_what_looks_like_no_chunk_is_refused(raw: Raw, model: Script, chunk: object) -> None:
    wrong = refused_at(raw, model, {"role": "user", "content": [chunk]})
    assert wrong["loc"][:5] == ["body", "inputs", 1, "content", 0]


@pytest.mark.requirement("C-132")
@pytest.mark.parametrize(
    "chunk",
    [{"text": "x"}, {"image_url": "x"}, {"thinking": []}, {"tool": "t", "file_id": "f"}, {"document_url": "x"},
     {"tool": "web_search", "title": "Sums"}],
    ids=lambda chunk: next(iter(chunk)),
)  # fmt: skip
def test_an_unknown_member_of_a_chunk_is_refused(raw: Raw, model: Script, chunk: dict[str, Any]) -> None:
    wrong = refused_at(raw, model, {"type": "message.output", "content": [chunk | {"surprise": 1}]})
    assert (wrong["type"], wrong["loc"]) == ("extra_forbidden", ["body", "inputs", 1, "content", 0, "surprise"])


@pytest.mark.requirement("C-132")
@pytest.mark.parametrize(
    "chunk", [{"type": "document_url", "document_url": "https://example.org/a.pdf"},
              {"type": "tool_file", "tool": "code_interpreter", "file_id": "f"}],
    ids=["document_url", "tool_file"],
)  # fmt: skip
def test_a_chunk_that_is_not_read_yet_is_refused_by_name(raw: Raw, model: Script, chunk: dict[str, Any]) -> None:
    wrong = refused_at(raw, model, {"role": "user", "content": [chunk]})
    assert wrong["loc"][:5] == ["body", "inputs", 1, "content", 0]
    assert chunk["type"] in wrong["msg"]
