"""Lists that come page by page: each page knows how the next is asked for."""

from __future__ import annotations

from causerie.types.agents import AgentListPage

from .carrier import Carrier
from .request import Call


class Page:
    """One page of a list, and the way to the next.

    Attributes:
        result: the page.
    """

    def __init__(self, connection: Carrier, asked: Call[AgentListPage], result: AgentListPage) -> None:
        """Take a page, and what was asked for it."""
        self.result = result
        self._connection, self._asked = connection, asked

    def next(self) -> Page | None:
        """Return the page that comes next; None where this is the last."""
        if not self.result.next_page_token:
            return None
        following = self._asked.behind(self.result.next_page_token)
        return Page(self._connection, following, self._connection.run(following))


class PageAsync:
    """One page of a list, and the way to the next, which is awaited.

    Attributes:
        result: the page.
    """

    def __init__(self, connection: Carrier, asked: Call[AgentListPage], result: AgentListPage) -> None:
        """Take a page, and what was asked for it."""
        self.result = result
        self._connection, self._asked = connection, asked

    async def next(self) -> PageAsync | None:
        """Return the page that comes next; None where this is the last."""
        if not self.result.next_page_token:
            return None
        following = self._asked.behind(self.result.next_page_token)
        return PageAsync(self._connection, following, await self._connection.run_async(following))
