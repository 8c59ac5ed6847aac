"""How metadata is found: a row a pair, its value as a digest, so that a filter is a look-up in any database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def labels(metadata: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows by which `metadata` is found: each key with a digest of its value's canonical JSON."""
    return [(key, _digest(value)) for key, value in metadata.items()]


def _digest(value: Any) -> str:
    canonical = json.dumps(_whole_numbers(value), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def _whole_numbers(value: Any) -> Any:
    # 1 and 1.0 are one number in JSON.
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    return [_whole_numbers(item) for item in value] if isinstance(value, list) else value
