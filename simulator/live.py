"""The live summary in the terminal while a day is lived; plain lines where there is no terminal."""

import asyncio
import sys
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

__all__ = ["LiveSummary", "Progress"]

PLAIN_EVERY_S = 5.0
"""Real seconds between plain lines."""
REFRESH_S = 0.5
RATE_WINDOW_S = 10.0


@dataclass(slots=True)
class Progress:
    """What a run tells while it goes on; :class:`LiveSummary` shows it, tests look at it."""

    step: str = "starting"
    done: int = 0
    total: int = 0
    """Of the present step; 0 when it cannot be counted."""
    service_now: float = 0.0
    speed: float = 1.0
    states: Counter[str] = field(default_factory=Counter)
    """Orders by their last known state."""
    placed: int = 0
    riders_on_shift: int = 0
    riders_busy: int = 0
    anomalies: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    first_delivered_real_s: float | None = None


class LiveSummary:
    """An async context: shows a :class:`Progress` until it is left.

    ``read`` returns the progress of the moment; ``addresses`` are lines such as
    ``API  http://…/docs``. The first lines appear at once.
    """

    def __init__(
        self,
        read: Callable[[], Progress],
        *,
        title: str = "Doorstep",
        addresses: Sequence[tuple[str, str]] = (),
        console: Console | None = None,
        real: Callable[[], float] = monotonic,
    ) -> None:
        self._read = read
        self._title = title
        self._addresses = addresses
        self._console = console or Console(file=sys.stdout)
        self._real = real
        self._began = real()
        self._rates: deque[tuple[float, int]] = deque()
        self._live: Live | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self.render(), console=self._console, auto_refresh=False)
            self._live.start(refresh=True)
        else:
            for name, address in self._addresses:
                self._console.print(f"{name}: {address}", soft_wrap=True)
            self._console.print(self.line(), soft_wrap=True)
        self._task = asyncio.create_task(self._refresh(), name="live-summary")
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._live is not None:
            self._live.update(self.render(), refresh=True)
            self._live.stop()
        else:
            self._console.print(self.line(), soft_wrap=True)

    def line(self) -> str:
        """The summary as one plain line."""
        progress = self._read()
        parts = [f"{self._real() - self._began:6.1f} s", progress.step]
        if progress.total:
            parts.append(f"{progress.done}/{progress.total}")
        parts += [f"{state} {count}" for state, count in sorted(progress.states.items())]
        parts.append(f"{self._rate(progress):.1f} orders/s")
        parts.append(f"riders {progress.riders_on_shift}, carrying {progress.riders_busy}")
        parts.append(f"anomalies {progress.anomalies}")
        if progress.first_delivered_real_s is not None:
            parts.append(f"first delivered after {progress.first_delivered_real_s:.1f} s")
        return " | ".join(parts)

    def render(self) -> RenderableType:
        """The summary as a page of the terminal."""
        progress = self._read()
        table = Table.grid(padding=(0, 3))
        table.add_row("[bold]" + self._title + "[/]", f"{self._real() - self._began:.0f} s")
        for name, address in self._addresses:
            table.add_row(name, f"[link={address}]{address}[/link]")
        step = f"{progress.step} {progress.done}/{progress.total}" if progress.total else ""
        table.add_row("step", step or progress.step)
        table.add_row("orders", f"{progress.placed:,} placed, {self._rate(progress):.1f}/s")
        for state, count in sorted(progress.states.items()):
            table.add_row(f"  {state}", f"{count:,}")
        table.add_row(
            "riders", f"{progress.riders_on_shift} on shift, {progress.riders_busy} carrying"
        )
        table.add_row("anomalies", str(progress.anomalies))
        first = progress.first_delivered_real_s
        table.add_row("first delivered", "not yet" if first is None else f"after {first:.1f} s")
        bar = ProgressBar(total=max(1, progress.total), completed=progress.done, width=48)
        return Group(table, bar)

    async def _refresh(self) -> None:
        last_line = self._real()
        while True:
            await asyncio.sleep(REFRESH_S)
            if self._live is not None:
                self._live.update(self.render(), refresh=True)
            elif self._real() - last_line >= PLAIN_EVERY_S:
                last_line = self._real()
                self._console.print(self.line(), soft_wrap=True)

    def _rate(self, progress: Progress) -> float:
        """Placed orders per real second over the last moments."""
        now = self._real()
        self._rates.append((now, progress.placed))
        while len(self._rates) > 1 and now - self._rates[0][0] > RATE_WINDOW_S:
            self._rates.popleft()
        since, placed = self._rates[0]
        return (progress.placed - placed) / (now - since) if now > since else 0.0
