"""A run that is under way: what others see of it, what they may do beside it, and what is left when it is ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from causerie.engine.engine import Engine
from causerie.engine.run import Bounds, Run
from causerie.errors import BadRequest, CauserieError, Conflict, NotFound, RunTimedOut, ServerFault, Stopping
from causerie.tools.base import ToolResult
from causerie.types.agents import CreateAgentRequest
from causerie.types.events import MessageOutputEvent, ResponseDoneEvent, ResponseErrorEvent
from causerie.types.requests import AppendRequest, RestartRequest, StartRequest
from causerie.upstreams.base import CallDelta, Delta, ModelRequest, TextDelta

from .playing import SERVED, TOOLS, Called, Playing, Turn
from .strategies import user
from .world import HERE, World, answers, decode_request, json

SEARCH = Turn(batches=((CallDelta(0, "callAAAA1", SERVED[0], "{}"),),), calls=(Called("callAAAA1", SERVED[0], "{}"),))


class Pausing(Playing):
    """Says something and then waits, once, where it was told to."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go_on, self.answered = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.pauses = False

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        self.open += 1
        try:
            yield [TextDelta("Hel")]
            if self.pauses:
                self.pauses = False
                self.reached.set()
                await self.go_on.wait()
            yield [TextDelta("lo")]
        finally:
            self.open -= 1
            if self.go_on.is_set():
                self.answered.set()


