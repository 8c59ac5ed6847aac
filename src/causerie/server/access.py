"""Who may come in. As long as no API keys exist, that is whoever is on this machine and not a web page (D13)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from causerie.engine.operations import LOCAL_WORKSPACE
from causerie.errors import Forbidden

_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]+))(?::\d*)?")


def workspace_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the workspace that a request belongs to.

    Raises:
        Forbidden: the request names this server by a name that is not loopback (DNS rebinding looks like that), or
            comes from a web page that is not of this machine.
    """
    for name, value in headers:
        if name == b"origin" and not _is_loopback(_authority(value.decode("latin-1"))):
            raise Forbidden(
                f"This server takes no requests from pages of '{value.decode('latin-1')}': it has no API keys, and "
                "whoever is on this machine may use it."
            )
        if name == b"host" and not _is_loopback(value.decode("latin-1")):
            raise Forbidden(
                f"This server answers to loopback names only, not to '{value.decode('latin-1')}': it has no API keys, "
                "so nothing else may reach it."
            )
    return LOCAL_WORKSPACE


def _authority(origin: str) -> str:
    return origin.partition("://")[2] or origin


@lru_cache(64)
def _is_loopback(host: str) -> bool:
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = (found["v6"] or found["name"]).lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
