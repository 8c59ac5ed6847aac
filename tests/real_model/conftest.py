"""A real model server with a tiny model made on the spot, and Causerie before it, each in a process of its own.

`make real-model` makes the environments and asks for these tests; no other word does.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.spawned import causerie, spawned

from .direct import ModelServer

ROOT = Path(__file__).parents[2]
MODELS = ROOT / ".venvs/real-model/bin"
MODEL = "tiny"
STARTING = 120.0
"""Seconds that importing torch may take on a slow and busy machine."""


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave these tests alone unless exactly they are asked for."""
    return None if config.option.markexpr == "real_model" else True


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """Make the model and serve it."""
    assert MODELS.exists(), "there is no environment with a model server: make real-model makes it"
    folder = tmp_path_factory.mktemp("model")
    making = [MODELS / "python", Path(__file__).with_name("tiny_model.py"), folder]
    subprocess.run(making, check=True, timeout=STARTING, capture_output=True)
    command = [MODELS / "transformers", "serve", folder, "--host", "127.0.0.1", "--port", "0", "--device", "cpu"]
    alone = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path_factory.mktemp("cache"))}
    with spawned(command, cwd=folder, env=alone) as server:
        listening = server.line(r"running on (http://127\.0\.0\.1:\d+)", STARTING)
        yield ModelServer(listening[1], str(folder))


@pytest.fixture(scope="session")
def settings(model_server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the flags that lead Causerie to the model server."""
    file = tmp_path_factory.mktemp("settings") / "causerie.toml"
    # The name that the server knows is a path; callers say something nicer.
    file.write_text(f"[models]\n{MODEL} = {{ upstream = 'default', name = '{model_server.model}' }}\n", "utf-8")
    return ["--upstream", f"{model_server.url}/v1", "--model", MODEL, "--config", str(file)]


@pytest.fixture(scope="session")
def url(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the Causerie that most tests share."""
    with causerie(*settings, cwd=tmp_path_factory.mktemp("causerie")) as (_, url):
        yield url
