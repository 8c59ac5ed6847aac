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
    FunctionFailed,
    HTTPValidationErrorData,
    InvalidRequest,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    RunStopped,
    ServerFault,
    SettingsError,
    StoreError,
    StoreInUse,
    TooManyTurns,
    Unauthenticated,
    UnsupportedMediaType,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
    ValidationError,
    WrongOutput,
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
    "FunctionFailed",
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
    "RunStopped",
    "SDKError",
    "ServerFault",
    "SettingsError",
    "StoreError",
    "StoreInUse",
    "TooManyTurns",
    "Unauthenticated",
    "UnsupportedMediaType",
    "UpstreamError",
    "UpstreamTimeout",
    "UpstreamUnavailable",
    "ValidationError",
    "WrongOutput",
]
