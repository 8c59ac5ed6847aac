"""The client in process, beyond what the behaviour suite runs over it too: threads, loops, options, the end."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from causerie import Causerie
from causerie.client import Mistral, errors, models
from causerie.client.crossing import Cross, EngineThread
from causerie.client.utils import BackoffStrategy, RetryConfig
from causerie.settings import ModelRoute, Settings
from causerie.tools.base import ToolContext, ToolResult
from tests.support.replies import PATIENCE
from tests.support.scripted import Script, ScriptedServer
from tests.support.stage import BEHIND, serving
from tests.support.toolset import ScriptedToolset

AT_ONCE = RetryConfig("backoff", BackoffStrategy(1, 1, 1, 60_000, 0), retry_connection_errors=True)


@pytest.fixture(scope="module")
def model_server() -> Iterator[ScriptedServer]:
    """Run the scripted model server."""
    with ScriptedServer().running() as server:
        yield server


@pytest.fixture
def model(model_server: ScriptedServer) -> Iterator[Script]:
    """Give this test a model of its own."""
    with closing(model_server.script()) as script:
        yield script


@pytest.fixture
def causerie(model_server: ScriptedServer, model: Script) -> Iterator[Causerie]:
    """An engine in memory on that model."""
    with Causerie(upstream=model_server.url, model=model.name) as causerie:
        yield causerie


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Have several things going on at once."""
    with ThreadPoolExecutor(16) as threads:
        yield threads


def texts(history: Any) -> list[Any]:
    return [entry.content for entry in history.entries]


def test_without_anything_it_is_in_memory_on_the_rehearsal_model() -> None:
    with Causerie() as one, Causerie() as other:
        made = one.beta.conversations.start(inputs="Hello")
        assert "stand-in" in str(made.outputs[0].content)
        assert [card.id for card in one.models.list().data] == ["rehearsal"]
        assert texts(one.beta.conversations.get_history(conversation_id=made.conversation_id))[0] == "Hello"
        with pytest.raises(errors.NotFound):
            other.beta.conversations.get(conversation_id=made.conversation_id)


def test_threads_share_it(threads: ThreadPoolExecutor) -> None:
    with Causerie() as causerie:
        conversations = causerie.beta.conversations

        def talk(number: int) -> list[Any]:
            made = conversations.start(inputs=f"I am {number}.")
            for turn in range(3):
                with conversations.append_stream(
                    conversation_id=made.conversation_id, inputs=f"{number}: {turn}"
                ) as items:
                    assert type(list(items)[-1].data) is models.ResponseDoneEvent
            return texts(conversations.get_history(conversation_id=made.conversation_id))[::2]

        told = [one.result(PATIENCE) for one in [threads.submit(talk, number) for number in range(16)]]
        assert told == [[f"I am {one}.", *(f"{one}: {turn}" for turn in range(3))] for one in range(16)]
        assert len(conversations.list()) == 16


def test_in_a_running_loop_both_ways_work_and_loops_share_it() -> None:
    async def notebook(conversations: Any) -> list[Any]:
        made = conversations.start(inputs="One")  # as in a cell: a loop runs, and the call is a plain one
        with conversations.append_stream(conversation_id=made.conversation_id, inputs="Two") as items:
            list(items)
        await conversations.append_async(conversation_id=made.conversation_id, inputs="Three")
        async with await conversations.append_stream_async(
            conversation_id=made.conversation_id, inputs="Four"
        ) as items:
            assert [item.event async for item in items][-1] == "conversation.response.done"
        return texts(await conversations.get_history_async(conversation_id=made.conversation_id))[::2]

    async def scene() -> None:
        async with Causerie() as causerie:
            both = [asyncio.to_thread(asyncio.run, notebook(causerie.beta.conversations)) for _ in range(2)]
            told = await asyncio.gather(notebook(causerie.beta.conversations), *both)
            assert told == [["One", "Two", "Three", "Four"]] * 3
        with pytest.raises(errors.ConnectionFailed, match="closed"):
            await causerie.beta.conversations.list_async()

    asyncio.run(asyncio.wait_for(scene(), 2 * PATIENCE))


