"""What is not needed is not loaded: that is how an import stays cheap."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.spawned import environment


@pytest.mark.parametrize(
    ("module", "left_out"),
    [
        ("causerie.client", {"httpx2", "asyncio", "email", "hashlib", "causerie.client.run"}),
        ("causerie.client", {"aiohttp", "sqlite3", "click", "rich"}),
        ("causerie.embedded", {"uvicorn", "starlette", "click", "causerie.server"}),
        ("causerie.cli", {"rich", "pygments", "markdown_it"}),
    ],
)
def test_an_import_leaves_out_what_is_not_needed_yet(module: str, left_out: set[str]) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=30, check=True
    )
    loaded = set(done.stdout.split())
    assert module in loaded
    assert loaded & left_out == set()


def test_what_is_not_loaded_yet_can_be_completed() -> None:
    code = "import sys, causerie; print('Causerie' in dir(causerie), 'causerie.embedded' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "True False\n"
