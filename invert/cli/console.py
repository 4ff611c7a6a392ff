"""The terminal: data to stdout, words and progress to stderr. The only module that imports rich.

Everything that comes from outside (file names, metadata, messages) is escaped before it is shown.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stylegan_core.files import display

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LINE_EVERY_SECONDS = 5.0  # progress as plain lines, where stderr is not a terminal


@dataclass
class Terminal:
    """Where a command speaks. quiet: only errors and data."""

    quiet: bool = False
    _console: Console | None = field(default=None, repr=False)

    @property
    def console(self) -> Console:
        """rich's console on stderr, made when first used."""
        if self._console is None:
            from rich.console import Console

            self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        return self._console

    def say(self, text: object, *, style: str = "") -> None:
        """A line of words; dropped when quiet."""
        if not self.quiet:
            self._print(text, style)

    def warn(self, text: object) -> None:
        """A line that matters but does not stop anything."""
        if not self.quiet:
            self._print(f"warning: {text}", "yellow")

    def fail(self, text: object) -> None:
        """A line about something that failed; shown even when quiet."""
        self._print(f"error: {text}", "red")

    def data(self, text: str) -> None:
        """Lines of results to stdout, each escaped when stdout is a terminal."""
        for line in text.splitlines():
            safe = display(line, max_length=10_000) if sys.stdout.isatty() else line.encode("utf-8", "backslashreplace").decode()
            print(safe, flush=True)

    def json(self, value: Any) -> None:
        """A JSON document to stdout (ASCII, so it is harmless and valid everywhere)."""
        print(json.dumps(value, indent=2, allow_nan=False), flush=True)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> None:
        """Rows as aligned columns on stdout. right: indices of columns that are aligned to the right."""
        cells = [list(headings), *([display(cell) for cell in row] for row in rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(headings))]
        for row in cells:
            parts = [cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in enumerate(zip(row, widths))]
            print("  ".join(parts).rstrip())

    @contextmanager
    def progress(self, what: str, total: float | None = None) -> Iterator[Bar]:
        """A bar with the time left on a terminal, a line now and then elsewhere, nothing when quiet."""
        if self.quiet:
            yield Bar()
        elif not self.console.is_terminal:
            yield Lines(self, what, total)
        else:
            with _rich_progress(self.console) as progress:
                yield RichBar(progress, progress.add_task(_escape(what), total=total, note=""))

    def _print(self, text: object, style: str) -> None:
        from rich.text import Text

        self.console.print(Text(display(text, max_length=2000), style=style))


class Bar:
    """Progress that shows nothing."""

    def update(self, done: float, *, total: float | None = None, note: str = "", what: str | None = None) -> None:
        """done of total units; note: the newest figures; what: a new heading."""


class Lines(Bar):
    """Progress as lines of text, for logs."""

    def __init__(self, terminal: Terminal, what: str, total: float | None):
        self.terminal, self.what, self.total = terminal, what, total
        self.next_line = time.monotonic() + 1.0
        self.first: tuple[float, float] | None = None  # when the first update came, and what was done by then

    def update(self, done: float, *, total: float | None = None, note: str = "", what: str | None = None) -> None:
        self.total, self.what = total or self.total, what or self.what
        now = time.monotonic()
        self.first = self.first or (now, done)
        if now < self.next_line:
            return
        self.next_line = now + LINE_EVERY_SECONDS
        words = [f"{self.what}:"]
        if self.total:
            words.append(f"{100 * done / self.total:.0f} %,")
            started, before = self.first
            if before < done < self.total:
                words.append(f"about {duration((now - started) * (self.total - done) / (done - before))} left,")
        self.terminal.say(" ".join([*words, note]).rstrip(", "))


class RichBar(Bar):
    """A live bar."""

    def __init__(self, progress: Progress, task: TaskID):
        self.rich, self.task = progress, task

    def update(self, done: float, *, total: float | None = None, note: str = "", what: str | None = None) -> None:
        changes: dict[str, Any] = {"completed": done, "note": _escape(note)}
        if total is not None:
            changes["total"] = total
        if what is not None:
            changes["description"] = _escape(what)
        self.rich.update(self.task, **changes)


def duration(seconds: float) -> str:
    """'8 s', '3 min 20 s', '2 h 5 min'."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(num_bytes: int | None) -> str:
    """'5.6 MB'; 'unknown' for None."""
    if num_bytes is None:
        return "unknown"
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:.3g} {unit}"
    return f"{num_bytes} bytes"


def _rich_progress(console: Console) -> Progress:
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(display(text, max_length=60))
