"""Time and dice for chaos: pieces come spread, blows strike at moments. No check depends on how long anything took."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable


async def elapse(seconds: float) -> None:
    """Let time pass."""
    loop = asyncio.get_running_loop()
    passed = loop.create_future()
    timer = loop.call_later(seconds, lambda: passed.done() or passed.set_result(None))
    try:
        await passed
    finally:
        timer.cancel()


async def until(holds: Callable[[], bool], patience: float, every: float = 0.01) -> bool:
    """Look again and again whether something holds, for up to `patience` seconds; return whether it does."""
    deadline = asyncio.get_running_loop().time() + patience
    while not holds():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await elapse(every)
    return True


def dice(seed: int, name: str) -> random.Random:
    """Return dice of one's own: what they show depends on the seed and the name, not on what others roll."""
    return random.Random(f"{seed}/{name}")  # noqa: S311  # has to be the same again, not secret
