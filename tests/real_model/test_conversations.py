"""Real conversations: the official SDK, Causerie, and a model server that really runs a model.

Nothing of the model's is scripted. What holds all the same: an answer is the one that the model server gives when it
is asked for all that was said so far, to the letter and to the token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from tests.support.spawned import causerie

from .conftest import MODEL
from .direct import GREEDY, ModelServer, Said

pytestmark = pytest.mark.real_model

SYSTEM = {"role": "system", "content": "Be brief."}
START: dict[str, Any] = {"instructions": SYSTEM["content"], "completion_args": GREEDY}


def client(url: str) -> Mistral:
    return Mistral(api_key="local", server_url=url, timeout_ms=60_000)


@pytest.fixture
def conversations(url: str) -> Iterator[Any]:
    with client(url) as mistral:
        yield mistral.beta.conversations


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def answer(response: Any) -> Said:
    (output,) = response.outputs
    assert (output.type, output.role, output.model) == ("message.output", "assistant", MODEL)
    return counted(output.content, response.usage)


def streamed(stream: Any) -> tuple[str, Said]:
    with stream as events:
        return told([event.data for event in events])


def told(events: list[Any]) -> tuple[str, Said]:
    """Return the conversation and the answer of a stream that is as it should be."""
    first, *deltas, last = events
    assert first.type == "conversation.response.started"
    assert {delta.type for delta in deltas} == {"message.output.delta"}
    assert len(deltas) > 1
    assert len({(delta.id, delta.output_index, delta.content_index) for delta in deltas}) == 1
    assert last.type == "conversation.response.done"
    return first.conversation_id, counted("".join(delta.content for delta in deltas), last.usage)


def counted(text: str, usage: Any) -> Said:
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.prompt_tokens > 0
    assert 0 < usage.completion_tokens <= GREEDY["max_tokens"]
    return Said(text, usage.prompt_tokens, usage.completion_tokens)


def transcript(history: Any) -> list[dict[str, Any]]:
    return [{"role": entry.role, "content": entry.content} for entry in history.entries]


def test_the_answer_is_the_models_own(conversations: Any, model_server: ModelServer) -> None:
    response = conversations.start(inputs="Where does the river go?", **START)
    said = answer(response)
    assert said == model_server.says(SYSTEM, user("Where does the river go?"))
    history = conversations.get_history(conversation_id=response.conversation_id)
    assert transcript(history) == [user("Where does the river go?"), assistant(said.text)]
    assert conversations.get(conversation_id=response.conversation_id).model == MODEL


def test_a_stream_brings_the_same_answer_and_history_keeps_it(conversations: Any, model_server: ModelServer) -> None:
    conversation_id, said = streamed(conversations.start_stream(inputs="Who keeps the stories?", **START))
    assert said == model_server.says(SYSTEM, user("Who keeps the stories?"))
    history = conversations.get_history(conversation_id=conversation_id)
    assert transcript(history) == [user("Who keeps the stories?"), assistant(said.text)]


def test_every_turn_hands_the_model_all_that_was_said(conversations: Any, model_server: ModelServer) -> None:
    first = conversations.start(inputs="One", **START)
    one = answer(first)
    _, two = streamed(conversations.append_stream(conversation_id=first.conversation_id, inputs="Two"))
    three = answer(conversations.append(conversation_id=first.conversation_id, inputs="Three"))

    said = [user("One"), assistant(one.text), user("Two"), assistant(two.text), user("Three")]
    assert [one, two, three] == [model_server.says(SYSTEM, *said[:turns]) for turns in (1, 3, 5)]
    assert one.prompt_tokens < two.prompt_tokens < three.prompt_tokens
    history = conversations.get_history(conversation_id=first.conversation_id)
    assert transcript(history) == [*said, assistant(three.text)]


def test_a_branch_asks_as_its_original_did_and_leaves_it_alone(conversations: Any, model_server: ModelServer) -> None:
    first = conversations.start(inputs="Tell me of the hills.", **START)
    origin = {"conversation_id": first.conversation_id}
    second = answer(conversations.append(inputs="And the rain?", **origin))
    before = conversations.get_history(**origin)
    cut: dict[str, Any] = origin | {"from_entry_id": first.outputs[0].id}

    again = conversations.restart(inputs="And the rain?", **cut)
    assert answer(again) == second
    branch, other = streamed(conversations.restart_stream(inputs="And the ferryman?", **cut))
    kept = [user("Tell me of the hills."), assistant(first.outputs[0].content), user("And the ferryman?")]
    assert other == model_server.says(SYSTEM, *kept)

    assert len({first.conversation_id, again.conversation_id, branch}) == 3
    assert conversations.get_history(**origin) == before
    assert transcript(conversations.get_history(conversation_id=branch)) == [*kept, assistant(other.text)]


def test_calls_and_results_reach_the_model(conversations: Any, model_server: ModelServer) -> None:
    call = {"type": "function.call", "tool_call_id": "abcDEF123", "name": "get_level", "arguments": '{"river": "Po"}'}
    result = {"type": "function.result", "tool_call_id": "abcDEF123", "result": "2 m"}
    response = conversations.start(inputs=[user("How high is it?"), call, result], **START)
    function = {"name": call["name"], "arguments": call["arguments"]}
    asked = {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "type": "function", "function": function}]}
    answered = {"role": "tool", "tool_call_id": "1", "content": "2 m"}
    assert answer(response) == model_server.says(SYSTEM, user("How high is it?"), asked, answered)


def test_what_was_answered_outlives_the_server(settings: list[str], model_server: ModelServer, tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "data")]
    with causerie(*settings, *data, cwd=tmp_path) as (program, url), client(url) as mistral:
        conversation_id, one = streamed(mistral.beta.conversations.start_stream(inputs="One", **START))
        program.kill()

    with causerie(*settings, *data, cwd=tmp_path) as (_, url), client(url) as mistral:
        conversations = mistral.beta.conversations
        kept = [user("One"), assistant(one.text)]
        assert transcript(conversations.get_history(conversation_id=conversation_id)) == kept
        two = answer(conversations.append(conversation_id=conversation_id, inputs="Two"))
    assert two == model_server.says(SYSTEM, *kept, user("Two"))


def test_the_async_client_streams_too(url: str, model_server: ModelServer) -> None:
    async def talk() -> tuple[str, Said]:
        async with client(url) as mistral, asyncio.timeout(60):
            stream = await mistral.beta.conversations.start_stream_async(inputs="Anyone there?", **START)
            async with stream as events:
                return told([event.data async for event in events])

    _, said = asyncio.run(talk())
    assert said == model_server.says(SYSTEM, user("Anyone there?"))


@pytest.mark.parametrize(
    ("wrong", "status"),
    [({"model": "unheard-of"}, 400), ({"completion_args": {"max_tokens": 0}}, 502)],
    ids=["a model it does not have", "a setting that it chokes on"],
)
def test_what_the_model_server_refuses_is_told_and_leaves_nothing(
    conversations: Any, wrong: dict[str, Any], status: int
) -> None:
    before = conversations.list()
    with pytest.raises(SDKError) as refused:
        conversations.start(**{"inputs": "One"} | START | wrong)
    assert refused.value.status_code == status
    assert "The upstream default" in refused.value.body
    assert conversations.list() == before


def test_its_models_are_listed_by_the_names_that_are_configured(url: str) -> None:
    with client(url) as mistral:
        assert [model.id for model in mistral.models.list().data or []] == [MODEL]
