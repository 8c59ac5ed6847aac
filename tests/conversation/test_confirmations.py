"""Tools that ask first: their calls wait, and are made, or not, once the caller has said so (PROTOCOL §13.6)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from causerie.engine.prompt import DENIED
from causerie.stores import checkup
from causerie.tools.base import ToolContext, ToolDefinition, ToolResult
from causerie.types.tools import Tool
from tests.support.raw import Raw
from tests.support.reading import Reading
from tests.support.replies import PATIENCE
from tests.support.samples import GET_RATE, check_calls, result
from tests.support.scripted import Script, ScriptedServer
from tests.support.sdk import SDK, as_json
from tests.support.searching import searching
from tests.support.spawned import Spawned
from tests.support.stage import serving
from tests.support.toolset import HeldToolset

NAMES = ("read_mail", "send_mail", "drop_mail")


@dataclass
class Mail(HeldToolset):
    """Three tools over a mailbox; "break": a defect, "stuck": hangs. Reading does no harm twice."""

    async def tools(self, tool: Tool) -> list[ToolDefinition]:
        """Offer them."""
        return [ToolDefinition(name=name, repeatable=name == "read_mail") for name in NAMES]

    def made(self, conversation: str) -> list[tuple[str, str]]:
        """Return the names and queries of a conversation's calls."""
        return [
            (name, json.loads(given).get("query"))
            for name, given, where in self.calls
            if where.conversation_id == conversation
        ]

    async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
        """Record the call; say what was done."""
        await super().call(name, arguments, context)
        query = json.loads(arguments).get("query")
        return ToolResult(output=f"{name} {query}", info={"done": query})


class Stage(NamedTuple):
    """A server with a mailbox."""

    url: str
    mail: Mail


@pytest.fixture(scope="module")
def stage(model_server: ScriptedServer) -> Iterator[Stage]:
    """Run it once."""
    mail = Mail()
    with serving(upstream=model_server.url, toolsets={"connector": mail}) as url:
        yield Stage(url, mail)


@pytest.fixture
def sdk(stage: Stage, connect: Callable[[str], SDK]) -> SDK:
    """The client, on that stage."""
    return connect(stage.url)


@pytest.fixture
def raw(stage: Stage) -> Raw:
    """Plain HTTP, on that stage."""
    return Raw(stage.url)


def connector(*asking: str, **more: Any) -> dict[str, Any]:
    """Return the mailbox as a conversation has it."""
    configuration = {"requires_confirmation": list(asking), **more}
    return {"type": "connector", "connector_id": "mail", "tool_configuration": configuration}


MAILBOX = connector("send_mail", "drop_mail")


def mail(query: str, name: str = "send_mail") -> tuple[str, dict[str, str]]:
    """Return a call."""
    return name, {"query": query}


def word(tool_call_id: str, *, allow: bool = True) -> dict[str, str]:
    """Return a confirmation."""
    return {"tool_call_id": tool_call_id, "confirmation": "allow" if allow else "deny"}


def kinds(entries: Any) -> list[str]:
    """Return the kinds of entries, with the status of each call that has one."""
    plain = [one if isinstance(one, dict) else as_json(one) for one in entries]
    return [":".join(filter(None, (one["type"], one.get("confirmation_status")))) for one in plain]


class Talk:
    """A conversation over plain HTTP in which mail was called for."""

    def __init__(self, stage: Stage, model: Script, *calls: tuple[str, Any], tools: Any = (MAILBOX, GET_RATE)) -> None:
        """Start it with a turn that makes these calls."""
        self.raw, self.mail, self.model = Raw(stage.url), stage.mail, model
        model.calls(*calls)
        answer = self.raw.post("/v1/conversations", {"inputs": "Do it.", "model": model.name, "tools": list(tools)})
        assert answer.status == 200, answer.body
        self.id, self.outputs = answer.json["conversation_id"], answer.json["outputs"]
        self.path = f"/v1/conversations/{self.id}"

    def append(self, *words: dict[str, str], **more: Any) -> Any:
        """Say words, and whatever else."""
        return self.raw.post(self.path, {"tool_confirmations": list(words), **more})

    def restart(self, entry: str, **more: Any) -> Any:
        """Branch after an entry."""
        return self.raw.post(f"{self.path}/restart", {"from_entry_id": entry, **more})

    @property
    def history(self) -> list[dict[str, Any]]:
        """All entries."""
        entries: list[dict[str, Any]] = self.raw.get(f"{self.path}/history").json["entries"]
        return entries

    @property
    def made(self) -> list[tuple[str, str]]:
        """The calls that were made."""
        return self.mail.made(self.id)


