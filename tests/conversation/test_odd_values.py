"""Values that are odd but right: they are kept exactly as they came, and reach the model so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.samples import user
from tests.support.scripted import Script

ODD = [
    *("\x00", "a\x00b", " ", "\t\r\n", "\x7f\x80\x9f", "\ud7ff\ue000", "\uffff\U0010ffff", "\ufeffx"),
    *("\u202eabc\u2066", "ﷺ", "e\u0301", "\u00e9", "🙂", "👩\u200d👩\u200d👧\u200d👦", "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞"),
    *("'; drop table entries; --", "%00%s{}$", "../..", "\\u0000\\", '"', "null", "</script>", "-0"),
    *("x" * 256, "data: x\n\nevent: y"),
]  # fmt: skip
NUMBERS = [
    *("0", "-0", "1", "9223372036854775807", "9223372036854775808", "18446744073709551616", "-9223372036854775809"),
    *("1" * 100, "-" + "9" * 100, "1" * 4000, "0.1", "1.0", "-0.0", "1e5", "1E-5", "5e-324", "1.7976931348623157e308"),
    *("0.30000000000000004", "1e-400", "123456789012345678901234567890.5"),
]


def same(one: object, other: object) -> bool:
    """Whether two JSON values are equal, numbers in kind and sign too."""
    return repr(one) == repr(other)


@pytest.mark.requirement("C-103", "C-109", "C-112")
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
def test_odd_text_is_kept_wherever_text_may_be(raw: Raw, model: Script, odd: str) -> None:
    model.call(odd, json.dumps({odd: odd}), call_id="callAAAA1")
    inputs = [
        {"id": odd, "role": "user", "content": [{"type": "text", "text": odd}]},
        {"type": "function.call", "id": odd + "1", "tool_call_id": odd, "name": odd, "arguments": {odd: odd}},
        {"type": "function.result", "id": odd + "2", "tool_call_id": odd, "result": odd},
        {"type": "tool.execution", "name": odd, "function": odd, "arguments": odd, "info": {odd: odd}},
        user(odd),
    ]
    function = {"name": odd, "description": odd, "parameters": {odd: odd}}
    start = {
        "inputs": inputs, "model": model.name, "instructions": odd, "name": odd, "description": odd,
        "metadata": {odd: {odd: odd}}, "tools": [{"type": "function", "function": function}],
        "completion_args": {"stop": [odd]},
    }  # fmt: skip
    if len(odd) == 256:  # and no id is longer
        inputs[1]["id"], inputs[2]["id"] = odd[1:], odd[2:]
    answer = raw.post("/v1/conversations", start)
    assert answer.status == 200, answer.body

    path = f"/v1/conversations/{answer.json['conversation_id']}"
    entity, entries = raw.get(path).json, raw.get(f"{path}/history").json["entries"]
    assert [entity[name] for name in ("instructions", "name", "description", "metadata")] == [
        odd, odd, odd, {odd: {odd: odd}},
    ]  # fmt: skip
    assert entity["tools"][0]["function"] == function | {"strict": False}
    for given, kept in zip(inputs, entries, strict=False):
        assert {key: kept[key] for key in given} == given
    sent = model.last.json
    assert (sent["stop"], sent["tools"][0]["function"]) == ([odd], function)
    assert [message.get("content") for message in sent["messages"][:2]] == [odd, odd]
    assert sent["messages"][2]["tool_calls"][0]["function"]["name"] == odd
    assert sent["messages"][3]["content"] == odd
    (called,) = answer.json["outputs"]
    assert (called["name"], json.loads(called["arguments"])) == (odd, {odd: odd})
    branch = {"from_entry_id": inputs[2]["id"], "inputs": "From here."}
    branched = raw.post(f"{path}/restart", branch)
    assert branched.status == 200, branched.body
    kept = raw.get(f"/v1/conversations/{branched.json['conversation_id']}/history").json["entries"]
    assert kept[:3] == entries[:3]


@pytest.mark.requirement("C-109", "C-177")
@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:30])
def test_numbers_are_kept_as_they_are_or_refused(raw: Raw, model: Script, number: str) -> None:
    free = f'{{"a":{number},"b":[{number}]}}'
    inputs = (
        f'{{"tool_call_id":"t","name":"f","arguments":{free}}},{{"tool_call_id":"t","result":"x"}},'
        f'{{"type":"tool.execution","name":"x","arguments":"","info":{free}}},{{"role":"user","content":"x"}}'
    )
    wanted = f'{{"type":"json_schema","json_schema":{{"name":"x","schema":{free}}}}}'
    body = (
        f'{{"model":"{model.name}","metadata":{free},"inputs":[{inputs}],"completion_args":{{"response_format":{wanted}}},'
        f'"tools":[{{"type":"function","function":{{"name":"f","parameters":{free}}}}}]}}'
    )
    model.say("Draft.")
    model.say("{}")
    answer = raw.post("/v1/conversations", body.encode())
    expected = json.loads(free)

    if answer.status != 200:
        assert answer.status == 422, answer.body
        assert answer.json["detail"][0]["loc"][0] == "body"
        assert model.requests == []
        return
    path = f"/v1/conversations/{answer.json['conversation_id']}"
    entity, entries = raw.get(path).json, raw.get(f"{path}/history").json["entries"]
    kept: list[Any] = [entity["metadata"], entries[0]["arguments"], entries[2]["info"]]
    kept += [entity["tools"][0]["function"]["parameters"], model.last.tools[0]["function"]["parameters"]]
    kept.append(entity["completion_args"]["response_format"]["json_schema"]["schema"])
    kept.append(model.last.json["response_format"]["json_schema"]["schema"])
    kept.append(json.loads(model.last.messages[0]["tool_calls"][0]["function"]["arguments"]))
    assert [one for one in kept if not same(one, expected)] == []


@pytest.mark.requirement("C-176", "C-177")
@pytest.mark.parametrize("name", ["max_tokens", "random_seed"])
@pytest.mark.parametrize("digits", [19, 20, 100, 4000])
def test_a_long_count_is_handed_on_or_refused(raw: Raw, model: Script, name: str, digits: int) -> None:
    count = int("9" * digits)
    answer = raw.post("/v1/conversations", {"inputs": "x", "model": model.name, "completion_args": {name: count}})

    if answer.status == 200:
        assert model.last.json["seed" if name == "random_seed" else name] == count
        made = raw.get(f"/v1/conversations/{answer.json['conversation_id']}").json
        assert made["completion_args"][name] == count
    else:
        assert (answer.status, answer.json["detail"][0]["loc"]) == (422, ["body", "completion_args", name])


@pytest.mark.requirement("C-129")
def test_references_may_be_any_number_or_text(raw: Raw, model: Script) -> None:
    ids = [0, -1, 2**64, 10**100, "", "a", "1", "\x00"]
    thought = {"type": "thinking", "thinking": [{"type": "reference", "reference_ids": ids}]}
    spoken = {"type": "message.output", "content": [thought, {"type": "text", "text": "x"}]}
    answer = raw.post("/v1/conversations", {"inputs": [spoken, user("x")], "model": model.name})

    assert answer.status == 200, answer.body
    entries = raw.get(f"/v1/conversations/{answer.json['conversation_id']}/history").json["entries"]
    assert same(entries[0]["content"][0]["thinking"][0]["reference_ids"], ids)
