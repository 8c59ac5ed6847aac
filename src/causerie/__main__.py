"""``python -m causerie`` is the command line."""

from __future__ import annotations

from causerie.cli import main

if __name__ == "__main__":
    main()
