"""What the official SDK calls its utilities, as far as a caller needs them."""

from __future__ import annotations

from .retries import BackoffStrategy, RetryConfig

__all__ = ["BackoffStrategy", "RetryConfig"]
