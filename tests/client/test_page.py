"""The eleven examples of the API's page, with real ids: they run, or end in the error that is documented for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from causerie.client import Mistral, errors
from tests.support.running import serving

TEXT = {"response_format": {"type": "text"}}


@pytest.fixture(scope="module")
def mistral() -> Iterator[Mistral]:
    with serving(model="rehearsal") as url, Mistral(api_key="", server_url=url) as mistral:
        yield mistral


@pytest.fixture
def ids(mistral: Mistral) -> dict[str, str]:
    res = mistral.beta.conversations.start(inputs="<value>", completion_args=TEXT)
    return {"conversation_id": res.conversation_id, "from_entry_id": str(res.outputs[0].id)}


def test_start(mistral: Mistral) -> None:
    res = mistral.beta.conversations.start(inputs="<value>", completion_args=TEXT)
    assert res.outputs[0].type == "message.output"
    assert "<value>" in str(res)


def test_list_and_get(mistral: Mistral, ids: dict[str, str]) -> None:
    res = mistral.beta.conversations.list(page=0, page_size=100)
    assert res[0] == mistral.beta.conversations.get(conversation_id=ids["conversation_id"])


def test_delete(mistral: Mistral, ids: dict[str, str]) -> None:
    mistral.beta.conversations.delete(conversation_id=ids["conversation_id"])
    with pytest.raises(errors.SDKError) as caught:
        mistral.beta.conversations.get(conversation_id=ids["conversation_id"])
    assert caught.value.status_code == 404


def test_histories(mistral: Mistral, ids: dict[str, str]) -> None:
    history = mistral.beta.conversations.get_history(conversation_id=ids["conversation_id"])
    messages = mistral.beta.conversations.get_messages(conversation_id=ids["conversation_id"])
    assert history.entries == messages.messages
    assert [entry.type for entry in history.entries] == ["message.input", "message.output"]


def test_append_and_restart_without_inputs(mistral: Mistral, ids: dict[str, str]) -> None:
    said = {"store": True, "handoff_execution": "server", "completion_args": TEXT}
    conversations = mistral.beta.conversations
    for call in (conversations.append, conversations.append_stream):
        with pytest.raises(errors.HTTPValidationError):
            call(conversation_id=ids["conversation_id"], **said)
    for call in (conversations.restart, conversations.restart_stream):
        with pytest.raises(errors.HTTPValidationError):
            call(**ids, **said)


def test_append_stream(mistral: Mistral, ids: dict[str, str]) -> None:
    res = mistral.beta.conversations.append_stream(
        conversation_id=ids["conversation_id"], inputs="<value>", store=True, handoff_execution="server",
        completion_args=TEXT,
    )  # fmt: skip
    with res as event_stream:
        kinds = [event.event for event in event_stream]
    assert (kinds[0], kinds[-1]) == ("conversation.response.started", "conversation.response.done")


def test_start_stream(mistral: Mistral) -> None:
    result = {"object": "entry", "type": "function.result", "tool_call_id": "<id>", "result": "<value>"}
    with pytest.raises(errors.HTTPValidationError) as caught:
        mistral.beta.conversations.start_stream(inputs=[result], completion_args=TEXT)
    assert caught.value.data.detail[0].loc == ["body", "inputs", 0, "tool_call_id"]
