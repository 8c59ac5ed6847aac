"""Scripts for the rehearsal model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from causerie.errors import BadRequest, RateLimited, SettingsError, UpstreamError
from causerie.types.completion import CompletionArgs
from causerie.upstreams.base import CallDelta, FinishDelta, ReasoningDelta, TextDelta, UsageDelta
from causerie.upstreams.rehearsal import Rehearsal
from causerie.upstreams.script import Script


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def called(name: str, output: str | None = None) -> list[dict[str, Any]]:
    call = {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}
    messages: list[dict[str, Any]] = [{"role": "assistant", "content": None, "tool_calls": [call]}]
    return messages if output is None else [*messages, {"role": "tool", "tool_call_id": name, "content": output}]


@pytest.fixture
def text_of(run: Any, ask: Any, collect: Any) -> Any:
    """The text that a script answers to messages."""

    def answering(script: str | Rehearsal, messages: Any, **members: Any) -> str:
        model = Rehearsal(Script.parse(script)) if isinstance(script, str) else script
        batches = run(collect(model, ask(messages, **members)))
        return "".join(delta.text for batch in batches for delta in batch if isinstance(delta, TextDelta))

    return answering


RULES = r"""
[[rules]]
user = "CAPITAL of france"
text = "Paris."

[[rules]]
user_regex = 'add (?P<a>\d+) and (\d+)'
text = "{a}+{2}, says {model} in turn {turn} to '{user}', {{a}} literally"

[[rules]]
user = "weather"
calls = [{name = "get_weather", arguments = {city = "{user}", days = [1, "{turn}"]}}, {name = "raw", arguments = '{"x'}]

[[rules]]
result_of = "get_weather"
text = "It is {result}."

[[rules]]
result_of = "*"
text = "Something else: {result}"

[[rules]]
turn = 3
text = "Third time."

[[rules]]
model = "poet"
text = "Roses."
"""


@pytest.mark.parametrize(
    ("messages", "members", "text"),
    [
        ("What is the capital of France?", {}, "Paris."),
        ("add 1 and 22", {"model": "x"}, "1+22, says x in turn 1 to 'add 1 and 22', {a} literally"),
        ([user("weather"), *called("get_weather", "sunny")], {}, "It is sunny."),
        ([user("weather"), *called("other", "dull")], {}, "Something else: dull"),
        ([user("a"), assistant("b"), user("c"), assistant("d"), user("e")], {}, "Third time."),
        ("Hello", {"model": "poet"}, "Roses."),
        ("Hello", {}, "Rehearsal, a stand-in for a model, after 1 user turn. You said: Hello"),
    ],
)
def test_the_first_rule_that_fits_speaks(text_of: Any, messages: Any, members: Any, text: str) -> None:
    assert text_of(RULES, messages, **members) == text


def test_calls_are_made_as_the_script_says(run: Any, ask: Any, collect: Any) -> None:
    batches = run(collect(Rehearsal(Script.parse(RULES)), ask("weather", stream=False)))
    first, second, _, finish = batches[0]
    assert (first.index, first.name, first.arguments) == (0, "get_weather", '{"city":"weather","days":[1,"1"]}')
    assert (second.index, second.name, second.arguments) == (1, "raw", '{"x')
    assert finish == FinishDelta("tool_calls")


SEQUENCE = """
[[rules]]
user = "again"
sequence = [{text = "one"}, {text = "two"}, {text = "last"}]
"""


def test_a_sequence_goes_on_with_the_conversation_and_back_with_a_branch(text_of: Any) -> None:
    messages: list[dict[str, Any]] = []
    for expected in ("one", "two", "last", "last"):
        messages.append(user("again"))
        assert text_of(SEQUENCE, messages) == expected
        messages += [assistant(expected), user("and something else"), assistant("fine")]
    assert text_of(SEQUENCE, [*messages[:4], user("again")]) == "two"


FULL = """
[[rules]]
reasoning = "Let me see."
text = "Hello there"
calls = [{name = "f", arguments = {}}]
delay = 2
pace = 0.5
usage = {prompt_tokens = 11, completion_tokens = 7}
finish = "odd"
"""


def test_everything_about_an_answer_can_be_said(run: Any, ask: Any, collect: Any) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    batches = run(collect(Rehearsal(Script.parse(FULL), sleep=sleep), ask()))
    assert batches[:6] == [
        [delta]
        for delta in (
            *(ReasoningDelta(word) for word in ("Let", " me", " see", ".")),
            TextDelta("Hello"),
            TextDelta(" there"),
        )
    ]
    assert isinstance(batches[6][0], CallDelta)
    assert batches[-1] == [UsageDelta(11, 7), FinishDelta("odd")]
    assert slept == [2] + [0.5] * (len(batches) - 1)


@pytest.mark.parametrize(
    ("chunk", "texts"),
    [
        ('"word"', [["Hi"], [" you"]]),
        ('"character"', [["H"], ["i"], [" "], ["y"], ["o"], ["u"]]),
        ("4", [["Hi y"], ["ou"]]),
        ('"whole"', [["Hi you"]]),
    ],
)
def test_a_piece_is_what_the_script_says(run: Any, ask: Any, collect: Any, chunk: str, texts: Any) -> None:
    for script in (f'chunk = {chunk}\n[[rules]]\ntext = "Hi you"', f'[[rules]]\ntext = "Hi you"\nchunk = {chunk}'):
        batches = run(collect(Rehearsal(Script.parse(script)), ask()))
        said = [[delta.text for delta in batch if isinstance(delta, TextDelta)] for batch in batches]
        assert [batch for batch in said if batch] == texts


def test_the_pace_of_a_script_holds_for_what_it_does_not_say(run: Any, ask: Any, collect: Any) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    batches = run(collect(Rehearsal(Script.parse("delay = 3\npace = 1"), sleep=sleep), ask()))
    assert slept == [3] + [1] * (len(batches) - 1)


def test_limits_and_prefixes_hold_for_scripted_text_too(text_of: Any) -> None:
    script = '[[rules]]\ntext = "one two three"'
    assert text_of(script, "x", args=CompletionArgs(max_tokens=2)) == "one two"
    assert text_of(script, "x", args=CompletionArgs(stop=" three")) == "one two"
    assert text_of(script, [user("x"), assistant("one")], prefix="one") == "one two three"
    assert text_of(script, [user("x"), assistant("zero ")], prefix="zero ") == "zero one two three"


FAILING = """
[[rules]]
user = "once"
error = {status = 429, message = "not {user}", retry_after = 5, times = 1}
text = "Now it works."

