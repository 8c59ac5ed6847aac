"""The screen for terminals: answers rendered as Markdown while they are written, thinking and asides dimmed.

What cannot change any more is printed for good; only the block that is being written is drawn again. So nothing
flickers, and what has scrolled away can be scrolled back to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.segment import Segment
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from .blocks import Blocks
from .words import Row, clean

_THOUGHT = "dim italic"
_LONG = 100
_PER_SECOND = 12


class RichScreen:
    """A terminal; errors go to its standard error."""

    def __init__(self) -> None:
        """Show on standard output."""
        self._console = Console(highlight=False, emoji=False, markup=False)
        self._errors = Console(highlight=False, emoji=False, markup=False, stderr=True)
        self._blocks = Blocks()
        self._thinks = False
        self._live: Live | None = None
        self._first = True

    def begin(self) -> None:
        """See `Screen`."""
        self._first = True
        self._draw(Spinner("dots", style="dim"))

    def text(self, piece: str) -> None:
        """See `Screen`."""
        self._piece(piece, thinks=False)

    def thought(self, piece: str) -> None:
        """See `Screen`."""
        self._piece(piece, thinks=True)

    def did(self, line: str) -> None:
        """See `Screen`."""
        self._settle()
        self._print(Text(f"● {clean(line)}", style="cyan", overflow="ellipsis", no_wrap=True))

    def end(self) -> None:
        """See `Screen`."""
        self._settle()
        if self._live is not None:
            self._live.update(Text(""))
            self._live.stop()
            self._live = None

    def note(self, line: str) -> None:
        """See `Screen`."""
        self._console.print(Text(clean(line), style="dim"))

    def error(self, line: str) -> None:
        """See `Screen`."""
        self._errors.print(Text.assemble(("error: ", "bold red"), clean(line)))

    def rows(self, rows: Sequence[Row]) -> None:
        """See `Screen`."""
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="right", style="bold", no_wrap=True)
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
        for one in rows:
            table.add_row(*(Text(clean(cell)) for cell in one))
        self._console.print(table)

    def _piece(self, piece: str, *, thinks: bool) -> None:
        if thinks is not self._thinks:
            self._settle()
            self._thinks = thinks
        for block in self._blocks.feed(clean(piece)):
            self._print(self._rendered(block))
        if self._blocks.rest.strip():
            self._draw(self._spaced(_Tail(self._rendered, self._blocks.rest)))

    def _settle(self) -> None:
        """Print what is being written as it is, for good."""
        rest = self._blocks.close()
        if rest.strip():
            self._print(self._rendered(rest))

    def _print(self, thing: RenderableType) -> None:
        with self._console:  # one write: what was drawn goes, and what takes its place comes
            if self._live is not None:
                self._live.update(Text(""), refresh=True)
            self._console.print(self._spaced(thing))
        self._first = False

    def _draw(self, thing: RenderableType) -> None:
        if self._live is None:
            self._live = Live(thing, console=self._console, refresh_per_second=_PER_SECOND, transient=True,
                              redirect_stdout=False, redirect_stderr=False)  # fmt: skip
            self._live.start()
        else:
            self._live.update(thing)

    def _spaced(self, thing: RenderableType) -> RenderableType:
        return thing if self._first else Padding(thing, (1, 0, 0, 0))

    def _rendered(self, text: str) -> RenderableType:
        return Text(text.strip(), style=_THOUGHT) if self._thinks else Markdown(text, hyperlinks=False)


class _Tail:
    """The end of a block, as far as the terminal has room: what is drawn again must not scroll."""

    def __init__(self, rendered: Callable[[str], RenderableType], text: str) -> None:
        self._rendered, self._text = rendered, text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._text.splitlines()
        # A very long block, which is code then, is not parsed twelve times a second.
        thing = Text("\n".join(lines[-options.max_height :])) if len(lines) > _LONG else self._rendered(self._text)
        drawn = console.render_lines(thing, options.update(height=None), pad=False)
        for line in drawn[-max(options.max_height - 2, 1) :]:
            yield from line
            yield Segment.line()