@pytest.mark.requirement("C-153", "C-160", "C-169")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_call_that_asks_first_waits(sdk: SDK, stage: Stage, model: Script, streamed: bool) -> None:
    model.calls(mail("a"))
    if streamed:
        started, *pieces, done = sdk.start_stream(inputs="Do it.", tools=[MAILBOX])
        made = started.conversation_id
        assert len(pieces) > 1
        assert {(piece.type, piece.confirmation_status) for piece in pieces} == {("function.call.delta", "pending")}
        assert done.type == "conversation.response.done"
    else:
        response = sdk.start(inputs="Do it.", tools=[MAILBOX])
        made = response.conversation_id
        (call,) = response.outputs
        assert (call.type, call.name, call.confirmation_status) == ("function.call", "send_mail", "pending")
        assert as_json(call)["completed_at"] is None

    assert kinds(sdk.get_history(made).entries) == ["message.input", "function.call:pending"]
    assert len(model.requests) == 1
    assert stage.mail.made(made) == []


def test_only_the_calls_that_ask_wait(stage: Stage, model: Script) -> None:
    talk = Talk(stage, model, mail("a", "read_mail"))
    assert kinds(talk.outputs) == ["tool.execution", "message.output"]
    assert talk.outputs[0]["name"] == "mail", "a connector's tools are shown under its name"
    assert talk.made == [("read_mail", "a")]


@pytest.mark.requirement("C-053", "C-161", "C-165", "C-170")
@pytest.mark.parametrize("streamed", [False, True])
def test_an_allowed_call_is_made_and_the_model_goes_on(sdk: SDK, stage: Stage, model: Script, streamed: bool) -> None:
    model.calls(mail("a"))
    model.say("It is sent.")
    made = sdk.start(inputs="Do it.", tools=[MAILBOX]).conversation_id
    given = {"conversation_id": made, "inputs": [], "tool_confirmations": [word("callAAAA1")]}
    if streamed:
        events = [event.type for event in sdk.append_stream(**given)]
        assert events == [
            "conversation.response.started", "tool.execution.started", "tool.execution.delta", "tool.execution.done",
            "message.output.delta", "conversation.response.done",
        ]  # fmt: skip
    else:
        response = sdk.append(**given)
        assert kinds(response.outputs) == ["tool.execution", "message.output"]
        assert response.outputs[1].content == "It is sent."
        assert as_json(response.usage)["connectors"] == {"mail": 1}

    entries = as_json(sdk.get_history(made).entries)
    assert kinds(entries) == ["message.input", "function.call:allowed", "tool.execution", "message.output"]
    assert entries[2]["info"] == {"done": "a"}
    assert [entry.type for entry in sdk.get_messages(made).messages] == ["message.input", "message.output"]
    assert stage.mail.made(made) == [("send_mail", "a")]
    ((_, _, where),) = [call for call in stage.mail.calls if call[2].conversation_id == made]
    assert where.tool_call_id == "callAAAA1"
    assert check_calls(model.last.messages) == ["send_mail a"]
    sdk.append(conversation_id=made, inputs="And?")
    first, second, third = model.requests
    assert second.messages_bytes[:-1].startswith(first.messages_bytes[:-1])
    assert third.messages_bytes[:-1].startswith(second.messages_bytes[:-1])


@pytest.mark.requirement("C-162", "C-165")
@pytest.mark.parametrize("streamed", [False, True])
def test_a_denied_call_is_not_made_and_the_model_is_told(sdk: SDK, stage: Stage, model: Script, streamed: bool) -> None:
    model.calls(mail("a"))
    model.say("Then not.")
    made = sdk.start(inputs="Do it.", tools=[MAILBOX]).conversation_id
    given = {"conversation_id": made, "inputs": [], "tool_confirmations": [word("callAAAA1", allow=False)]}
    if streamed:
        assert [event.type for event in sdk.append_stream(**given)][1:-1] == ["message.output.delta"]
    else:
        assert [output.content for output in sdk.append(**given).outputs] == ["Then not."]

    assert kinds(sdk.get_history(made).entries) == ["message.input", "function.call:denied", "message.output"]
    assert stage.mail.made(made) == []
    assert check_calls(model.last.messages) == [DENIED]
    sdk.append(conversation_id=made, inputs="And?")
    assert model.requests[2].messages_bytes.startswith(model.requests[1].messages_bytes[:-1])
    assert check_calls(model.last.messages) == [DENIED]


