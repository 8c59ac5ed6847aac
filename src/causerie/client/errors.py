"""The exceptions that a client raises, under our names and under those of the official SDK."""

from __future__ import annotations

from causerie.errors import (
    APIError,
    BadRequest,
    Blocked,
    CauserieError,
    Conflict,
    ConnectionFailed,
    Forbidden,
    HTTPValidationErrorData,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    ServerFault,
    SettingsError,
    StoreError,
    StoreInUse,
    Unauthenticated,
    UnsupportedMediaType,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
    ValidationError,
)

MistralError = APIError
SDKError = APIError
HTTPValidationError = InvalidRequest
NoResponseError = ConnectionFailed
ResponseValidationError = ConnectionFailed

__all__ = [
    "APIError",
    "BadRequest",
    "Blocked",
    "CauserieError",
    "Conflict",
    "ConnectionFailed",
    "Forbidden",
    "HTTPValidationError",
    "HTTPValidationErrorData",
    "InvalidRequest",
    "MethodNotAllowed",
    "MistralError",
    "NoResponseError",
    "NotFound",
    "PayloadTooLarge",
    "RateLimited",
    "ResponseValidationError",
    "SDKError",
    "ServerFault",
    "SettingsError",
    "StoreError",
    "StoreInUse",
    "Unauthenticated",
    "UnsupportedMediaType",
    "UpstreamError",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "ValidationError",
]
