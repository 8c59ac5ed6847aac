"""Plays the Python of a page: one namespace for all of it, as for somebody who types along.

Run by an interpreter that has the official SDK. Each line of its input is a piece of code, written as JSON; behind
what the code prints comes a line with the end mark and 0, or 1 after a traceback.
"""

from __future__ import annotations

import json
import sys
import traceback


def play(end: str) -> None:
    """Play what comes on standard input until it ends."""
    names: dict[str, object] = {"__name__": "__main__"}
    for line in sys.stdin:
        failed = 0
        try:
            exec(compile(json.loads(line), "<page>", "exec"), names)  # noqa: S102  # that is what it is for
        except Exception:
            traceback.print_exc()
            failed = 1
        print(f"\n{end} {failed}", flush=True)


if __name__ == "__main__":
    play(sys.argv[1])
