"""What model servers answer, in every dialect that is tolerated, and the deltas that come of it."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from causerie.errors import APIError, UpstreamError
from causerie.upstreams.base import CallDelta, Delta, FinishDelta, ReasoningDelta, TextDelta, UsageDelta
from causerie.upstreams.chat_answer import PlainAnswer, StreamedAnswer
from causerie.upstreams.openai_chat import OpenAIChat
from causerie.upstreams.opening import Opening
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


def call(index: int | None = None, id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    piece = {"index": index, "id": id, "type": "function", "function": function}
    return {key: value for key, value in piece.items() if value is not None}


STOP = FinishDelta("stop")
CALLED = FinishDelta("tool_calls")


@pytest.mark.parametrize(
    ("body", "deltas"),
    [
        pytest.param(
            events(chunk(role="assistant", content=""), chunk(content="Hi"), chunk(content=" you"), chunk("stop")),
            [TextDelta("Hi"), TextDelta(" you"), STOP],
            id="openai",
        ),
        pytest.param(
            events(chunk(content="Hi"), chunk("stop"), b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}'),
            [TextDelta("Hi"), UsageDelta(3, 1), STOP],
            id="usage in a last chunk",
        ),
        pytest.param(
            events(b'{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}'),
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
            events(b'{"choices":[],"prompt_filter_results":[]}', b'{"type":"ping"}', b" ", chunk(content="Hi"), chunk("stop")),
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
                chunk(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "h"}, {"type": "text", "text": "m"}]}]),
                chunk(content=[{"type": "thinking", "thinking": [], "signature": "sig"}]),
                chunk(content=[{"type": "text", "text": "Hi"}, {"type": "reference", "reference_ids": [1]}]),
                chunk("stop", content=""),
            ),
            [ReasoningDelta("hm", "content"), ReasoningDelta("", "content", "sig"), TextDelta("Hi"), STOP],
            id="content as a list of chunks",
        ),
        pytest.param(events(chunk(refusal="No."), chunk("stop")), [TextDelta("No."), STOP], id="refusal"),
        pytest.param(events(chunk("model_length", content="a")), [TextDelta("a"), FinishDelta("length")], id="legacy length"),
        pytest.param(events(chunk("eos", content="a")), [TextDelta("a"), STOP], id="legacy stop"),
        pytest.param(
            events(chunk("content_filter", content="a")), [TextDelta("a"), FinishDelta("content_filter")], id="filtered"
        ),
    ],
)  # fmt: skip
def test_a_stream_becomes_these_deltas_however_it_is_cut(body: bytes, deltas: list[Delta]) -> None:
    assert read(body) == deltas
    assert read(body, 7) == deltas
    assert read(body, 1) == deltas


F, G = "f", "g"


@pytest.mark.parametrize(
    ("pieces", "deltas"),
    [
        pytest.param(
            [[call(0, "a", F, "")], [call(0, arguments='{"x"')], [call(0, arguments=":1}")], [call(1, "b", G, "{}")]],
            [CallDelta(0, "a", "f"), CallDelta(0, arguments='{"x"'), CallDelta(0, arguments=":1}"), CallDelta(1, "b", "g", "{}")],
            id="openai",
        ),
        pytest.param(
            [[call(None, "a", F, "{}"), call(None, "b", G, "{}")]],
            [CallDelta(0, "a", "f", "{}"), CallDelta(1, "b", "g", "{}")],
            id="whole calls in one delta, without an index",
        ),
        pytest.param(
            [[call(0, "a", F, "{}")], [call(0, "b", F, "{}")], [call(0, "c", F, '{"x":')], [call(0, arguments="1}")]],
            [CallDelta(0, "a", "f", "{}"), CallDelta(1, "b", "f", "{}"), CallDelta(2, "c", "f", '{"x":'), CallDelta(2, arguments="1}")],
            id="every call has the index 0",
        ),
        pytest.param(
            [[call(0, None, F, "{}")], [call(0, None, F, '{"x":1}')]],
            [CallDelta(0, None, "f", "{}"), CallDelta(1, None, "f", '{"x":1}')],
            id="every call has the index 0, and no id",
        ),
        pytest.param(
            [[call(None, None, F, '{"x":')], [call(None, None, None, "1}")], [call(None, None, F, "{}")]],
            [CallDelta(0, None, "f", '{"x":'), CallDelta(0, arguments="1}"), CallDelta(1, None, "f", "{}")],
            id="no index and no id",
        ),
        pytest.param(
            [[call(0, "a", F, '{"x":')], [call(0, "a", F, "1}")]],
            [CallDelta(0, "a", "f", '{"x":'), CallDelta(0, arguments="1}")],
            id="id and name on every piece",
        ),
        pytest.param(
            [[call(None, "a", F, '{"x":')], [call(None, "b", G, "{")], [call(None, "a", None, "1}")], [call(None, "b", None, "}")]],
            [CallDelta(0, "a", "f", '{"x":'), CallDelta(1, "b", "g", "{"), CallDelta(0, arguments="1}"), CallDelta(1, arguments="}")],
            id="interleaved by id",
        ),
        pytest.param(
            [[call(0, "a", F, {"x": 1, "y": [1.5, None]})], [call(1, "b", G, {})]],
            [CallDelta(0, "a", "f", '{"x":1,"y":[1.5,null]}'), CallDelta(1, "b", "g", "{}")],
            id="arguments as an object",
        ),
        pytest.param(
            [[call(0, "a", "get_", "")], [call(0, None, "weather", "{}")]],
            [CallDelta(0, "a", "get_"), CallDelta(0, None, "weather", "{}")],
            id="a name in pieces",
        ),
    ],
)  # fmt: skip
def test_pieces_of_calls_find_their_call(pieces: list[Any], deltas: list[Delta]) -> None:
    assert read(events(*(chunk(tool_calls=piece) for piece in pieces), chunk("tool_calls"))) == [*deltas, CALLED]


@pytest.mark.parametrize("reason", ["stop", "function_call", "tool_calls"])
def test_an_answer_with_calls_finished_to_call_whatever_the_server_says(reason: str) -> None:
    assert read(events(chunk(tool_calls=[call(0, "a", F, "{}")]), chunk(reason)))[-1] == CALLED
    assert read_plain({"content": None, "tool_calls": [call(None, "a", F, "{}")]}, reason)[-1] == CALLED


def test_a_call_that_was_cut_keeps_its_reason() -> None:
    assert read(events(chunk(tool_calls=[call(0, "a", F, '{"x')]), chunk("length")))[-1] == FinishDelta("length")


@pytest.mark.parametrize(
    ("message", "deltas"),
    [
        ({"role": "assistant", "content": "Hi"}, [TextDelta("Hi")]),
        ({"content": None, "reasoning_content": "hm"}, [ReasoningDelta("hm")]),
        ({"content": "Hi", "reasoning": "hm"}, [ReasoningDelta("hm", "reasoning"), TextDelta("Hi")]),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Hi"}]},
            [ReasoningDelta("hm", "content"), TextDelta("Hi")],
        ),
        ({"content": ""}, []),
    ],
)  # fmt: skip
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
)  # fmt: skip
def test_halves_of_a_character_are_joined_or_replaced(chunks: list[bytes], text: str) -> None:
    deltas = read(events(*chunks, chunk("stop")))
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == text
    assert all(delta.text.encode() for delta in deltas if isinstance(delta, TextDelta))


def test_halves_in_reasoning_and_in_arguments_are_joined_too() -> None:
    thinking = [b'{"choices":[{"delta":{"reasoning":"\\ud83d"}}]}', b'{"choices":[{"delta":{"reasoning":"\\ude00"}}]}']
    assert read(events(*thinking, chunk("stop"))) == [ReasoningDelta("😀", "reasoning"), STOP]
    first = chunk(tool_calls=[call(0, "a", F, "{X")]).replace(b"X", rb"\ud83d")
    second = chunk(tool_calls=[call(0, None, None, "X}")]).replace(b"X", rb"\ude00")
    deltas = read(events(first, second, chunk("tool_calls")))
    assert deltas == [CallDelta(0, "a", "f", "{"), CallDelta(0, arguments="😀}"), CALLED]
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
        (b'data: {"error":{"message":"boom","type":"BadRequestError","param":null,"code":400}}\n\ndata: [DONE]\n\n', 400),
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

    def test_another_kind_of_answer_is_refused(
        self, run: Any, serving: Any, wire: Any, ask: Any, collect: Any
    ) -> None:
        with pytest.raises(UpstreamError, match="it is text/html, neither JSON nor an event stream"):
            self.answered(run, serving, wire.plain(b"<html>", kind="text/html"), ask(), collect)

    def test_an_error_object_with_status_200_is_an_error(
        self, run: Any, serving: Any, wire: Any, ask: Any, collect: Any
    ) -> None:
        with pytest.raises(UpstreamError, match="boom"):
            self.answered(run, serving, wire.plain({"error": {"message": "boom"}}), ask(stream=False), collect)
        with pytest.raises(UpstreamError, match="no message"):
            self.answered(run, serving, wire.plain({"choices": []}), ask(stream=False), collect)

    def test_what_came_before_an_error_is_passed_on(
        self, run: Any, serving: Any, wire: Any, ask: Any
    ) -> None:
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


texts = st.lists(st.text(max_size=4), max_size=6)


def opened(prefix: str, parts: list[str]) -> str:
    opening = Opening(prefix)
    deltas = [delta for part in parts for delta in opening.pass_on([TextDelta(part)])]
    deltas += opening.pass_on([FinishDelta("stop")])
    assert deltas[-1] == STOP
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


@given(st.text(alphabet="ab", min_size=1, max_size=4), st.lists(st.text(alphabet="ab", max_size=3), max_size=5))
def test_the_text_begins_with_the_prefix_once(prefix: str, parts: list[str]) -> None:
    text = "".join(parts)
    assert opened(prefix, parts) == (text if text.startswith(prefix) else prefix + text)


@given(texts, texts)
def test_without_a_prefix_and_after_it_nothing_is_held_back(before: list[str], after: list[str]) -> None:
    opening = Opening(None)
    deltas: list[Delta] = [TextDelta(text) for text in before]
    assert opening.pass_on(deltas) is deltas
    opening = Opening("p")
    opening.pass_on([TextDelta("p")])
    deltas = [TextDelta(text) for text in after]
    assert opening.pass_on(deltas) is deltas


def test_reasoning_passes_while_the_prefix_is_undecided() -> None:
    opening = Opening("Hello")
    assert opening.pass_on([TextDelta("He"), ReasoningDelta("hm")]) == [ReasoningDelta("hm")]
    assert opening.pass_on([CallDelta(0, "a", "f")]) == [TextDelta("HelloHe"), CallDelta(0, "a", "f")]


@given(st.lists(st.tuples(st.integers(0, 3), st.text(alphabet="{}:1\"", max_size=3)), min_size=1, max_size=12))
def test_well_behaved_calls_are_told_apart(pieces: list[tuple[int, str]]) -> None:
    order = list(dict.fromkeys(index for index, _ in pieces))
    begun = [chunk(tool_calls=[call(order.index(index), f"id{index}", F, "")]) for index in order]
    grown = [chunk(tool_calls=[call(order.index(index), arguments=text)]) for index, text in pieces]
    found: Counter[int] = Counter()
    texts: dict[int, str] = dict.fromkeys(range(len(order)), "")
    for delta in read(events(*begun, *grown, chunk("tool_calls"))):
        if isinstance(delta, CallDelta):
            found[delta.index] += delta.name == "f"
            texts[delta.index] += delta.arguments
    assert found == dict.fromkeys(range(len(order)), 1)
    assert texts == {order.index(index): "".join(t for i, t in pieces if i == index) for index in order}