class Stage:
    """A world in which the run of an append is under way, and stands still."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.model = Pausing()
        world.model = self.model
        world.begin_anew()
        self.id = world.do(self.done(world.engine.start(HERE, StartRequest(inputs="One", model="m")))).conversation_id
        self.before = world.history(self.id)
        self.run = world.do(self._begin())

    async def _begin(self) -> Run:
        self.model.pauses = True
        body = {"inputs": [user("Two") | {"id": "mine"}], "stream": True}
        run = await self.world.engine.append(HERE, self.id, decode_request(json.dumps(body).encode(), AppendRequest))
        await self.model.reached.wait()
        return run

    async def done(self, begin: Any) -> Run:
        """Carry a run to its end."""
        run: Run = await begin
        outcome = await run.outcome
        await run.wait()
        if isinstance(outcome, CauserieError):
            raise outcome
        return run

    def restart(self, entry: str) -> Run:
        """Branch after an entry, and run the branch."""
        request = RestartRequest(from_entry_id=entry, inputs="Otherwise")
        return self.world.do(self.done(self.world.engine.restart(HERE, self.id, request)))

    def append(self, **more: Any) -> Run:
        """Append to the conversation that is in use."""
        return self.world.do(self.done(self.world.engine.append(HERE, self.id, AppendRequest(inputs="Three", **more))))

    def finish(self) -> None:
        """Let the run go on to its end."""
        self.model.go_on.set()
        self.world.do(self.run.wait())


@pytest.fixture
def stage() -> Any:
    """A run that stands still."""
    with World() as world:
        made = Stage(world)
        try:
            yield made
        finally:
            made.finish()


def test_what_is_under_way_is_not_read(stage: Stage) -> None:
    assert stage.world.history(stage.id) == stage.before
    assert stage.world.messages(stage.id) == stage.before
    stage.finish()
    assert [entry["content"] for entry in stage.world.history(stage.id)] == ["One", "Hello", "Two", "Hello"]


def test_whoever_streams_has_the_first_token_before_a_burst_is_worked_through() -> None:
    async def first_batch(engine: Engine) -> list[str]:
        run = await engine.start(HERE, StartRequest(inputs="One", model="m", stream=True))
        batch = await run.reader().batch()
        await run.body()
        return [str(event.content) for _, event in batch if isinstance(event, MessageOutputEvent)]

    with World() as world:
        world.model = Pausing()  # which has all of its answer ready
        world.begin_anew()
        assert world.do(first_batch(world.engine)) == ["Hel"]


def test_a_second_run_is_refused_with_the_name_of_the_first(stage: Stage) -> None:
    with pytest.raises(Conflict, match=stage.run.id):
        stage.append()
    stage.finish()
    stage.append()
    assert len(stage.world.history(stage.id)) == 6


def test_what_is_not_stored_is_never_in_the_way(stage: Stage) -> None:
    assert stage.append(store=False).conversation_id == stage.id
    assert stage.world.history(stage.id) == stage.before


def test_only_what_is_committed_can_be_stood_on(stage: Stage) -> None:
    branch = stage.restart(stage.before[-1]["id"])
    assert len(stage.world.history(branch.conversation_id)) == 4
    streamed = stage.run.log.events[1].id  # type: ignore[union-attr]
    for entry in ("mine", streamed):
        with pytest.raises(Conflict, match=stage.run.id):
            stage.restart(entry)
    with pytest.raises(NotFound):
        stage.restart("msg_that_never_was")
    stage.finish()
    for entry in ("mine", streamed):
        stage.restart(entry)


def test_deleting_ends_the_run_and_gives_the_model_up(stage: Stage) -> None:
    stage.world.delete(stage.id)
    stage.world.do(stage.run.wait())

    assert stage.model.open == 0
    assert isinstance(stage.run.outcome.result(), NotFound)
    last = stage.run.log.events[-1]
    assert isinstance(last, ResponseErrorEvent)
    assert last.code == 404
    with pytest.raises(NotFound):
        stage.world.history(stage.id)
    assert stage.world.listed() == []


def test_a_server_that_stops_leaves_the_run_to_the_next(stage: Stage) -> None:
    stage.world.store.stays = True
    stage.world.do(stage.world.engine.close(grace=0))
    stage.world.store.stays = False
    assert isinstance(stage.run.outcome.result(), Stopping)
    assert stage.model.open == 0
    with pytest.raises(Stopping):
        stage.append(store=False)
    stage.world.begin_anew()
    assert stage.world.history(stage.id) == stage.before
    with pytest.raises(Conflict, match=stage.run.id):
        stage.append()
    stage.world.do(follow(stage.world.engine, stage.id, stage.run.id))
    assert len(stage.world.history(stage.id)) == len(stage.before) + 2
    stage.append()


async def follow(engine: Engine, conversation_id: str, run_id: str) -> None:
    """Read a run to its end."""
    events = await engine.follow_run(HERE, conversation_id, run_id, None)
    while not events.ended:
        await events.batch()


def test_a_server_that_stops_while_a_run_begins_leaves_the_conversation_free(stage: Stage) -> None:
    stage.finish()
    engine, store = stage.world.engine, stage.world.store
    before = stage.world.history(stage.id)

    async def stop_in_the_beginning() -> BaseException | Run:
        store.hold()
        begun = asyncio.ensure_future(engine.append(HERE, stage.id, AppendRequest(inputs="Three")))
        for _ in range(5):  # until the run waits for its inputs to be durable
            await asyncio.sleep(0)
        store.stays = True
        closed = asyncio.ensure_future(engine.close(grace=0))
        for _ in range(5):  # until it was given up
            await asyncio.sleep(0)
        store.release()
        await closed
        return (await asyncio.gather(begun, return_exceptions=True))[0]

    assert isinstance(stage.world.do(stop_in_the_beginning()), Stopping)
    store.stays = False
    stage.world.begin_anew()
    assert stage.world.history(stage.id) == before
    stage.append()
    assert len(stage.world.history(stage.id)) == len(before) + 2


def test_a_server_that_stops_while_a_run_ends_tells_what_is_stored(stage: Stage) -> None:
    engine, store = stage.world.engine, stage.world.store

    async def stop_at_the_end() -> None:
        store.hold()
        stage.model.go_on.set()
        await stage.model.answered.wait()
        for _ in range(5):  # until the run waits for its outputs to be durable
            await asyncio.sleep(0)
        store.stays = True
        closed = asyncio.ensure_future(engine.close(grace=0))
        for _ in range(5):
            await asyncio.sleep(0)
        store.release()
        await closed

    stage.world.do(stop_at_the_end())
    store.stays = False
    stage.world.begin_anew()
    stored = stage.world.history(stage.id) != stage.before
    assert isinstance(stage.run.outcome.result(), CauserieError) is not stored


def test_what_is_deleted_while_its_run_ends_is_not_remembered(stage: Stage) -> None:
    engine, store = stage.world.engine, stage.world.store

    async def delete_at_the_end() -> None:
        store.hold()
        stage.model.go_on.set()
        await stage.model.answered.wait()
        for _ in range(5):  # until the run waits for its outputs to be durable
            await asyncio.sleep(0)
        deleted = asyncio.ensure_future(engine.delete(HERE, stage.id))
        for _ in range(5):
            await asyncio.sleep(0)
        store.release()
        await deleted
        await stage.run.wait()

    stage.world.do(delete_at_the_end())
    for store_it in (True, False):
        with pytest.raises(NotFound):
            stage.append(store=store_it)


def test_a_run_that_is_given_up_while_it_fails_still_ends(stage: Stage) -> None:
    store = stage.world.store

    async def give_up_twice() -> None:
        store.hold()
        stage.run.stop(NotFound("Once."))
        for _ in range(5):  # until the run waits to be taken back
            await asyncio.sleep(0)
        stage.run.stop(Stopping("Twice."))
        for _ in range(5):
            await asyncio.sleep(0)
        store.release()
        await stage.run.wait()

    stage.world.do(give_up_twice())
    assert isinstance(stage.run.outcome.result(), NotFound)
    assert stage.run.log.ended
    assert stage.world.history(stage.id) == stage.before
    stage.append()


def test_a_caller_that_leaves_changes_nothing(stage: Stage) -> None:
    reader = stage.run.log.reader()
    reader.leave()
    stage.finish()
    assert len(stage.world.history(stage.id)) == 4


@pytest.mark.parametrize("stream", [False, True])
def test_a_run_that_takes_too_long_ends_and_is_taken_back(stream: bool) -> None:
    with World() as world:
        world.model = model = Pausing()
        model.pauses = True
        world.engine = Engine(world.store, model, bounds=Bounds(seconds=0.05))

        async def too_long() -> Any:
            run = await world.engine.start(HERE, StartRequest(inputs="One", model="m", stream=stream))
            return await run.outcome

        outcome = world.do(too_long())
        assert isinstance(outcome, RunTimedOut)
        assert "run_seconds" in outcome.message
        assert model.open == 0
        assert len(world.listed()) == stream


def test_a_run_without_end_is_ended_by_the_number_of_its_turns() -> None:
    with World() as world:
        told = world.start({"inputs": "One", "stream": True}, [SEARCH] * 9)
        assert isinstance(told.error, BadRequest)
        assert "max_model_calls" in told.error.message
        assert len(told.prompts) == 8
        assert world.history(told.id) == []


def test_a_tool_that_breaks_ends_the_run_without_its_insides() -> None:
    with World() as world:
        world.toolbox.results = [ToolResult(output="fine"), RuntimeError("a secret")]
        begun = world.start({"inputs": "One"}, [SEARCH])
        assert begun.error is None
        failed = world.append(begun.id, {"inputs": "Two"}, [SEARCH])
        assert isinstance(failed.error, ServerFault)
        assert "secret" not in failed.error.message
        assert [entry.get("content") for entry in world.history(begun.id)] == ["One", None, "Done."]
        again = world.append(begun.id, {"inputs": "Two"}, [SEARCH])
        assert again.error is None
        assert answers(again.outputs) == []


def test_a_tool_knows_where_its_call_comes_from() -> None:
    with World() as world:
        told = world.start({"inputs": "One"}, [SEARCH])
        (context,) = world.toolbox.contexts
        assert (context.workspace, context.conversation_id, context.tool_call_id) == (HERE, told.id, "callAAAA1")
        assert context.run_id.startswith("run_")


def test_two_tools_of_one_turn_run_together() -> None:
    both = tuple(CallDelta(place, f"callAAAA{place}", name, "{}") for place, name in enumerate(SERVED))
    turn = Turn(batches=(both,), calls=tuple(Called(one.id or "", one.name or "", "{}") for one in both))
    with World() as world:
        begun: list[str] = []
        all_begun = asyncio.Event()

        async def call(name: str, arguments: str, context: Any) -> ToolResult:
            begun.append(name)
            if len(begun) == len(SERVED):
                all_begun.set()
            await all_begun.wait()
            return ToolResult(output=name)

        world.toolbox.call = call  # type: ignore[method-assign]
        told = world.start({"inputs": "One", "tools": TOOLS}, [turn])
        assert told.error is None
        results = [message["content"] for message in json.loads(told.prompts[1]) if message["role"] == "tool"]
        assert results == list(SERVED)


@pytest.mark.parametrize(("default", "expected"), [(None, ["m"]), ("m", ["m"]), ("d", ["d", "m"])])
def test_the_default_model_is_listed_once(default: str | None, expected: list[str]) -> None:
    with World() as world:
        engine = Engine(world.store, world.model, default_model=default)
        assert list(world.do(engine.models())) == expected


def test_two_workspaces_share_nothing() -> None:
    with World() as world:
        mine = world.start({"inputs": "One"}).id
        with pytest.raises(NotFound):
            world.do(world.engine.get_history("elsewhere", mine))
        with pytest.raises(NotFound):
            world.do(world.engine.append("elsewhere", mine, AppendRequest(inputs="Two")))
        with pytest.raises(NotFound):
            world.do(world.engine.delete("elsewhere", mine))
        assert len(world.history(mine)) == 2


def test_a_retry_that_streams_beside_a_start_that_fails_is_told_of_no_conversation() -> None:
    with World() as world:
        world.model = model = Pausing()
        world.begin_anew()
        model.pauses, engine = True, world.engine

        async def retry_as_it_fails() -> list[Any]:
            first = asyncio.ensure_future(engine.start(HERE, StartRequest(inputs="One", model="m"), "key"))
            await model.reached.wait()
            run = await first
            world.store.hold()
            run.stop(NotFound("Given up."))
            for _ in range(5):  # until the run waits to be taken back
                await asyncio.sleep(0)
            again = StartRequest(inputs="One", model="m", stream=True)
            retry = asyncio.ensure_future(engine.start(HERE, again, "key"))
            for _ in range(5):  # until its id waits to be announced
                await asyncio.sleep(0)
            world.store.release()
            return [*await asyncio.gather(retry, return_exceptions=True), await run.outcome]

        told, outcome = world.do(retry_as_it_fails())
        assert told is outcome
        assert world.listed() == []


def test_a_turn_that_is_being_written_while_the_run_is_cancelled_is_kept_once() -> None:
    with World() as world:
        writing, go_on = asyncio.Event(), asyncio.Event()
        journal = world.store.journal

        async def slowly(*what: Any) -> None:
            writing.set()
            await go_on.wait()
            await journal(*what)

        world.store.journal = slowly  # type: ignore[method-assign]
        world.model.play([SEARCH])

        async def cancelled() -> Run:
            body = json.dumps({"inputs": "One", "model": "m", "tools": TOOLS, "stream": True}).encode()
            run = await world.engine.start(HERE, decode_request(body, StartRequest))
            await writing.wait()
            run.cancel()
            await asyncio.sleep(0)
            go_on.set()
            await run.wait()
            return run

        run = world.do(cancelled())
        assert [entry["type"] for entry in world.history(run.conversation_id)] == ["message.input", "tool.execution"]
        assert [event.id for event in run.log.events[1:4]] == [world.history(run.conversation_id)[1]["id"]] * 3
        cut, done = run.log.events[4:]
        assert (cut.discard, type(done)) == ([], ResponseDoneEvent)


@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_waits_until_its_twin_has_begun_and_the_model_is_asked_once(stream: bool) -> None:
    with World() as world:
        agent = world.do(world.engine.agents.create(HERE, CreateAgentRequest(model="m", name="a"))).id
        first = world.do(world.engine.start(HERE, StartRequest(agent_id=agent, inputs="One")))
        world.do(first.body())
        asked = len(world.model.requests)
        request = AppendRequest(inputs="Two", stream=stream)
        reached, go_on, find = asyncio.Event(), asyncio.Event(), world.store.agent

        async def slowly(*what: Any, **how: Any) -> Any:
            world.store.agent = find  # type: ignore[method-assign]
            reached.set()
            await go_on.wait()
            return await find(*what, **how)

        async def told() -> bytes:
            return await (await world.engine.append(HERE, first.conversation_id, request, "once")).body()

        async def twins() -> tuple[bytes, bytes]:
            world.store.agent = slowly  # type: ignore[method-assign]
            slow = asyncio.ensure_future(told())
            await reached.wait()
            quick = asyncio.ensure_future(told())
            await asyncio.wait([quick], timeout=0)  # nothing is in its way but its twin
            go_on.set()
            return await slow, await quick

        one, other = world.do(twins())
        assert one == other
        assert len(world.model.requests) == asked + 1
        assert len(world.history(first.conversation_id)) == 4


def test_a_run_that_fails_when_it_is_another_owners_is_not_told_as_failed(stage: Stage) -> None:
    """The other one carries it on; here it can only no longer be followed."""
    store = stage.world.store

    async def taken_over_and_failing() -> None:
        (found,) = await store.unfinished()
        await store.adopt(found)
        stage.run.stop(BadRequest("The model failed."))
        await stage.run.wait()

    stage.world.do(taken_over_and_failing())
    assert isinstance(stage.run.outcome.result(), Stopping)
    assert stage.run.log.ended
    assert not [event for event in stage.run.log.events if isinstance(event, ResponseErrorEvent)]
    (found,) = stage.world.do(store.unfinished())
    assert found.id == stage.run.id
