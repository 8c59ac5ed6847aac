"""The operations of `models`: which models conversations can be held with."""

from __future__ import annotations

from collections.abc import Mapping

from causerie.types.base import UNSET, UnsetType
from causerie.types.responses import BaseModelCard, ModelList

from .operations import Operations, awaited, plain
from .request import Call, Options, Retries


class Models(Operations):
    """Models: list them, look one up."""

    def _list(
        self,
        *,
        provider: str | None | UnsetType = UNSET,
        model: str | None | UnsetType = UNSET,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[ModelList]:
        """List the models there are."""
        query = {"provider": provider or UNSET, "model": model or UNSET}
        return Call("models.list", Options(retries, server_url, timeout_ms, http_headers), query=query)

    def _retrieve(
        self,
        *,
        model_id: str,
        retries: Retries = UNSET,
        server_url: str | None = None,
        timeout_ms: int | None = None,
        http_headers: Mapping[str, str] | None = None,
    ) -> Call[BaseModelCard]:
        """Look up one model."""
        options = Options(retries, server_url, timeout_ms, http_headers)
        return Call("models.retrieve", options, path={"model_id": model_id})

    list, list_async = plain(_list), awaited(_list)
    retrieve, retrieve_async = plain(_retrieve), awaited(_retrieve)
