"""Conversations by agent: which version runs, what it runs with, what is shown of it (PROTOCOL §2, §7.1, §10.3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.raw import Raw
from tests.support.samples import GET_RATE, GET_TIME, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.staff import Staff

NOBODY = "ag_019fce791e4b7c0d8f6b2a5c3d4e5f60"


@pytest.fixture
def staff(raw: Raw, model: Script) -> Staff:
    """Agents of the shared server."""
    return Staff(raw, model)


@pytest.fixture
def versioned(staff: Staff) -> str:
    """An agent of three versions, 0 to 2, the last current; 0 is also called "stable"."""
    agent = staff.hire("rates", instructions="Version 0.")
    staff.change(agent, instructions="Version 1.")
    staff.change(agent, instructions="Version 2.")
    staff.name_version(agent, "stable", 0)
    return agent


def system(model: Script, request: int = -1) -> str:
    """Return the instructions that the model was given."""
    first = model.requests[request].messages[0]
    assert first["role"] == "system"
    text: str = first["content"]
    return text


@pytest.mark.requirement("C-023", "C-092")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_named_agent_makes_an_agent_conversation(sdk: SDK, staff: Staff, model: Script, streamed: bool) -> None:
    agent = staff.hire("rates", tools=[GET_RATE])
    start = {"agent_id": agent, "inputs": "Hello", "name": "n", "description": "d", "metadata": {"a": 1}}
    made = (sdk.start_stream(**start)[0] if streamed else sdk.start(**start)).conversation_id

    entity = as_json(sdk.get(made))
    assert entity | {"id": "", "created_at": "", "updated_at": ""} == {
        "object": "conversation", "id": "", "created_at": "", "updated_at": "", "agent_id": agent,
        "agent_version": None, "name": "n", "description": "d", "metadata": {"a": 1},
    }  # fmt: skip
    assert "model" not in entity
    assert entity in as_json(sdk.list(page_size=1000))
    assert system(model) == "You are rates."
    assert [tool["function"]["name"] for tool in model.last.tools] == ["get_rate"]


@pytest.mark.requirement("C-108")
@pytest.mark.parametrize("streamed", [False, True])
def test_outputs_name_their_agent_and_its_model(sdk: SDK, staff: Staff, model: Script, streamed: bool) -> None:
    agent = staff.hire("rates", tools=[GET_RATE])
    model.call("get_rate", {})
    outputs: list[Any] = []
    if streamed:
        started, *events, _ = sdk.start_stream(agent_id=agent, inputs="Which rate?")
        made = started.conversation_id
        outputs += events
        outputs += sdk.append_stream(conversation_id=made, inputs=[result("callAAAA1", "2.5%")])[1:-1]
    else:
        first = sdk.start(agent_id=agent, inputs="Which rate?")
        made = first.conversation_id
        outputs += first.outputs
        outputs += sdk.append(conversation_id=made, inputs=[result("callAAAA1", "2.5%")]).outputs
    outputs += [entry for entry in sdk.get_history(made).entries if entry.type in ("function.call", "message.output")]

    assert {(one.agent_id, one.model) for one in outputs} == {(agent, model.name)}
    by_model = sdk.start(inputs="Hello")
    assert "agent_id" not in as_json(by_model.outputs[0])


@pytest.mark.requirement("C-024")
def test_a_model_and_an_agent_together_are_refused(sdk: SDK, staff: Staff, model: Script) -> None:
    with sdk.refuses(422) as refusal:
        sdk.start(agent_id=staff.hire("rates"), model=model.name, inputs="Hello")
    assert refusal.loc == ["body", "agent_id"]
    assert model.requests == []


@pytest.mark.requirement("C-024")
@pytest.mark.parametrize(("field", "value"), [("instructions", "Be brief."), ("tools", [GET_RATE]), ("tools", [])])
def test_what_an_agent_brings_is_not_given_beside_it(
    sdk: SDK, staff: Staff, model: Script, field: str, value: Any
) -> None:
    with sdk.refuses(422) as refusal:
        sdk.start(agent_id=staff.hire("rates"), inputs="Hello", **{field: value})
    assert refusal.loc == ["body", field]
    assert model.requests == []


@pytest.mark.requirement("C-027")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("agent", [NOBODY, "ag:1a2b3c4d:20250101:rates:5e6f7a8b", "", "é" * 100])
def test_an_agent_that_does_not_exist_is_not_found(raw: Raw, model: Script, agent: str, streamed: bool) -> None:
    before = len(raw.get("/v1/conversations?page_size=1000").json)
    answer = raw.post("/v1/conversations", {"agent_id": agent, "inputs": "Hello", "stream": streamed})

    assert (answer.status, answer.json["code"]) == (404, 3404)
    assert agent in answer.json["message"]
    assert len(raw.get("/v1/conversations?page_size=1000").json) == before
    assert model.requests == []


@pytest.mark.requirement("C-028", "C-029")
@pytest.mark.parametrize(
    ("version", "instructions"),
    [(0, "Version 0."), (1, "Version 1."), ("1", "Version 1."), ("stable", "Version 0."), (None, "Version 2.")],
)
def test_the_version_that_was_named_runs(
    sdk: SDK, versioned: str, model: Script, version: int | str | None, instructions: str
) -> None:
    made = sdk.start(agent_id=versioned, agent_version=version, inputs="Hello").conversation_id
    sdk.append(conversation_id=made, inputs="More")

    assert [system(model, request) for request in (0, 1)] == [instructions] * 2
    assert as_json(sdk.get(made))["agent_version"] == version


@pytest.mark.requirement("C-030")
@pytest.mark.parametrize("version", [3, -1, "3", "unstable", "", 10**30])
def test_a_version_that_does_not_exist_is_not_found(raw: Raw, versioned: str, model: Script, version: object) -> None:
    start = {"agent_id": versioned, "agent_version": version, "inputs": "Hello"}
    answer = raw.post("/v1/conversations", start)
    assert (answer.status, answer.json["code"]) == (404, 3404), answer.body
    assert versioned in answer.json["message"]
    assert model.requests == []


@pytest.mark.requirement("C-028", "C-029")
@pytest.mark.parametrize(
    ("version", "then"),
    [(None, ["Version 3.", "Version 0."]), (2, ["Version 2."] * 2), ("stable", ["Version 0.", "Version 1."])],
    ids=["null floats", "a number stays", "an alias is looked up"],
)
def test_each_run_asks_for_its_version_anew(
    sdk: SDK, raw: Raw, staff: Staff, versioned: str, model: Script, version: int | str | None, then: list[str]
) -> None:
    made = sdk.start(agent_id=versioned, agent_version=version, inputs="One").conversation_id
    staff.change(versioned, instructions="Version 3.")
    sdk.append(conversation_id=made, inputs="Two")
    staff.name_version(versioned, "stable", 1)
    assert raw.request("PATCH", f"/v1/agents/{versioned}/version?version=0").status == 200
    sdk.append(conversation_id=made, inputs="Three")

    assert [system(model, request) for request in (1, 2)] == then


@pytest.mark.requirement("C-077")
@pytest.mark.parametrize(
    ("given", "instructions", "shown"),
    [
        ({}, "Version 1.", 1), ({"agent_version": 0}, "Version 0.", 0), ({"agent_version": "2"}, "Version 2.", "2"),
        ({"agent_version": "stable"}, "Version 0.", "stable"), ({"agent_version": None}, "Version 2.", None),
    ],
    ids=["inherited", "number", "text", "alias", "null"],
)  # fmt: skip
@pytest.mark.parametrize("streamed", [False, True])
def test_a_restart_can_choose_another_version(
    sdk: SDK, versioned: str, model: Script, given: dict[str, Any], instructions: str, shown: object, streamed: bool
) -> None:
    first = sdk.start(agent_id=versioned, agent_version=1, inputs="One", name="n")
    cut = {"conversation_id": first.conversation_id, "from_entry_id": first.outputs[0].id, "inputs": "Two"}
    if streamed:
        branch = sdk.restart_stream(**cut, **given)[0].conversation_id
    else:
        branch = sdk.restart(**cut, **given).conversation_id

    assert system(model) == instructions
    entity = as_json(sdk.get(branch))
    assert (entity["agent_id"], entity["agent_version"], entity["name"]) == (versioned, shown, "n")
    assert as_json(sdk.get(first.conversation_id))["agent_version"] == 1
    sdk.append(conversation_id=branch, inputs="Three")
    assert system(model) == instructions, "the version is the branch's, not the run's"


@pytest.mark.requirement("C-077")
@pytest.mark.parametrize("version", [3, "unstable"])
def test_a_restart_with_a_version_that_does_not_exist_makes_nothing(
    sdk: SDK, versioned: str, model: Script, version: Any
) -> None:
    first = sdk.start(agent_id=versioned, inputs="One")
    before = len(sdk.list(page_size=1000))
    with sdk.refuses(404) as refusal:
        sdk.restart(
            conversation_id=first.conversation_id, from_entry_id=first.outputs[0].id, inputs="Two",
            agent_version=version,
        )  # fmt: skip
    assert versioned in refusal.message
    assert len(sdk.list(page_size=1000)) == before
    assert len(model.requests) == 1


@pytest.mark.requirement("C-023")
def test_the_requests_args_outweigh_the_conversations_and_those_the_agents(
    sdk: SDK, staff: Staff, model: Script
) -> None:
    agent = staff.hire("rates", completion_args={"temperature": 0.1, "top_p": 0.1, "max_tokens": 1, "stop": ["."]})
    made = sdk.start(agent_id=agent, inputs="One", completion_args={"top_p": 0.2, "max_tokens": 2}).conversation_id
    sdk.append(conversation_id=made, inputs="Two", completion_args={"max_tokens": 3, "stop": None})
    sdk.append(conversation_id=made, inputs="Three")

    told = [
        {name: request.json.get(name) for name in ("temperature", "top_p", "max_tokens", "stop")}
        for request in model.requests
    ]
    of_start = {"temperature": 0.1, "top_p": 0.2, "max_tokens": 2, "stop": ["."]}
    assert told == [of_start, of_start | {"max_tokens": 3, "stop": None}, of_start]


def test_an_agent_that_needs_a_call_gets_one_and_then_an_answer(sdk: SDK, staff: Staff, model: Script) -> None:
    agent = staff.hire("rates", tools=[GET_RATE, GET_TIME], completion_args={"tool_choice": "any"})
    model.call("get_rate", {})
    made = sdk.start(agent_id=agent, inputs="Which rate?").conversation_id
    assert model.last.json["tool_choice"] == "required"
    sdk.append(conversation_id=made, inputs=[result("callAAAA1", "2.5%")], completion_args={"tool_choice": "none"})
    assert model.last.json["tool_choice"] == "none"


@pytest.mark.requirement("C-023")
def test_the_agents_model_is_the_one_that_is_asked(
    sdk: SDK, staff: Staff, model: Script, model_server: ScriptedServer
) -> None:
    other = model_server.script()
    agent = staff.hire("rates")
    made = sdk.start(agent_id=agent, inputs="One").conversation_id
    staff.change(agent, model=other.name)
    response = sdk.append(conversation_id=made, inputs="Two")

    assert (len(model.requests), len(other.requests)) == (1, 1)
    assert response.outputs[0].model == other.name
    assert [message["role"] for message in other.last.messages] == ["system", "user", "assistant", "user"]


@pytest.mark.requirement("C-027")
def test_a_conversation_outlives_its_agent_but_does_not_run_without_it(
    sdk: SDK, raw: Raw, staff: Staff, model: Script
) -> None:
    """O24: what was said can be read, and any further run is refused by the agent's name."""
    agent = staff.hire("rates")
    first = sdk.start(agent_id=agent, inputs="One")
    made = first.conversation_id
    before = as_json(sdk.get_history(made))
    staff.dismiss(agent)

    for stream in (False, True):
        with sdk.refuses(404) as refusal:
            if stream:
                sdk.append_stream(conversation_id=made, inputs="Two")
            else:
                sdk.append(conversation_id=made, inputs="Two")
        assert agent in refusal.message
    with sdk.refuses(404) as refusal:
        sdk.restart(conversation_id=made, from_entry_id=first.outputs[0].id, inputs="Two")
    assert agent in refusal.message
    assert as_json(sdk.get_history(made)) == before
    assert as_json(sdk.get(made))["agent_id"] == agent
    assert raw.get(f"/v1/conversations/{made}/messages").status == 200
    assert len(model.requests) == 1
    sdk.delete(made)


def test_a_run_ends_as_the_version_that_it_began_with(sdk: SDK, staff: Staff, model: Script, meanwhile: Any) -> None:
    """What is changed or deleted while a run is under way does not reach it."""
    last = staff.hire("last", instructions="Version 0.")
    first = staff.hire("first", handoffs=[last])
    gate = model.gate()
    model.call("handoff_to_last", {}, before=gate)
    running = meanwhile(sdk.start, agent_id=first, inputs="One")
    gate.wait_reached()
    staff.change(last, instructions="Version 1.", name="another")
    staff.dismiss(first)
    gate.open()
    response = running.result(20)

    assert [output.type for output in response.outputs] == ["agent.handoff", "message.output"]
    assert response.outputs[0].next_agent_name == "last"
    assert system(model) == "Version 0."
    sdk.append(conversation_id=response.conversation_id, inputs="Two")
    assert system(model) == "Version 1.", "the next run asks anew"


def test_an_agent_is_run_without_a_trace(sdk: SDK, staff: Staff, model: Script) -> None:
    agent = staff.hire("rates")
    response = sdk.start(agent_id=agent, inputs="One", store=False)
    assert response.outputs[0].agent_id == agent
    with sdk.refuses(404):
        sdk.get(response.conversation_id)
