"""Runs of the caller's own functions: `client.beta.conversations.run(...)`, and what goes with it."""

from __future__ import annotations

from .approval import Answer, Approve, Decision, Defer, Deny
from .functions import Function
from .result import RunResult
from .streams import RunStream, RunStreamAsync

__all__ = ["Answer", "Approve", "Decision", "Defer", "Deny", "Function", "RunResult", "RunStream", "RunStreamAsync"]