@pytest.mark.requirement("C-163")
@pytest.mark.parametrize("streamed", [False, True])
def test_all_calls_are_settled_in_one_run(sdk: SDK, stage: Stage, model: Script, streamed: bool) -> None:
    model.calls(mail("a"), mail("b", "drop_mail"), mail("c"))
    model.say("Done.")
    made = sdk.start(inputs="Do it.", tools=[MAILBOX]).conversation_id
    words = [word("callAAAA3"), word("callAAAA2", allow=False), word("callAAAA1")]
    if streamed:
        sdk.append_stream(conversation_id=made, inputs=[], tool_confirmations=words)
    else:
        response = sdk.append(conversation_id=made, inputs=[], tool_confirmations=words)
        assert kinds(response.outputs) == ["tool.execution", "tool.execution", "message.output"]

    assert len(model.requests) == 2
    assert stage.mail.made(made) == [("send_mail", "a"), ("send_mail", "c")]
    assert kinds(sdk.get_history(made).entries) == [
        "message.input", "function.call:allowed", "function.call:denied", "function.call:allowed", "tool.execution",
        "tool.execution", "message.output",
    ]  # fmt: skip
    assert sorted(check_calls(model.last.messages)) == sorted([DENIED, "send_mail a", "send_mail c"])


@pytest.mark.requirement("C-164")
@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("allow", [True, False], ids=["allow", "deny"])
def test_what_is_not_settled_goes_on_waiting(
    sdk: SDK, stage: Stage, model: Script, allow: bool, streamed: bool
) -> None:
    model.calls(mail("a"), mail("b"))
    model.say("Done.")
    made = sdk.start(inputs="Do it.", tools=[MAILBOX]).conversation_id
    before = as_json(sdk.get_history(made).entries)
    given = {"conversation_id": made, "inputs": [], "tool_confirmations": [word("callAAAA2", allow=allow)]}
    if streamed:
        _, *events, done = sdk.append_stream(**given)
        assert done.type == "conversation.response.done"
        assert [event.output_index for event in events] == sorted(event.output_index for event in events)
        assert (events[-1].id, events[-1].confirmation_status) == (before[1]["id"], "pending")
    else:
        *executed, waiting = as_json(sdk.append(**given).outputs)
        assert [entry["type"] for entry in executed] == ["tool.execution"] * allow
        assert waiting == before[1], "it is the very entry"

    assert len(model.requests) == 1, "the model is not asked while a call waits"
    said = "allowed" if allow else "denied"
    executed = ["tool.execution"] * allow
    entries = sdk.get_history(made).entries
    assert kinds(entries) == ["message.input", "function.call:pending", f"function.call:{said}", *executed]
    with sdk.refuses(422):
        sdk.append(conversation_id=made, inputs=[], tool_confirmations=[word("callAAAA2")])
    response = sdk.append(conversation_id=made, inputs=[], tool_confirmations=[word("callAAAA1")])
    assert kinds(response.outputs) == ["tool.execution", "message.output"]
    assert stage.mail.made(made) == [("send_mail", "b")] * allow + [("send_mail", "a")]
    assert check_calls(model.last.messages) == ["send_mail b" if allow else DENIED, "send_mail a"]
    sdk.append(conversation_id=made, inputs="And?")
    assert model.last.messages_bytes.startswith(model.requests[1].messages_bytes[:-1])


@pytest.mark.requirement("C-166", "C-167")
def test_a_word_on_no_call_that_waits_is_refused_by_its_place(sdk: SDK, stage: Stage, model: Script) -> None:
    model.calls(mail("a"), ("get_rate", {"date": "x"}))
    made = sdk.start(inputs="Do it.", tools=[MAILBOX, GET_RATE]).conversation_id
    for words in (
        [word("callAAAA1"), word("callAAAA9")], [word("callAAAA1"), word("callAAAA1", allow=False)],
        [word("callAAAA1"), word("callAAAA2")],
    ):  # fmt: skip
        with sdk.refuses(422) as refusal:
            sdk.append(conversation_id=made, inputs=[], tool_confirmations=words)
        assert refusal.loc == ["body", "tool_confirmations", 1, "tool_call_id"]
        assert words[1]["tool_call_id"] in refusal.message
    assert stage.mail.made(made) == []
    told = [result("callAAAA2", "2.5%")]
    sdk.append(conversation_id=made, inputs=told, tool_confirmations=[word("callAAAA1")])
    for allow in (True, False):
        with sdk.refuses(422) as refusal:
            sdk.append(conversation_id=made, inputs=[], tool_confirmations=[word("callAAAA1", allow=allow)])
        assert refusal.loc == ["body", "tool_confirmations", 0, "tool_call_id"]
    assert stage.mail.made(made) == [("send_mail", "a")]


