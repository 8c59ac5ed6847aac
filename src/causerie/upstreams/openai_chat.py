"""Any server that speaks OpenAI's ``/chat/completions``: vLLM, llama.cpp, Ollama, LM Studio, Mistral, and so on.

This file does the I/O and names what can go wrong with it. What is sent is written in `chat_request`, what comes
back is read in `chat_answer`, and what a refusal means is decided in `trouble`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
from collections.abc import AsyncGenerator, Mapping

import aiohttp
import msgspec
from aiohttp.client_exceptions import ConnectionTimeoutError
from yarl import URL

from causerie.errors import SettingsError

from .base import Delta, ModelRequest
from .chat_answer import Answer, PlainAnswer, StreamedAnswer
from .chat_request import Dialect, request_body
from .opening import Opening
from .trouble import Trouble

# Below the five seconds after which uvicorn (so vLLM) drops an idle connection: it has to be us who drops it, or a
# request is now and then lost on a connection that is just being closed.
_IDLE = 4.0
_LARGE_BODY = 1 << 20
_LARGEST_ERROR = 1 << 16
_MODELS_TIMEOUT = 5.0
_OK = 200
_DRAIN = 0.2


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class OpenAIChat:
    """An upstream at a base URL such as ``http://127.0.0.1:8000/v1``. It belongs to the event loop that uses it."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None = None,
        *,
        dialect: Dialect = "openai",
        name: str | None = None,
        model_names: Mapping[str, str] | None = None,
        connect_timeout: float = 10.0,
        read_timeout: float = 300.0,
    ) -> None:
        """Say where it is; nothing is sent before the first request.

        Args:
            base_url: what comes before ``/chat/completions``.
            api_key: sent as a bearer token.
            dialect: which of the servers' differences to mind.
            name: what messages call it; its URL by default.
            model_names: the server's own name for a name that callers use; other names are passed on as they are.
            connect_timeout: seconds to wait for a connection.
            read_timeout: seconds of silence to bear, before the answer and within it.

        Raises:
            SettingsError: the URL or the key cannot be used.
        """
        url = _checked_url(base_url)
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise SettingsError(f"The API key for the upstream {name or url.host} has characters that cannot be sent.")
        self.name = name or str(url.with_query(None))
        self._chat_url = (url / "chat/completions").with_query(url.query)
        self._models_url = (url / "models").with_query(url.query)
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", "User-Agent": "causerie"}
        if api_key:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._dialect: Dialect = dialect
        self._model_names = dict(model_names or {})
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout, sock_read=read_timeout)
        self._read_timeout = read_timeout
        self._trouble = Trouble(self.name, api_key)
        self._session: aiohttp.ClientSession | None = None

    async def stream(self, request: ModelRequest) -> AsyncGenerator[list[Delta], None]:
        """Ask the model; yield what each read brought. The last delta says why it stopped.

        Raises:
            APIError: as the port says.
        """
        body = request_body(request, self._model_names.get(request.model, request.model), self._dialect)
        response = await self._post(body)
        try:
            answer = await self._reader(response, streamed=request.stream)
            opening = Opening(request.prefix)
            while not answer.done:
                data = await self._read(response, answer)
                deltas = opening.pass_on(answer.feed(data) if data else answer.close())
                if deltas:
                    yield deltas
                if answer.failure:
                    raise answer.failure
            await _drain(response)
        finally:
            # What was not read to its end is given up: the server sees the connection close, and can stop the model.
            response.close()

    async def models(self) -> list[str]:
        """Return the names of the models that can be asked for; only configured ones where the server does not say."""
        named: list[str] = []
        with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, RecursionError):
            timeout = aiohttp.ClientTimeout(total=_MODELS_TIMEOUT)
            request = self._open().get(self._models_url, headers=self._headers, timeout=timeout)
            async with request as response:
                if response.status == _OK:
                    body = await response.read()
                    named = [model.id for model in msgspec.json.decode(body, type=_Models).data]
        return list(dict.fromkeys([*self._model_names, *named]))

    async def close(self) -> None:
        """Let go of connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    async def _post(self, body: bytes) -> aiohttp.ClientResponse:
        # aiohttp warns of a large body in one piece; given as a file it goes out in many.
        data = body if len(body) <= _LARGE_BODY else io.BytesIO(body)
        try:
            # A redirect would send the prompt to somewhere that nobody configured.
            return await self._open().post(self._chat_url, data=data, headers=self._headers, allow_redirects=False)
        except ConnectionTimeoutError as error:
            raise self._trouble.unreachable("no connection within the time allowed") from error
        except TimeoutError as error:
            raise self._trouble.silent(self._read_timeout) from error
        except aiohttp.ClientResponseError as error:
            raise self._trouble.broken(error.message) from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._trouble.unreachable(str(error) or type(error).__name__) from error

    async def _reader(self, response: aiohttp.ClientResponse, *, streamed: bool) -> Answer:
        if response.status != _OK:
            raise self._trouble.status(response.status, response.headers, await _error_body(response))
        kind = response.headers.get("Content-Type", "").lower()
        if "text/event-stream" in kind or (not kind and streamed):
            return StreamedAnswer(self._trouble)
        if "json" in kind or not kind:
            return PlainAnswer(self._trouble)
        raise self._trouble.broken(f"it is {kind}, neither JSON nor an event stream; is the base URL right?")

    async def _read(self, response: aiohttp.ClientResponse, answer: Answer) -> bytes:
        try:
            return await response.content.readany()
        except TimeoutError as error:
            if answer.finished:
                return b""
            raise self._trouble.silent(self._read_timeout) from error
        except (aiohttp.ClientError, OSError) as error:
            if answer.finished:
                return b""
            raise self._trouble.broken(f"it broke off ({str(error) or type(error).__name__})") from error


async def _error_body(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        while len(body) < _LARGEST_ERROR and (data := await response.content.readany()):
            body += data
    return body


async def _drain(response: aiohttp.ClientResponse) -> None:
    # After "[DONE]" the end of the body is on its way. A connection that has seen it can be used again.
    with contextlib.suppress(aiohttp.ClientError, OSError):
        if not response.content.at_eof():
            async with asyncio.timeout(_DRAIN):
                while await response.content.readany():
                    pass
        response.release()


def _checked_url(text: str) -> URL:
    shown = re.sub(r"//[^/]*@", "//***@", text)
    try:
        url = URL(text.strip())
        url = url.with_path(url.path.rstrip("/"), keep_query=True) if url.path != "/" else url
    except ValueError as error:
        raise SettingsError(f"The upstream URL {shown} cannot be used.") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsError(f"The upstream URL {shown} must begin with http:// or https:// and name a host.")
    if url.user or url.password:
        raise SettingsError(f"The upstream URL {shown} holds a name or password; give it a key instead.")
    return url
