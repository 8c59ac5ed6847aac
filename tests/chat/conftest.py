"""`causerie chat` as it is installed, at a terminal or in a pipe, over a scripted model."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from causerie import Causerie
from causerie.client import Mistral
from tests.support.replies import PATIENCE
from tests.support.running import serving
from tests.support.scripted import Script, ScriptedServer
from tests.support.spawned import environment
from tests.support.terminal import Terminal, terminal

COMMAND = [sys.executable, "-m", "causerie", "chat"]
PROMPT = r"(?:^|\n)> "

Talk = Callable[..., Terminal]
Stored = Callable[..., str]
Piped = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def model_server() -> Iterator[ScriptedServer]:
    """Run the scripted model server for the session."""
    with ScriptedServer().running() as server:
        yield server


@pytest.fixture(scope="session")
def url(model_server: ScriptedServer) -> Iterator[str]:
    """Run a server over it."""
    with serving(upstream=model_server.url) as url:
        yield url


@pytest.fixture
def model(model_server: ScriptedServer) -> Iterator[Script]:
    """Give this test a model of its own."""
    with closing(model_server.script()) as script:
        yield script


@pytest.fixture
def conversations(url: str) -> Iterator[Any]:
    """Look at the server from outside."""
    with Mistral(api_key="any", server_url=url) as client:
        yield client.beta.conversations


@pytest.fixture(params=["over HTTP", "in process"])
def where(request: pytest.FixtureRequest, url: str, model_server: ScriptedServer, model: Script) -> list[str]:
    """Say where the conversation is held and with whom: the flags of it."""
    if request.param == "over HTTP":
        return ["--url", url, "--model", model.name]
    return ["--data", "data", "--upstream", model_server.url, "--model", model.name]


@pytest.fixture
def stored(where: list[str], conversations: Any, model_server: ScriptedServer, model: Script, tmp_path: Path) -> Stored:
    """Start a conversation where the chat is going to be; return its id."""

    def start(**how: Any) -> str:
        if "--url" in where:
            made: str = conversations.start(model=model.name, **how).conversation_id
            return made
        (tmp_path / "data").mkdir()
        with Causerie(tmp_path / "data", upstream=model_server.url, model=model.name) as causerie:
            return causerie.beta.conversations.start(**how).conversation_id

    return start


@pytest.fixture
def talk(where: list[str], tmp_path: Path) -> Iterator[Talk]:
    """Sit down at a terminal with a chat."""
    with ExitStack() as stack:

        def begin(*flags: str, **env: str) -> Terminal:
            return stack.enter_context(terminal([*COMMAND, *where, *flags], cwd=tmp_path, env=env))

        yield begin


@pytest.fixture
def piped(where: list[str], tmp_path: Path) -> Piped:
    """Run a chat without a terminal, to its end."""

    def run(*flags: str, said: str | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *where, *flags], cwd=tmp_path, env=environment() | env, input=said or "", text=True,
            capture_output=True, timeout=2 * PATIENCE, check=False,
        )  # fmt: skip

    return run
