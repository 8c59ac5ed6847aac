"""What a freshly started server says of itself: where it listens, who answers, and how to talk to it.

Text only; whoever starts the server prints it.
"""

from __future__ import annotations

from pathlib import Path

from causerie.settings import MEMORY, REHEARSAL, Settings

_TEXT = """
Causerie: the Conversations API on your own machine

{facts}

Talk to it with curl:

    curl -N {url}/v1/conversations -H 'Content-Type: application/json' \\
      -d '{{{json}"inputs": "Hello!", "stream": true}}'

or with the official SDK (pip install mistralai):

    from mistralai.client import Mistral
    client = Mistral(api_key="local", server_url="{url}")
    with client.beta.conversations.start_stream({python}inputs="Hello!") as events:
        for event in events:
            print(getattr(event.data, "content", ""), end="", flush=True)

Ctrl-C stops it.
"""


def banner(settings: Settings, url: str) -> str:
    """Return what to print once the server listens on `url`."""
    facts = [("url", url), *_answering(settings), ("data", _data(settings))]
    named = None if settings.default_model else next(iter(settings.models), "NAME")
    return _TEXT.format(
        facts="\n".join(f"    {name:<10}{value}" for name, value in facts),
        url=url,
        json=f'"model": "{named}", ' if named else "",
        python=f'model="{named}", ' if named else "",
    )


def _answering(settings: Settings) -> list[tuple[str, str]]:
    if settings.rehearses:
        script = f" that plays {settings.rehearsal_script}" if settings.rehearsal_script else ""
        return [("model", f"{REHEARSAL}: a stand-in{script}, without key or network; --upstream URL brings a real one")]
    servers = [("upstream", f"{server.url} ({name})") for name, server in settings.servers.items()]
    return [*servers, ("model", settings.default_model or "none by default: a request names its own")]


def _data(settings: Settings) -> str:
    return "in memory, gone when the server stops" if settings.data == MEMORY else str(Path(settings.data).absolute())
