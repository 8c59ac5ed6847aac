"""Causerie: the Conversations API on your own machine. `Causerie` is it in process; the client is `causerie.client`.

Nothing is loaded before it is asked for: the client alone needs no engine.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Causerie"]


def __dir__() -> list[str]:
    """Name `Causerie` before it is loaded, so that it can be completed."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Load `Causerie` when it is first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'causerie' has no attribute '{name}'")
    return importlib.import_module("causerie.embedded").Causerie
