"""What model servers answer, in every dialect that is tolerated, and the deltas that come of it."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from causerie.errors import APIError, UpstreamError
from causerie.upstreams.base import CallDelta, Delta, FinishDelta, ReasoningDelta, TextDelta, UsageDelta
from causerie.upstreams.chat_answer import PlainAnswer, StreamedAnswer
from causerie.upstreams.openai_chat import OpenAIChat
from causerie.upstreams.trouble import Trouble

TROUBLE = Trouble("u")


def chunk(finish: str | None = None, /, **delta: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()


def events(*chunks: bytes, done: bool = True) -> bytes:
    return b"".join(b"data: %b\n\n" % data for data in [*chunks, *([b"[DONE]"] if done else [])])


def read(body: bytes, size: int = 1 << 20) -> list[Delta]:
    answer, deltas = StreamedAnswer(TROUBLE), []
    for start in range(0, len(body), size):
        deltas += answer.feed(body[start : start + size])
        if answer.failure:
            raise answer.failure
    if not answer.done:
        deltas += answer.close()
    return deltas


def read_plain(message: dict[str, Any], finish: str | None = "stop", **rest: Any) -> list[Delta]:
    answer = PlainAnswer(TROUBLE)
    body = {"choices": [{"index": 0, "message": message, "finish_reason": finish}], **rest}
    assert answer.feed(json.dumps(body).encode()) == []
    return answer.close()


STOP = FinishDelta("stop")


@pytest.mark.parametrize(
    ("body", "deltas"),
    [
        pytest.param(
            events(chunk(role="assistant", content=""), chunk(content="Hi"), chunk(content=" you"), chunk("stop")),
            [TextDelta("Hi"), TextDelta(" you"), STOP],
            id="openai",
        ),
        pytest.param(
            events(
                chunk(content="Hi"), chunk("stop"), b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
            ),
            [TextDelta("Hi"), UsageDelta(3, 1), STOP],
            id="usage in a last chunk",
        ),
        pytest.param(
            events(
                b'{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
            ),
            [TextDelta("Hi"), UsageDelta(3, 1), STOP],
            id="usage in the finish chunk",
        ),
        pytest.param(
            events(
                b'{"choices":[{"delta":{"content":"a"}}],"usage":{"prompt_tokens":3,"completion_tokens":1}}',
                b'{"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}',
            ),
            [TextDelta("a"), TextDelta("b"), UsageDelta(3, 2), STOP],
            id="usage so far in every chunk",
        ),
        pytest.param(
            events(chunk(content="Hi"), chunk("stop", content=None), done=False),
            [TextDelta("Hi"), STOP],
            id="end of body in place of the sentinel",
        ),
        pytest.param(
            events(chunk(content="Hi"), chunk("length"))[:-2],
            [TextDelta("Hi"), FinishDelta("length")],
            id="no blank line after the sentinel",
        ),
        pytest.param(events(chunk(content="Hi")), [TextDelta("Hi"), STOP], id="sentinel without a finish reason"),
        pytest.param(
            events(chunk("", content="Hi"), chunk("stop")), [TextDelta("Hi"), STOP], id="empty finish reasons"
        ),
        pytest.param(
            b": hello\r\n\r\n" + events(chunk(content="Hi"), chunk("stop")).replace(b"\n", b"\r\n") + b": bye\r\n\r\n",
            [TextDelta("Hi"), STOP],
            id="CRLF and comments",
        ),
        pytest.param(
            events(
                b'{"choices":[],"prompt_filter_results":[]}',
                b'{"type":"ping"}',
                b" ",
                chunk(content="Hi"),
                chunk("stop"),
            ),
            [TextDelta("Hi"), STOP],
            id="chunks that say nothing",
        ),
        pytest.param(
            events(chunk(reasoning_content="hm"), chunk(content="Hi"), chunk("stop")),
            [ReasoningDelta("hm"), TextDelta("Hi"), STOP],
            id="reasoning_content",
        ),
        pytest.param(
            events(chunk(reasoning="hm"), chunk(content="Hi"), chunk("stop")),
            [ReasoningDelta("hm", "reasoning"), TextDelta("Hi"), STOP],
            id="reasoning",
        ),
        pytest.param(
            events(chunk(reasoning_content="hm", reasoning="hm"), chunk("stop", content="Hi", reasoning=None)),
            [ReasoningDelta("hm"), TextDelta("Hi"), STOP],
            id="reasoning in both fields",
        ),
        pytest.param(
            events(
                chunk(
                    content=[
                        {"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]}
                    ]
                ),
                chunk(content=[{"type": "thinking", "thinking": [], "signature": "sig"}]),
                chunk(content=[{"type": "text", "text": "Hi"}, {"type": "reference", "reference_ids": [1]}]),
                chunk("stop", content=""),
            ),
            [ReasoningDelta("hm", "content"), ReasoningDelta("", "content", "sig"), TextDelta("Hi"), STOP],
            id="content as a list of chunks",
        ),
        pytest.param(events(chunk(refusal="No."), chunk("stop")), [TextDelta("No."), STOP], id="refusal"),
        pytest.param(
            events(chunk("model_length", content="a")), [TextDelta("a"), FinishDelta("length")], id="legacy length"
        ),
        pytest.param(events(chunk("eos", content="a")), [TextDelta("a"), STOP], id="legacy stop"),
        pytest.param(
            events(chunk("content_filter", content="a")), [TextDelta("a"), FinishDelta("content_filter")], id="filtered"
        ),
    ],
)
def test_a_stream_becomes_these_deltas_however_it_is_cut(body: bytes, deltas: list[Delta]) -> None:
    assert read(body) == deltas
    assert read(body, 7) == deltas
    assert read(body, 1) == deltas


@pytest.mark.parametrize(
    ("message", "deltas"),
    [
        ({"role": "assistant", "content": "Hi"}, [TextDelta("Hi")]),
        ({"content": None, "reasoning_content": "hm"}, [ReasoningDelta("hm")]),
        ({"content": "Hi", "reasoning": "hm"}, [ReasoningDelta("hm", "reasoning"), TextDelta("Hi")]),
        (
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "Hi"},
                ]
            },
            [ReasoningDelta("hm", "content"), TextDelta("Hi")],
        ),
        ({"content": ""}, []),
    ],
)
def test_a_plain_answer_becomes_the_same_deltas(message: dict[str, Any], deltas: list[Delta]) -> None:
    assert read_plain(message) == [*deltas, STOP]
    assert read_plain(message, None) == [*deltas, STOP]
    usage = {"prompt_tokens": 4, "completion_tokens": None, "total_tokens": 4}
    assert read_plain(message, usage=usage) == [*deltas, UsageDelta(4, 0), STOP]


def half(text: str) -> bytes:
    return b'{"choices":[{"delta":{"content":"' + text.encode() + b'"}}]}'


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([half(r"\ud83d"), half(r"\ude00!")], "😀!"),
        ([half(r"a\ud83d"), chunk(reasoning_content="hm"), half(r"\ude00")], "a😀"),
        ([half(r"\ud83d\ude00\ud83d"), half(r"\ude00")], "😀😀"),
        ([half(r"\ud83d"), half("b")], "\ufffdb"),
        ([half(r"\ude00"), half("b")], "\ufffdb"),
        ([half("a"), half(r"\ud83d")], "a\ufffd"),
        ([b'{"choices":[{"delta":{"content":"\xff"}}]}'], "\ufffd"),
    ],
)
def test_halves_of_a_character_are_joined_or_replaced(chunks: list[bytes], text: str) -> None:
    deltas = read(events(*chunks, chunk("stop")))
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == text
    assert all(delta.text.encode() for delta in deltas if isinstance(delta, TextDelta))


def test_halves_in_reasoning_and_in_arguments_are_joined_too() -> None:
    thinking = [b'{"choices":[{"delta":{"reasoning":"\\ud83d"}}]}', b'{"choices":[{"delta":{"reasoning":"\\ude00"}}]}']
    assert read(events(*thinking, chunk("stop"))) == [ReasoningDelta("😀", "reasoning"), STOP]
    first = chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{X"}}])
    second = chunk(tool_calls=[{"index": 0, "function": {"arguments": "X}"}}])
    first, second = first.replace(b"X", rb"\ud83d"), second.replace(b"X", rb"\ude00")
    deltas = read(events(first, second, chunk("tool_calls")))
    assert deltas == [CallDelta(0, "a", "f", "{"), CallDelta(0, arguments="😀}"), FinishDelta("tool_calls")]
    lost = read(events(first, thinking[0], chunk("tool_calls")))
    assert lost[1:-1] == [CallDelta(0, arguments="\ufffd"), ReasoningDelta("\ufffd", "reasoning")]


def test_a_plain_answer_with_half_a_character_is_valid_text() -> None:
    answer = PlainAnswer(TROUBLE)
    answer.feed(rb'{"choices":[{"message":{"content":"a\ud83d"},"finish_reason":"stop"}]}')
    assert answer.close() == [TextDelta("a"), TextDelta("\ufffd"), STOP]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (events(chunk(content="Hi"), done=False), "ended before the answer did"),
        (b"", "ended before the answer did"),
        (events(chunk(content="Hi"), done=False)[:-10], "not JSON"),
        (events(), "without an answer"),
        (events(b"<html>"), "not JSON: <html>"),
        (events(b"[1]"), "Expected `object`, got `array`"),
        (events(b'{"choices":[{"delta":{"content":7}}]}'), "$.choices[0].delta.content"),
        (events(b"[" * 100_000), "not JSON"),
        (events(chunk("error", content="")), "finish_reason 'error'"),
        (events(chunk("abort")), "finish_reason 'abort'"),
    ],
)
def test_what_is_no_answer_is_a_broken_one(body: bytes, said: str) -> None:
    with pytest.raises(UpstreamError, match="upstream u gave a broken answer") as caught:
        read(body)
    assert said in caught.value.message
    assert caught.value.status_code == 502


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (b'data: {"error":{"message":"boom","type":"server_error","code":null}}\n\n', 502),
        (
            b'data: {"error":{"message":"boom","type":"BadRequestError","param":null,"code":400}}\n\ndata: [DONE]\n\n',
            400,
        ),
        (b'data: {"error":"boom"}\n\n', 502),
        (b'data: {"object":"error","message":"boom","type":"rate_limited","code":"1300"}\n\n', 429),
        (b'data: {"detail":"boom"}\n\n', 502),
        (b'event: error\ndata: {"message":"boom","code":503}\n\n', 503),
        (b"event: error\ndata: boom\n\n", 502),
        (rb'data: {"error":{"message":"boom \ud83d"}}' + b"\n\n", 502),
    ],
)
def test_an_error_in_the_midst_of_a_stream_is_that_error(error: bytes, status: int) -> None:
    answer = StreamedAnswer(TROUBLE)
    assert answer.feed(events(chunk(content="Hi"), done=False) + error) == [TextDelta("Hi")]
    assert isinstance(answer.failure, APIError)
    assert answer.failure.status_code == status
    assert "upstream u " in answer.failure.message
    assert "boom" in answer.failure.message
    assert answer.failure.message.encode()
    with pytest.raises(APIError):
        read(error)


class TestOverTheWire:
    """The same through a socket: by content type, compressed, in one batch to each read."""

    @staticmethod
    def answered(run: Any, serving: Any, steps: list[Any], request: Any, collect: Any) -> list[list[Delta]]:
        async def scenario() -> list[list[Delta]]:
            async with serving(steps) as server:
                upstream = OpenAIChat(server.url, name="u")
                try:
                    batches: list[list[Delta]] = await collect(upstream, request)
                finally:
                    await upstream.close()
                return batches

        answered: list[list[Delta]] = run(scenario())
        return answered

    def test_one_read_is_one_batch(self, run: Any, serving: Any, wire: Any, ask: Any, collect: Any) -> None:
        many = wire.data(*(wire.delta(content=str(n)) for n in range(50)), done=False)
        end = wire.data(wire.delta("stop"))
        batches = self.answered(run, serving, wire.stream(many, end), ask(), collect)
        assert [delta for batch in batches for delta in batch] == [*(TextDelta(str(n)) for n in range(50)), STOP]
        assert len(batches) <= 3

    def test_json_is_taken_where_a_stream_was_asked_for(
        self, run: Any, serving: Any, wire: Any, ask: Any, collect: Any
    ) -> None:
        steps = wire.plain(wire.message(content="Hi"), kind="application/json; charset=utf-8")
        assert self.answered(run, serving, steps, ask(stream=True), collect) == [[TextDelta("Hi"), STOP]]

    def test_a_stream_is_taken_where_json_was_asked_for(
        self, run: Any, serving: Any, wire: Any, ask: Any, collect: Any
    ) -> None:
        steps = wire.stream(wire.data(wire.delta(content="Hi"), wire.delta("stop")))
        batches = self.answered(run, serving, steps, ask(stream=False), collect)
        assert [delta for batch in batches for delta in batch] == [TextDelta("Hi"), STOP]

    def test_compressed_answers_are_read(self, run: Any, serving: Any, wire: Any, ask: Any, collect: Any) -> None:
        body = gzip.compress(json.dumps(wire.message(content="Hi")).encode())
        steps = wire.plain(body, Content_Encoding="gzip")
        assert self.answered(run, serving, steps, ask(stream=False), collect) == [[TextDelta("Hi"), STOP]]

    def test_another_kind_of_answer_is_refused(self, run: Any, serving: Any, wire: Any, ask: Any, collect: Any) -> None:
        with pytest.raises(UpstreamError, match="it is text/html, neither JSON nor an event stream"):
            self.answered(run, serving, wire.plain(b"<html>", kind="text/html"), ask(), collect)

    def test_an_error_object_with_status_200_is_an_error(
        self, run: Any, serving: Any, wire: Any, ask: Any, collect: Any
    ) -> None:
        with pytest.raises(UpstreamError, match="boom"):
            self.answered(run, serving, wire.plain({"error": {"message": "boom"}}), ask(stream=False), collect)
        with pytest.raises(UpstreamError, match="no message"):
            self.answered(run, serving, wire.plain({"choices": []}), ask(stream=False), collect)

    def test_what_came_before_an_error_is_passed_on(self, run: Any, serving: Any, wire: Any, ask: Any) -> None:
        async def scenario() -> None:
            body = wire.data(wire.delta(content="Hi"), {"error": {"message": "boom"}}, done=False)
            async with serving(wire.stream(body, wire.HANG)) as server:
                upstream = OpenAIChat(server.url)
                stream = upstream.stream(ask())
                assert await anext(stream) == [TextDelta("Hi")]
                with pytest.raises(UpstreamError, match="boom"):
                    await anext(stream)
                await server.gone.wait()
                await upstream.close()

        run(scenario())