@pytest.mark.requirement("C-168")
@pytest.mark.parametrize("streamed", [False, True])
def test_nothing_else_can_be_said_while_a_call_waits(sdk: SDK, model: Script, streamed: bool) -> None:
    model.calls(mail("a"))
    made = sdk.start(inputs="Do it.", tools=[MAILBOX]).conversation_id
    before = as_json(sdk.get_history(made).entries)
    append = sdk.append_stream if streamed else sdk.append
    for inputs in ("Well?", [{"type": "message.input", "role": "assistant", "content": "Well?"}]):
        for words in ({}, {"tool_confirmations": [word("callAAAA1")]}):
            with sdk.refuses(400) as refusal:
                append(conversation_id=made, inputs=inputs, **words)
            assert "tool_confirmations" in refusal.message
            assert "callAAAA1" in refusal.message
    with sdk.refuses(422) as refusal:
        append(conversation_id=made, inputs=[result("callAAAA1", "I sent it.")])
    assert refusal.loc == ["body", "inputs", 0, "tool_call_id"]
    assert "server's" in refusal.message
    with sdk.refuses(422) as refusal:
        append(conversation_id=made, inputs=[])
    assert "Either inputs or tool_confirmations" in refusal.message
    assert as_json(sdk.get_history(made).entries) == before
    assert len(model.requests) == 1


class TestBesideOthers:
    """A turn that calls for a tool that asks, for one that does not, and for a function of the caller's."""

    @pytest.fixture
    def talk(self, stage: Stage, model: Script) -> Talk:
        """Such a conversation."""
        return Talk(stage, model, mail("a", "read_mail"), mail("b"), ("get_rate", {"date": "x"}), mail("c"))

    def test_each_is_what_it_is(self, talk: Talk) -> None:
        assert kinds(talk.outputs) == [
            "tool.execution", "function.call:pending", "function.call", "function.call:pending",
        ]  # fmt: skip
        assert talk.made == [("read_mail", "a")]

    def test_all_can_be_answered_at_once(self, talk: Talk) -> None:
        answer = talk.append(word("callAAAA2"), word("callAAAA4"), inputs=[result("callAAAA3", "2.5%")])
        assert kinds(answer.json["outputs"]) == ["tool.execution", "tool.execution", "message.output"]
        told = check_calls(talk.model.last.messages)
        assert sorted(told) == sorted(["read_mail a", "send_mail b", "2.5%", "send_mail c"])

    def test_words_come_alone_and_the_rest_is_told_again(self, talk: Talk) -> None:
        answer = talk.append(word("callAAAA4"))
        assert kinds(answer.json["outputs"]) == ["tool.execution", "function.call:pending", "function.call"]
        assert answer.json["outputs"][1:] == talk.outputs[1:3]
        answer = talk.append(word("callAAAA2", allow=False))
        assert answer.json["outputs"] == talk.outputs[2:3]
        assert talk.append(inputs=[result("callAAAA3", "2.5%")]).status == 200
        told = check_calls(talk.model.last.messages)
        assert sorted(told) == sorted(["read_mail a", DENIED, "2.5%", "send_mail c"])

    def test_results_come_with_some_of_the_words(self, talk: Talk) -> None:
        answer = talk.append(word("callAAAA2"), inputs=[result("callAAAA3", "2.5%")])
        assert kinds(answer.json["outputs"]) == ["tool.execution", "function.call:pending"]
        answer = talk.append(word("callAAAA4"))
        assert kinds(answer.json["outputs"]) == ["tool.execution", "message.output"]
        check_calls(talk.model.last.messages)

    def test_results_do_not_come_without_words(self, talk: Talk) -> None:
        answer = talk.append(inputs=[result("callAAAA3", "2.5%")])
        assert answer.status == 400
        assert "callAAAA2, callAAAA4 wait for a confirmation" in answer.json["message"]
        assert "callAAAA3" not in answer.json["message"]


