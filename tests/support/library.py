"""The client library that the behaviour suite drives: the official SDK where it is installed, else ours.

`OFFICIAL` says which, `VERSION` which one of its generations. Both have the same
names; what only the official one has is None without it.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import Any

OFFICIAL = importlib.util.find_spec("mistralai") is not None
VERSION = importlib.metadata.version("mistralai") if OFFICIAL else None

Mistral: Any
errors: Any
utils: Any
reconstitue_entries: Any = None

if OFFICIAL:
    from mistralai.client import Mistral, errors, utils
    from mistralai.extra.run.result import reconstitue_entries
else:
    from causerie.client import Mistral, errors, utils

__all__ = ["OFFICIAL", "VERSION", "Mistral", "errors", "reconstitue_entries", "utils"]
