"""The version, in the one place that packaging, the command line and the API document read it from."""

from __future__ import annotations

VERSION = "0.1.0"