class TestBranches:
    """A branch sees what was said before its cut, and settles for itself what was not."""

    def test_cut_at_a_call_it_waits_again(self, stage: Stage, model: Script) -> None:
        talk = Talk(stage, model, mail("a"))
        talk.append(word("callAAAA1"))
        call = talk.outputs[0]
        requests = len(model.requests)
        branch = talk.restart(call["id"]).json
        assert branch["outputs"] == [call], "it is told again, and the model is not asked"
        assert len(model.requests) == requests
        path = f"/v1/conversations/{branch['conversation_id']}"
        assert kinds(talk.raw.get(f"{path}/history").json["entries"]) == ["message.input", "function.call:pending"]
        assert talk.restart(call["id"], inputs="No.").status == 400
        answer = talk.raw.post(path, {"tool_confirmations": [word("callAAAA1", allow=False)]})
        assert kinds(answer.json["outputs"]) == ["message.output"]
        assert kinds(talk.raw.get(f"{path}/history").json["entries"])[1] == "function.call:denied"
        assert kinds(talk.history)[1] == "function.call:allowed", "the original keeps its own word"
        assert check_calls(model.last.messages) == [DENIED]

    def test_cut_through_a_turn_its_calls_can_be_allowed(self, stage: Stage, model: Script) -> None:
        talk = Talk(stage, model, mail("a"), mail("b"))
        branch = talk.restart(talk.outputs[0]["id"]).json
        answer = talk.raw.post(
            f"/v1/conversations/{branch['conversation_id']}", {"tool_confirmations": [word("callAAAA1")]}
        )
        assert kinds(answer.json["outputs"]) == ["tool.execution", "message.output"]
        assert check_calls(model.last.messages) == ["send_mail a"]
        assert stage.mail.made(branch["conversation_id"]) == [("send_mail", "a")]
        assert talk.made == []

    def test_cut_behind_a_word_it_stands_and_outlives_the_original(self, stage: Stage, model: Script) -> None:
        talk = Talk(stage, model, mail("a"), mail("b"))
        outputs = talk.append(word("callAAAA1", allow=False), word("callAAAA2")).json["outputs"]
        talk.append(inputs="On.")
        for cut in outputs:
            branch = talk.restart(cut["id"], inputs="Well?").json
            path = f"/v1/conversations/{branch['conversation_id']}/history"
            seen = talk.raw.get(path).json["entries"]
            assert seen[1:3] == talk.history[1:3]
            assert check_calls(model.last.messages) == [DENIED, "send_mail b"]
        history = talk.history
        talk.raw.delete(talk.path)
        assert talk.raw.get(path).json["entries"][:5] == history[:5]

    def test_between_two_executions_the_second_call_waits(self, stage: Stage, model: Script) -> None:
        talk = Talk(stage, model, mail("a"), mail("b"), mail("c"))
        first, *_ = talk.append(word("callAAAA1"), word("callAAAA2", allow=False), word("callAAAA3")).json["outputs"]
        branch = talk.restart(first["id"]).json
        assert branch["outputs"] == [talk.outputs[2]]
        path = f"/v1/conversations/{branch['conversation_id']}"
        assert kinds(talk.raw.get(f"{path}/history").json["entries"])[1:] == [
            "function.call:allowed", "function.call:denied", "function.call:pending", "tool.execution",
        ]  # fmt: skip
        talk.raw.post(path, {"tool_confirmations": [word("callAAAA3", allow=False)]})
        assert sorted(check_calls(model.last.messages)) == sorted([DENIED, DENIED, "send_mail a"])


@pytest.mark.parametrize("allow", [True, False], ids=["allow", "deny"])
def test_what_history_shows_is_taken_as_input(stage: Stage, model: Script, allow: bool) -> None:
    talk = Talk(stage, model, mail("a"), mail("b"))
    talk.append(word("callAAAA1", allow=allow), word("callAAAA2"))
    given = talk.history
    again = talk.raw.post("/v1/conversations", {"inputs": [*given, {"role": "user", "content": "And?"}],
                                                "model": model.name})  # fmt: skip
    assert again.status == 200, again.body
    path = f"/v1/conversations/{again.json['conversation_id']}"
    assert talk.raw.get(f"{path}/history").json["entries"][: len(given)] == given
    told = check_calls(model.last.messages)
    assert told[0] == ('{"done":"a"}' if allow else DENIED)
    assert talk.raw.post(path, {"inputs": "On."}).status == 200


