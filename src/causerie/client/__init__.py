"""A client of the Conversations API with the surface of the official SDK, and a few things more."""

from __future__ import annotations

from . import errors, models, utils
from .client import Mistral
from .streams import EventStream, EventStreamAsync

__all__ = ["EventStream", "EventStreamAsync", "Mistral", "errors", "models", "utils"]