def test_events_that_are_ready_cross_together(monkeypatch: pytest.MonkeyPatch) -> None:
    with Causerie() as causerie:
        stream = causerie.beta.conversations.start_stream(inputs="one two three four five six seven")
        whole = list(stream)
        where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
        crossings, real = [], EngineThread.submit

        def submit(self: EngineThread, work: Any, *, new: bool) -> Future[Any]:
            crossings.append(work)
            return real(self, work, new=new)

        monkeypatch.setattr(EngineThread, "submit", submit)
        assert list(causerie.beta.conversations.follow_run(**where)) == whole
        assert len(whole) > 20
        assert len(crossings) == 2  # one to ask, one for all events


def test_a_stream_knows_its_run_and_is_followed_from_anywhere() -> None:
    with Causerie() as causerie:
        conversations = causerie.beta.conversations
        with conversations.start_stream(inputs="Hello") as stream:
            assert stream.response is None
            first = [next(stream) for _ in range(4)]
            assert (stream.last_event_id, stream.run_id) == (first[-1].id, first[0].data.run_id)
            rest = list(stream)
        where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
        assert list(conversations.follow_run(**where, last_event_id=first[-1].id)) == rest
        with conversations.follow_run(**where) as followed:
            assert (followed.conversation_id, followed.run_id) == (where["conversation_id"], where["run_id"])
            assert list(followed) == first + rest
        assert list(followed) == []
        assert conversations.get_run(**where).state == "done"


def test_what_a_caller_gets_is_its_own() -> None:
    with Causerie() as causerie:
        conversations = causerie.beta.conversations
        stream = conversations.start_stream(inputs="Hello")
        items = list(stream)
        where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
        before = [item.model_dump() for item in items]
        items[1].data.content = "never said"
        assert [item.model_dump() for item in conversations.follow_run(**where)] == before
        metadata: dict[str, Any] = {"of": "the caller"}
        made = conversations.start(inputs="Hello", metadata=metadata)
        metadata["of"] = "somebody else"
        got = conversations.get(conversation_id=made.conversation_id)
        assert got.metadata == {"of": "the caller"}