def test_with_store_false_a_word_leaves_no_trace(stage: Stage, model: Script) -> None:
    talk = Talk(stage, model, mail("a"))
    for number in (1, 2):
        answer = talk.append(word("callAAAA1"), store=False)
        assert kinds(answer.json["outputs"]) == ["tool.execution", "message.output"]
        assert talk.made == [("send_mail", "a")] * number
    assert kinds(talk.history) == ["message.input", "function.call:pending"]


def test_a_call_of_a_run_that_failed_is_not_made_again(stage: Stage, model: Script) -> None:
    """The mail was sent; the run failed afterwards. Neither a retry nor another call's run makes it again."""
    talk = Talk(stage, model, mail("a"), mail("b"))
    model.fail(500, "it broke")
    assert talk.append(word("callAAAA1"), word("callAAAA2")).status == 502
    assert kinds(talk.history)[1:] == ["function.call:pending"] * 2, "a failed run leaves history as it was"
    assert talk.append(word("callAAAA2")).status == 200
    answer = talk.append(word("callAAAA1"))
    assert kinds(answer.json["outputs"]) == ["tool.execution", "message.output"]
    assert talk.made == [("send_mail", "a"), ("send_mail", "b")]
    assert check_calls(model.last.messages) == ["send_mail b", "send_mail a"]


def test_a_denial_that_comes_too_late_is_none(stage: Stage, model: Script) -> None:
    """The mail was sent, whatever is said now: history and the model are told the truth."""
    talk = Talk(stage, model, mail("a"), mail("b"))
    model.fail(500, "it broke")
    talk.append(word("callAAAA1"), word("callAAAA2", allow=False))
    answer = talk.append(word("callAAAA1", allow=False), word("callAAAA2", allow=False))
    assert kinds(answer.json["outputs"]) == ["tool.execution", "message.output"]
    assert kinds(talk.history)[1:3] == ["function.call:allowed", "function.call:denied"]
    assert check_calls(model.last.messages) == [DENIED, "send_mail a"]
    assert talk.made == [("send_mail", "a")]


def test_the_same_call_later_is_another(stage: Stage, model: Script) -> None:
    talk = Talk(stage, model, mail("a"))
    model.calls(mail("a"))
    assert kinds(talk.append(word("callAAAA1")).json["outputs"]) == ["tool.execution", "function.call:pending"]
    again = talk.history[-1]["tool_call_id"]
    assert kinds(talk.append(word(again)).json["outputs"]) == ["tool.execution", "message.output"]
    assert talk.made == [("send_mail", "a")] * 2


def test_a_retry_under_the_same_key_reads_the_same_answer(stage: Stage, model: Script) -> None:
    talk = Talk(stage, model, mail("a"), mail("b"))
    for words, key in ((["callAAAA1"], "one"), (["callAAAA2"], "two")):
        body = {"inputs": [], "tool_confirmations": [word(one) for one in words]}
        first, second = (
            talk.raw.post(talk.path, body, headers={"Idempotency-Key": f"{talk.id} {key}"}) for _ in range(2)
        )
        assert first.status == 200
        assert second.body == first.body
        streamed = talk.raw.post(talk.path, body | {"stream": True}, headers={"Idempotency-Key": f"{talk.id} {key}"})
        told = {event["id"] for event in streamed.events[1:-1]}
        assert told == {entry["id"] for entry in first.json["outputs"]}
    assert talk.made == [("send_mail", "a"), ("send_mail", "b")]


@pytest.mark.parametrize("name", ["send_mail", "read_mail"])
def test_a_cancel_settles_what_was_made_or_may_have_been(
    stage: Stage, model: Script, meanwhile: Callable[..., Future[Any]], name: str
) -> None:
    talk = Talk(stage, model, mail("stuck", name), mail("b"), mail("c"), tools=[connector(*NAMES)])
    stage.mail.reached.clear()
    asked = meanwhile(talk.append, word("callAAAA1"), word("callAAAA2", allow=False))
    assert stage.mail.reached.wait(PATIENCE)
    assert kinds(talk.history)[1:] == ["function.call:pending"] * 3, "a word counts once its run has ended"
    talk.raw.post(f"{talk.path}/cancel", None)
    assert asked.result(PATIENCE).status == 200
    lost = name == "read_mail"  # it can be made again, so nothing of it is kept
    assert kinds(talk.history)[1:] == [
        f"function.call:{'pending' if lost else 'allowed'}", "function.call:denied", "function.call:pending",
        *([] if lost else ["tool.execution"]),
    ]  # fmt: skip
    words = [word("callAAAA1", allow=False), word("callAAAA3")] if lost else [word("callAAAA3")]
    assert kinds(talk.append(*words).json["outputs"]) == ["tool.execution", "message.output"]
    told = check_calls(model.last.messages)
    assert told.count(DENIED) == 1 + lost
    assert sum("unknown" in one for one in told) == (not lost)


