"""What may be said about a call before it is made. No I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from causerie.types.entries import FunctionCallEntry


class Deny(msgspec.Struct, frozen=True):
    """The call is not made, and the model is told why. A call of a server's tool is denied without the reason."""

    reason: str = "The user does not allow this call."


class Answer(msgspec.Struct, frozen=True):
    """The call is not made here: this is what came of it elsewhere."""

    result: Any


class Defer(msgspec.Struct, frozen=True):
    """It is not known yet: the run stops, and goes on when it is (`RunResult.waiting`)."""


Decision = bool | Deny | Answer | Defer
"""True is "make it", False a `Deny` without a reason of its own."""

Approve = Callable[[FunctionCallEntry], Decision | Awaitable[Decision]]
"""Decides about a call; sync or async."""