[[rules]]
user = "midway"
error = {status = 500, message = "lost", after = 2}
text = "one two three"

[[rules]]
error = {status = 400}
"""


def test_a_failure_can_pass_so_that_a_retry_succeeds(text_of: Any) -> None:
    model = Rehearsal(Script.parse(FAILING))
    for _ in range(2):
        with pytest.raises(RateLimited, match="not once") as caught:
            text_of(model, "once")
        assert caught.value.headers == {"Retry-After": "5"}
        with pytest.raises(RateLimited):
            text_of(model, [user("another"), user("once")])
        assert text_of(model, "once") == "Now it works."
        assert text_of(model, [user("another"), user("once")]) == "Now it works."


def test_a_failure_can_come_in_the_midst_of_an_answer(run: Any, ask: Any, collect: Any) -> None:
    model = Rehearsal(Script.parse(FAILING))

    async def scenario() -> None:
        stream = model.stream(ask("midway"))
        assert [await anext(stream), await anext(stream)] == [[TextDelta("one")], [TextDelta(" two")]]
        with pytest.raises(UpstreamError, match="lost"):
            await anext(stream)
        with pytest.raises(UpstreamError):
            await collect(model, ask("midway", stream=False))

    run(scenario())


def test_a_failure_without_an_end_stays(text_of: Any) -> None:
    model = Rehearsal(Script.parse(FAILING))
    for _ in range(3):
        with pytest.raises(BadRequest):
            text_of(model, "Hello")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("x = ", "this is no TOML: .*end of document"),
        ("foo = 1", "unknown field `foo`"),
        ('chunk = "x"', "chunk: Invalid enum value 'x'"),
        ("rules = 3", "rules: Expected `array`"),
        ('[[rules]]\ntext = "a"\n\n[[rules]]\ntxt = "a"', r"rule 2 \(line 4\): .*unknown field `txt`"),
        ("[[rules]]\ntext = 3", r"rule 1 \(line 1\): text: Expected `str"),
        ('[[rules]]\ncalls = [{nme = "x"}]', r"rule 1 \(line 1\): calls\[0\]: .*unknown field `nme`"),
        ('rules = [{text = "a"}, {text = 3}]', "rule 2: text: Expected `str"),
        ('[[rules]]\nuser = "a"', "it says nothing"),
        ("[[rules]]\nsequence = []", "sequence: it has to have items"),
        ('[[rules]]\ntext = "a"\nsequence = [{text = "b"}]', "the rule itself must not answer too"),
        ('[[rules]]\nsequence = [{text = "b"}, {delay = 1}]', r"sequence\[1\]: it says nothing"),
        ('[[rules]]\ntext = "{usr}"', r"\{usr\} is not known; write \{\{usr\}\}"),
        ('[[rules]]\ncalls = [{name = "f", arguments = {a = [{b = "{1}"}]}}]', r"\{1\} is not known"),
        ('[[rules]]\nuser_regex = "("\ntext = "a"', "user_regex: this is no regular expression"),
        ("[[rules]]\nerror = {status = 200}", "error.status: Expected `int` >= 400"),
        ("[[rules]]\nerror = {status = 500, times = 1}", "needs an answer for the time after"),
        ('[[rules]]\ntext = "a"\ndelay = -1', "delay: Expected `float` >= 0"),
        ('[[rules]]\ntext = "a"\nturn = 0', "turn: Expected `int` >= 1"),
    ],
)
def test_a_bad_script_is_refused_with_the_place(script: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Script.parse(script)


def test_a_script_is_read_from_a_file(tmp_path: Path, text_of: Any) -> None:
    path = tmp_path / "play.toml"
    path.write_text(RULES, "utf-8")
    assert text_of(Rehearsal(Script.load(path)), "capital of France") == "Paris."
    path.write_text("x = ", "utf-8")
    with pytest.raises(SettingsError, match=r"play\.toml: this is no TOML"):
        Script.load(path)
    path.write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="cannot be read"):
        Script.load(path)
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read"):
        Script.load(tmp_path / "none.toml")
