"""A person at the chat says whether the server may make a call."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from causerie.client import Mistral
from tests.support.replies import PATIENCE
from tests.support.running import serving
from tests.support.samples import GET_RATE
from tests.support.scripted import Script, ScriptedServer
from tests.support.spawned import environment
from tests.support.terminal import terminal
from tests.support.toolset import ScriptedToolset

from .conftest import COMMAND


@pytest.fixture(scope="module")
def searching(model_server: ScriptedServer) -> Iterator[tuple[str, ScriptedToolset]]:
    """A server with a tool of its own."""
    toolset = ScriptedToolset()
    with serving(upstream=model_server.url, toolsets={"web_search": toolset}) as url:
        yield url, toolset


ASKING = {"type": "web_search", "tool_configuration": {"requires_confirmation": ["web_search"]}}


@pytest.mark.parametrize(("typed", "status"), [("y", "allowed"), ("No", "denied")])
def test_a_call_of_the_servers_is_allowed_or_denied(
    searching: tuple[str, ScriptedToolset], model: Script, tmp_path: Path, typed: str, status: str
) -> None:
    url, toolset = searching
    before = len(toolset.calls)
    with Mistral(api_key="any", server_url=url) as client:
        model.calls(("web_search", {"query": "x"}), ("get_rate", {}))
        conversations = client.beta.conversations
        made = conversations.start(model=model.name, inputs="Which?", tools=[ASKING, GET_RATE]).conversation_id
        command = [*COMMAND, "--url", url, "--conversation", made]
        done = subprocess.run(
            [*command, "-m", "Well?"], cwd=tmp_path, env=environment(), input="", text=True, capture_output=True,
            timeout=2 * PATIENCE, check=False,
        )  # fmt: skip
        assert (done.returncode, "wait for a confirmation" in done.stderr) == (1, True)
        with terminal(command, cwd=tmp_path) as chat:
            chat.sees(r'allow web_search\(\{"query": "x"\}\)\? \[y/n\] ')
            chat.types("perhaps")
            chat.sees("y allows the call, n denies it")
            chat.sees(r"allow web_search.*\[y/n\] ")
            chat.types(typed)
            chat.sees("result of get_rate.*: ")
            chat.types("2.5%")
            chat.sees("Answer 2")
        assert len(toolset.calls) == before + (status == "allowed")
        entries = conversations.get_history(conversation_id=made).entries
        assert entries[1].confirmation_status == status


def test_a_call_that_waits_for_a_word_is_an_error_where_nobody_is(
    searching: tuple[str, ScriptedToolset], model: Script, tmp_path: Path
) -> None:
    url, _ = searching
    with Mistral(api_key="any", server_url=url) as client:
        made = client.beta.conversations.start(model=model.name, inputs="One", tools=[ASKING]).conversation_id
        model.call("web_search", {"query": "x"})
        done = subprocess.run(
            [*COMMAND, "--url", url, "--conversation", made, "-m", "Look."], cwd=tmp_path, env=environment(), input="",
            text=True, capture_output=True, timeout=2 * PATIENCE, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"your word is waited for; give it with causerie chat --conversation {made}" in done.stderr