WRONG: dict[str, Callable[[Any, Any], Any]] = {
    "no conversation": lambda client, _: client.get(conversation_id="conv_0"),
    "no entry": lambda client, made: client.restart(conversation_id=made.conversation_id, from_entry_id="msg_0"),
    "no run": lambda client, made: client.get_run(conversation_id=made.conversation_id, run_id="run_0"),
    "no inputs": lambda client, made: client.append(conversation_id=made.conversation_id),
    "a wrong field": lambda client, _: client.start(inputs="x", completion_args={"temperature": 9}),
    "an unknown field": lambda client, _: client.start(inputs=[{"role": "user", "content": "x", "surprise": 1}]),
    "no input": lambda client, _: client.start(inputs=5),
    "an open call": lambda client, _: client.start(
        inputs=[{"type": "function.call", "tool_call_id": "a1B2c3D4e", "name": "f", "arguments": "{}"}]
    ),
    "no agents yet": lambda client, _: client.start(inputs="x", agent_id="ag_1"),
    "half a character": lambda client, _: client.start(inputs=[{"role": "user", "content": [{"text": 5}]}]),
    "a bad page": lambda client, _: client.list(page=-1),
    "no page": lambda client, _: client.list(page="first"),
    "no event id": lambda client, made: client.follow_run(
        conversation_id=made.conversation_id, run_id="run_0", last_event_id="x"
    ),
    "no key": lambda client, _: client.start(inputs="x", http_headers={"Idempotency-Key": ""}),
    "a bad leave": lambda client, _: client.start(inputs="x", http_headers={"Causerie-On-Disconnect": "perhaps"}),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_an_error_is_what_it_is_over_http(door: tuple[Mistral, Causerie], wrong: Callable[[Any, Any], Any]) -> None:
    made = door[0].beta.conversations.start(inputs="Hello")
    caught: list[Any] = []
    for client in door:
        with pytest.raises(errors.SDKError) as told:
            wrong(client.beta.conversations, made)
        caught.append(told.value)
    http, local = caught
    assert type(local) is type(http)
    for name in ("status_code", "code", "type", "message", "body"):
        assert getattr(local, name) == getattr(http, name)
    assert (local.raw_response, local.correlation_id) == (None, None)
    assert http.raw_response is not None
    if isinstance(local, errors.HTTPValidationError):
        assert local.detail == http.detail


@pytest.fixture(scope="module")
def door() -> Iterator[tuple[Mistral, Causerie]]:
    """One engine, from outside and from inside."""
    with serving() as url, Mistral(server_url=url) as mistral:
        yield mistral, BEHIND[url]


def test_errors_of_the_model_server_are_what_they_are_over_http(model_server: ScriptedServer, model: Script) -> None:
    with serving(upstream=model_server.url, model=model.name) as url, Mistral(server_url=url) as mistral:
        for client in (mistral, BEHIND[url]):
            model.fail(429, "slowly", headers={"Retry-After": "7"})
            with pytest.raises(errors.RateLimited, match="slowly") as caught:
                client.beta.conversations.start(inputs="x")
            assert caught.value.headers["retry-after"] == "7"
            model.fail(500, "broken")
            with pytest.raises(errors.UpstreamError):
                client.beta.conversations.start(inputs="x")


def test_a_call_is_made_again_where_it_says_so(causerie: Causerie, model: Script) -> None:
    model.fail(503)
    model.fail(503)
    with pytest.raises(errors.UpstreamError):
        causerie.beta.conversations.start(inputs="x")
    made = causerie.beta.conversations.start(inputs="x", retries=AT_ONCE)
    assert (made.outputs[0].content, len(model.requests)) == ("Answer 3", 3)
    model.fail(503)
    *_, done = causerie.beta.conversations.start_stream(inputs="x", retries=AT_ONCE)  # begun, it is not begun again
    assert type(done.data) is models.ResponseErrorEvent


def test_what_means_nothing_in_process_is_refused(causerie: Causerie, model: Script) -> None:
    conversations = causerie.beta.conversations
    with pytest.raises(errors.HTTPValidationError) as caught:
        conversations.start(inputs="x", server_url="http://127.0.0.1:1")
    assert caught.value.loc == ("server_url",)
    for name in ("X-Trace", "Authorization"):
        with pytest.raises(errors.HTTPValidationError) as caught:
            conversations.list(http_headers={name: "1"})
        assert caught.value.loc == ("header", name.lower())
    with pytest.raises(errors.HTTPValidationError) as caught:
        causerie.models.list(provider="somebody")
    assert caught.value.loc == ("query", "provider")
    assert model.requests == []


def test_an_idempotency_key_means_what_it_means(causerie: Causerie, model: Script) -> None:
    key = {"Idempotency-Key": "one"}
    first = causerie.beta.conversations.start(inputs="x", http_headers=key)
    assert causerie.beta.conversations.start(inputs="x", http_headers=key) == first
    assert len(model.requests) == 1
    with pytest.raises(errors.HTTPValidationError, match="idempotency key"):
        causerie.beta.conversations.start(inputs="y", http_headers=key)


@pytest.mark.parametrize("how", ["continue", "cancel"])
def test_a_stream_that_is_closed_stops_its_run_only_where_it_says_so(
    causerie: Causerie, model: Script, how: str
) -> None:
    conversations = causerie.beta.conversations
    with model.gate() as gate:
        model.say("One", " two", before=gate)
        with conversations.start_stream(inputs="x", http_headers={"Causerie-On-Disconnect": how}) as stream:
            next(stream)
            gate.wait_reached()
        assert list(stream) == []
        if how == "cancel":
            assert model.request(1).abandoned.wait(PATIENCE)
    where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
    *_, done = conversations.follow_run(**where)
    assert type(done.data) is models.ResponseDoneEvent
    assert conversations.get_run(**where).state == ("done" if how == "continue" else "cancelled")


@pytest.mark.parametrize("how", ["continue", "cancel"])
def test_a_call_that_is_given_up_stops_its_run_only_where_it_says_so(
    causerie: Causerie, model: Script, how: str
) -> None:
    conversations = causerie.beta.conversations
    made = conversations.start(inputs="x")

    async def scene() -> None:
        leaving = {"Causerie-On-Disconnect": how}
        waiting = asyncio.ensure_future(
            conversations.append_async(conversation_id=made.conversation_id, inputs="y", http_headers=leaving)
        )
        await asyncio.to_thread(model.request, 2)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    with model.gate() as gate:
        model.say("late", before=gate)
        asyncio.run(asyncio.wait_for(scene(), PATIENCE))
        if how == "cancel":
            assert model.request(2).abandoned.wait(PATIENCE)
    run = conversations.list_runs(conversation_id=made.conversation_id).data[0]
    list(conversations.follow_run(conversation_id=made.conversation_id, run_id=run.id))
    history = texts(conversations.get_history(conversation_id=made.conversation_id))
    assert history[2:] == (["y", "late"] if how == "continue" else ["y"])


def test_a_wait_has_an_end_and_the_run_goes_on(causerie: Causerie, model: Script) -> None:
    conversations = causerie.beta.conversations
    with model.gate() as gate:
        model.say("late", before=gate)
        with conversations.start_stream(inputs="x", timeout_ms=50) as stream:
            items = [next(stream)]
            for _ in range(2):
                with pytest.raises(errors.ConnectionFailed, match="timeout_ms"):
                    next(stream)
            with pytest.raises(errors.Conflict):
                conversations.append(conversation_id=str(stream.conversation_id), inputs="y", timeout_ms=5000)
            gate.open()
            followed = list(conversations.follow_run(
                conversation_id=str(stream.conversation_id), run_id=str(stream.run_id)
            ))  # fmt: skip
            assert items + list(stream) == followed
    with model.gate() as gate:
        model.say("later", before=gate)
        with pytest.raises(errors.ConnectionFailed, match="timeout_ms"):
            conversations.append(conversation_id=str(stream.conversation_id), inputs="y", timeout_ms=50)
    run = conversations.list_runs(conversation_id=str(stream.conversation_id)).data[0]
    list(conversations.follow_run(conversation_id=run.conversation_id, run_id=run.id))
    assert texts(conversations.get_history(conversation_id=run.conversation_id)) == ["x", "late", "y", "later"]


def test_a_key_was_pressed_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    with Causerie() as causerie:
        stream = causerie.beta.conversations.start_stream(inputs="one two three")
        real, times = Cross.now, 0

        def interrupted(self: Cross, http: object) -> Any:
            nonlocal times
            times += 1
            if times == 1:
                self._begun().result(PATIENCE)
                raise KeyboardInterrupt
            return real(self, http)

        monkeypatch.setattr(Cross, "now", interrupted)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        items = list(stream)
        where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
        assert items == list(causerie.beta.conversations.follow_run(**where))


def test_a_wait_was_cancelled_and_nothing_is_lost() -> None:
    async def scene() -> None:
        async with Causerie() as causerie:
            conversations = causerie.beta.conversations
            stream = await conversations.start_stream_async(inputs="one two three")
            items = []
            for turns in range(6):
                waiting = asyncio.ensure_future(anext(stream))
                for _ in range(turns):
                    await asyncio.sleep(0)
                waiting.cancel()
                try:
                    items.append(await waiting)
                except asyncio.CancelledError:
                    continue
            items += [item async for item in stream]
            where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
            assert items == [item async for item in await conversations.follow_run_async(**where)]

    asyncio.run(asyncio.wait_for(scene(), PATIENCE))


def test_closing_waits_for_calls_under_way(
    model_server: ScriptedServer, model: Script, threads: ThreadPoolExecutor
) -> None:
    causerie = Causerie(upstream=model_server.url, model=model.name)
    conversations = causerie.beta.conversations
    with model.gate() as gate:
        model.say("The last.", before=gate)
        asked = threads.submit(conversations.start, inputs="x")
        model.request(1)
        closed = threads.submit(causerie.close)
        gate.open()
        assert asked.result(PATIENCE).outputs[0].content == "The last."
        closed.result(PATIENCE)
    for call in (conversations.list, lambda: conversations.start_stream(inputs="x"), causerie.models.list):
        with pytest.raises(errors.ConnectionFailed, match="closed"):
            call()
    causerie.close()
    assert len(model.requests) == 1


def test_closing_does_not_wait_for_ever(
    model_server: ScriptedServer, model: Script, threads: ThreadPoolExecutor, tmp_path: Path
) -> None:
    causerie = Causerie(tmp_path / "chats.db", upstream=model_server.url, model=model.name)
    with model.gate() as gate:
        model.say("never", before=gate)
        asked = threads.submit(causerie.beta.conversations.start, inputs="x")
        model.request(1)
        model.say("never either", before=gate)
        stream = causerie.beta.conversations.start_stream(inputs="y")
        model.request(2)
        items = [next(stream)]
        causerie.close(grace=0.05)
        with pytest.raises(errors.SDKError, match="stopping") as caught:
            asked.result(PATIENCE)
        assert caught.value.status_code == 503
        with pytest.raises(errors.ConnectionFailed, match=r"closed"):
            list(stream)
    where = {"conversation_id": str(stream.conversation_id), "run_id": str(stream.run_id)}
    with Causerie(tmp_path / "chats.db", upstream=model_server.url, model=model.name) as causerie:
        conversations = causerie.beta.conversations
        assert [one.id for one in conversations.list()] == [where["conversation_id"]]
        assert len(model.requests) == 2  # nothing is asked before the conversation is touched
        items = list(conversations.follow_run(**where, last_event_id=items[0].id))
        assert type(items[-1].data) is models.ResponseDoneEvent
        assert texts(conversations.get_history(conversation_id=where["conversation_id"])) == ["y", "Answer 3"]


def test_one_that_is_let_go_closes_by_itself(tmp_path: Path) -> None:
    causerie = Causerie(tmp_path / "chats.db")
    made = causerie.beta.conversations.start(inputs="x")
    with pytest.raises(errors.StoreInUse, match="which is this one"):
        Causerie(tmp_path / "chats.db")
    thread = causerie.connection.thread
    del causerie
    gc.collect()
    thread.wait(PATIENCE)
    with Causerie(tmp_path / "chats.db") as causerie:
        assert causerie.beta.conversations.get(conversation_id=made.conversation_id).id == made.conversation_id


def test_settings_are_those_of_the_server(
    model_server: ScriptedServer, model: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(errors.SettingsError, match="upstream"):
        Causerie(upstream="not a url")
    with pytest.raises(errors.SettingsError, match="dialect"):
        Causerie(settings=Settings(data=str(tmp_path), dialect="vllm"))
    with pytest.raises(TypeError, match=r"load\(\)"):
        Causerie(settings={"model": "m"})  # type: ignore[arg-type]

    monkeypatch.setenv("CAUSERIE_UPSTREAM_API_KEY", "of the environment")
    with Causerie(upstream=model_server.url, model=model.name) as causerie:
        causerie.beta.conversations.start(inputs="x")
    with Causerie(upstream=model_server.url, model=model.name, api_key="given") as causerie:
        causerie.beta.conversations.start(inputs="x")
    assert [one.headers["authorization"] for one in model.requests] == ["Bearer of the environment", "Bearer given"]

    routes = {"small": ModelRoute(upstream="default", name=model.name)}
    known = Settings(data=str(tmp_path), upstream=model_server.url, models=routes, run_seconds=60)
    with Causerie(settings=known, model="small") as causerie:
        made = causerie.beta.conversations.start(inputs="x")
    assert (tmp_path / "causerie.db").exists()
    with Causerie(tmp_path) as causerie:  # a server's directory is one of ours
        run = causerie.beta.conversations.list_runs(conversation_id=made.conversation_id).data[0]
        assert run.bounds.max_seconds == 600
    with pytest.raises(errors.StoreInUse), Causerie(tmp_path), Causerie(settings=known):
        pass


def test_a_model_server_that_is_away_is_said_when_it_is_asked(threads: ThreadPoolExecutor) -> None:
    with Causerie(upstream="http://127.0.0.1:9/v1", model="any") as causerie:
        with pytest.raises(errors.UpstreamUnavailable):
            causerie.beta.conversations.start(inputs="x")
        with causerie.beta.conversations.start_stream(inputs="x") as stream:
            assert type(list(stream)[-1].data) is models.ResponseErrorEvent


def test_a_stream_is_closed_by_another_thread(causerie: Causerie, model: Script, threads: ThreadPoolExecutor) -> None:
    with model.gate() as gate:
        model.say("late", before=gate)
        stream = causerie.beta.conversations.start_stream(inputs="x")
        next(stream)
        waiting = threading.Event()

        def rest() -> list[Any]:
            waiting.set()
            return list(stream)

        reading = threads.submit(rest)
        waiting.wait(PATIENCE)
        gate.wait_reached()
        stream.close()
        assert reading.result(PATIENCE) == []


def test_a_tool_talks_to_the_engine_that_calls_it(model_server: ScriptedServer, model: Script) -> None:
    class Asking(ScriptedToolset):
        """Asks the engine that it is called by, first in a way that could only wait for itself."""

        async def call(self, name: str, arguments: str, context: ToolContext) -> ToolResult:
            with pytest.raises(errors.ConnectionFailed, match="_async"):
                causerie.beta.conversations.start(inputs="From a tool")
            made = await causerie.beta.conversations.start_async(inputs="From a tool")
            return ToolResult(output=str(made.outputs[0].content))

    model.call("web_search", {"query": "x"})
    toolsets = {"web_search": Asking()}
    with Causerie(upstream=model_server.url, model=model.name, toolsets=toolsets) as causerie:
        made = causerie.beta.conversations.start(inputs="x", tools=[{"type": "web_search"}])
        assert made.outputs[-1].content == "Answer 3"
        assert [one.json["messages"][-1]["content"] for one in model.requests] == ["x", "From a tool", "Answer 2"]


@pytest.mark.parametrize(
    ("statement", "unloaded"),
    [
        ("import causerie", ["msgspec", "httpx2", "aiohttp", "causerie.engine", "causerie.client"]),
        ("import causerie.client", ["aiohttp", "starlette", "sqlite3", "causerie.engine", "causerie.stores"]),
    ],
)
def test_nothing_is_loaded_that_was_not_asked_for(statement: str, unloaded: list[str]) -> None:
    script = f"{statement}\nimport sys\nprint([name for name in {unloaded!r} if name in sys.modules])"
    assert _said(script) == "[]\n"


def test_it_keeps_quiet() -> None:
    script = (
        "from causerie import Causerie\n"
        "with Causerie() as c:\n"
        "    c.beta.conversations.start(inputs='x')\n"
        "    c.beta.conversations.start_stream(inputs='x')\n"
        "import causerie\n"
        "print(hasattr(causerie, 'Causerie'), hasattr(causerie, 'Other'))\n"
    )
    assert _said(script) == "True False\n"


def _said(script: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, check=True, timeout=3 * PATIENCE,
    )  # fmt: skip
    assert ran.stderr == ""
    return ran.stdout