def test_words_that_are_cancelled_leave_a_conversation_that_goes_on(
    stage: Stage, model: Script, meanwhile: Callable[..., Future[Any]]
) -> None:
    talk = Talk(stage, model, mail("a"))
    with model.gate() as gate:
        model.say("Never said.", before=gate)
        asked = meanwhile(talk.append, word("callAAAA1", allow=False))
        gate.wait_reached()
        talk.raw.post(f"{talk.path}/cancel", None)
        asked.result(PATIENCE)
    assert kinds(talk.history) == ["message.input", "function.call:denied"]
    assert talk.append(inputs="Go on.").status == 200
    roles = [message["role"] for message in model.last.messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"], "a user does not speak right after a result"


def test_an_agents_tool_asks_in_the_version_that_runs(stage: Stage, model: Script) -> None:
    raw = Raw(stage.url)
    agent = raw.post("/v1/agents", {"model": model.name, "name": "Clerk", "tools": [MAILBOX]}).json
    model.calls(mail("a"))
    started = raw.post("/v1/conversations", {"inputs": "Do it.", "agent_id": agent["id"]}).json
    (call,) = started["outputs"]
    assert (call["confirmation_status"], call["agent_id"]) == ("pending", agent["id"])
    path = f"/v1/conversations/{started['conversation_id']}"
    raw.request("PATCH", f"/v1/agents/{agent['id']}", {"tools": []})
    refused = raw.post(path, {"tool_confirmations": [word("callAAAA1")]})
    assert (refused.status, refused.json["detail"][0]["loc"]) == (422, ["body", "tool_confirmations"])
    assert "send_mail" in refused.json["detail"][0]["msg"]
    raw.request("PATCH", f"/v1/agents/{agent['id']}", {"tools": [connector()]})
    answer = raw.post(path, {"tool_confirmations": [word("callAAAA1")]}).json
    assert kinds(answer["outputs"]) == ["tool.execution", "message.output"]
    assert answer["outputs"][0]["agent_id"] == agent["id"]


def test_a_handoff_beside_a_call_that_waits_comes_later(stage: Stage, model: Script) -> None:
    raw = Raw(stage.url)
    other = raw.post("/v1/agents", {"model": model.name, "name": "Other"}).json["id"]
    clerk = raw.post(
        "/v1/agents", {"model": model.name, "name": "Clerk", "tools": [MAILBOX], "handoffs": [other]}
    ).json["id"]
    model.calls(("handoff_to_Other", {}), mail("a"))
    started = raw.post("/v1/conversations", {"inputs": "Do it.", "agent_id": clerk}).json
    assert kinds(started["outputs"]) == ["function.call:pending"]
    path = f"/v1/conversations/{started['conversation_id']}"
    answer = raw.post(path, {"tool_confirmations": [word("callAAAA2")]}).json
    assert [entry["agent_id"] for entry in answer["outputs"]] == [clerk, clerk]
    assert len(check_calls(model.last.messages)) == 2


def test_a_demand_for_a_call_is_met_by_the_one_that_was_settled(stage: Stage, model: Script) -> None:
    raw = Raw(stage.url)
    model.calls(mail("a"))
    start = {"inputs": "Do it.", "model": model.name, "tools": [MAILBOX], "completion_args": {"tool_choice": "any"}}
    started = raw.post("/v1/conversations", start).json
    raw.post(f"/v1/conversations/{started['conversation_id']}", {"tool_confirmations": [word("callAAAA1")]})
    assert model.last.json.get("tool_choice", "auto") == "auto"


@pytest.fixture
def data(tmp_path: Path, model_server: ScriptedServer) -> Callable[[], AbstractContextManager[tuple[Spawned, str]]]:
    """Run a server in a process of its own, always on the same data."""
    return lambda: searching(tmp_path / "data", model_server.url, tmp_path / "calls")


SEARCH = {"type": "web_search", "tool_configuration": {"requires_confirmation": ["web_search"]}}


def searched(raw: Raw, model: Script, *queries: str) -> str:
    """Start a conversation in which these searches wait; return its path."""
    model.calls(*(mail(query, "web_search") for query in queries))
    started = raw.post("/v1/conversations", {"inputs": "Look.", "model": model.name, "tools": [SEARCH]}).json
    return f"/v1/conversations/{started['conversation_id']}"


def carried_on(raw: Raw, path: str, had: Reading) -> list[dict[str, Any]]:
    """Read the newest run to its end, and return the history."""
    run = raw.get(f"{path}/runs").json["data"][0]["id"]
    had.take(raw.get(f"{path}/runs/{run}/events", {"Last-Event-ID": had.place} if had.place else {}).frames)
    entries: list[dict[str, Any]] = raw.get(f"{path}/history").json["entries"]
    return entries


@pytest.mark.parametrize("stage_of_run", ["during the call", "behind it"])
def test_a_kill_does_not_make_a_call_twice(
    data: Callable[[], AbstractContextManager[tuple[Spawned, str]]], tmp_path: Path, model: Script, stage_of_run: str
) -> None:
    during = stage_of_run == "during the call"
    with data() as (program, url):
        raw = Raw(url)
        path = searched(raw, model, "stuck" if during else "x", "y")
        words = [word("callAAAA1"), word("callAAAA2", allow=False)]
        if not during:
            model.say("Too late.", before=model.gate())
        with raw.stream(path, {"tool_confirmations": words, "stream": True}) as stream:
            seen = [stream.frame()]
            if during:
                program.line("^stuck")
            else:
                model.request(2)
                seen += [stream.frame() for _ in range(3)]
            program.kill()
    with data() as (_, url):
        raw, had = Raw(url), Reading(frame for frame in seen if frame)
        entries = carried_on(raw, path, had)
        assert kinds(entries) == [
            "message.input", "function.call:allowed", "function.call:denied", "tool.execution", "message.output",
        ]  # fmt: skip
        had.check(entries[3:])
        denied, told = check_calls(model.last.messages)
        assert denied == DENIED
        assert "unknown" in told if during else told == "Result 1"
        raw.post(path, {"inputs": "And?"})
        check_calls(model.last.messages)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1


def test_what_still_waits_is_told_to_whoever_comes_later(
    data: Callable[[], AbstractContextManager[tuple[Spawned, str]]], model: Script
) -> None:
    """The run's own events are gone; each reader, wherever it was, ends up with the calls that wait, once."""
    with data() as (program, url):
        raw = Raw(url)
        path = searched(raw, model, "x", "y", "z")
        told = raw.post(path, {"tool_confirmations": [word("callAAAA2")], "stream": True}).frames
        run = told[0].json["run_id"]
        later = raw.get(f"{path}/runs/{run}/events").frames  # of which all is durable by now
        program.kill()
    with data() as (_, url):
        raw = Raw(url)
        entries = carried_on(raw, path, Reading())
        waiting = [entry for entry in entries if entry.get("confirmation_status") == "pending"]
        assert kinds(entries)[1:] == [
            "function.call:pending", "function.call:allowed", "function.call:pending", "tool.execution",
        ]  # fmt: skip
        for frames in (told, later):
            for count in range(len(frames) + 1):
                had = Reading(frames[:count])
                carried_on(raw, path, had)
                had.check([entries[4], *waiting])


def test_a_conversation_read_from_disk_knows_its_words(
    model_server: ScriptedServer, model: Script, tmp_path: Path
) -> None:
    box, settings = Mail(), {"upstream": model_server.url, "data": str(tmp_path)}
    with serving(toolsets={"connector": box}, **settings) as url:
        talk = Talk(Stage(url, box), model, mail("a"), mail("b"), mail("c"))
        talk.append(word("callAAAA1"), word("callAAAA2", allow=False))
        before = talk.history
    with serving(toolsets={"connector": box}, **settings) as url:
        talk.raw = Raw(url)
        assert talk.history == before
        assert kinds(talk.append(word("callAAAA3")).json["outputs"]) == ["tool.execution", "message.output"]
        assert check_calls(model.last.messages) == [DENIED, "send_mail a", "send_mail c"]
    assert talk.made == [("send_mail", "a"), ("send_mail", "c")]
    assert str(checkup.check(tmp_path / "causerie.db")).startswith("ok")
