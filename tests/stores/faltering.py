"""``causerie`` under odd circumstances: ``faltering.py [--beat SECONDS | --without-rights] ARGUMENTS``.

With `--beat` its owner says that it lives at another pace; with `--without-rights` it may only do what the modes of
files allow, as everybody but root.
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys

from causerie import build, cli
from causerie.engine.engine import Engine

_DROP_FROM_BOUNDS, _OVERRIDE_MODES = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
NOT_DROPPED = 77


def main(circumstance: str, *arguments: str) -> None:
    """Bring the circumstance about, and go on as `causerie`."""
    if circumstance == "--beat":
        seconds, *rest = arguments
        build.Engine = functools.partial(Engine, beat_seconds=float(seconds))  # type: ignore[assignment, misc]
        cli.main(rest)
    elif circumstance == "--without-rights":
        if os.geteuid() == 0 and ctypes.CDLL(None, use_errno=True).prctl(_DROP_FROM_BOUNDS, _OVERRIDE_MODES, 0, 0, 0):
            sys.exit(NOT_DROPPED)
        os.execv(sys.executable, [sys.executable, "-m", "causerie", *arguments])  # noqa: S606  # which is when it counts
    else:
        raise SystemExit(f"no such circumstance: {circumstance}")


if __name__ == "__main__":
    main(*sys.argv[1:])
