"""The client: `Mistral(...).beta.conversations`, as in the official SDK."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from causerie.types.base import UNSET

from .agents import Agents
from .carrier import Carrier
from .catalogue import Models
from .classifiers import Classifiers
from .connection import ApiKey, Connection, base_url
from .conversations import Conversations
from .exchange import Logger
from .request import Retries
from .wire import AsyncHttpClient, HttpClient


class Beta:
    """What the API calls beta."""

    def __init__(self, connection: Carrier) -> None:
        """Offer it over `connection`."""
        self.conversations = Conversations(connection)
        self.agents = Agents(connection)


class Mistral:
    """A client of one server. It can be shared by threads, and by the tasks of any event loop.

    Attributes:
        beta: the conversations, as `beta.conversations`, and the agents, as `beta.agents`.
        models: which models there are.
        classifiers: how far texts are of which category.
    """

    def __init__(  # noqa: PLR0917  # as in the official SDK
        self,
        api_key: ApiKey = None,
        server: str | None = None,
        url_params: dict[str, str] | None = None,
        server_url: str | None = None,
        client: HttpClient | None = None,
        async_client: AsyncHttpClient | None = None,
        retry_config: Retries = UNSET,
        timeout_ms: int | None = None,
        debug_logger: Logger | None = None,
    ) -> None:
        """Say where the server is and who asks; nothing is sent yet.

        Args:
            api_key: the key, or a function that returns it; where there is none, the token in the file that
                MISTRAL_SA_TOKEN_PATH names, or MISTRAL_API_KEY.
            server: ``"global"``, ``"eu"`` or ``"us"``: one of Mistral's own.
            url_params: what is filled in for names in braces in `server_url`.
            server_url: the server's address, such as ``http://127.0.0.1:8100``.
            client: the HTTP client of the sync methods; it is not closed here.
            async_client: that of the async methods, likewise.
            retry_config: whether requests are sent again, where a call does not say.
            timeout_ms: the longest wait for the connection and for each piece of an answer; 5 minutes.
            debug_logger: is told of each request, and of the status of its answer.
        """
        self.connection = Connection(
            api_key=api_key, base=base_url(server, server_url, url_params), client=client, async_client=async_client,
            retries=retry_config, timeout_ms=timeout_ms, log=debug_logger,
        )  # fmt: skip
        self.beta = Beta(self.connection)
        self.models = Models(self.connection)
        self.classifiers = Classifiers(self.connection)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections of the sync methods."""
        self.connection.close()

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections of the async methods in this loop."""
        await self.connection.close_async()
