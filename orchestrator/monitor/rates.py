"""How often things happen, over the last minute of service time."""

from collections import deque

__all__ = ["WINDOW_S", "Rates"]

WINDOW_S = 60


class Rates:
    """Counts per name in whole seconds; memory is bounded by names times :data:`WINDOW_S`."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, dict[str, int]]] = deque()
        self._totals: dict[str, int] = {}

    def add(self, name: str, at: float) -> None:
        """``name`` happened at ``at``. Slightly late news counts for the newest second."""
        second = int(at)
        if not self._seconds or second > self._seconds[-1][0]:
            self._seconds.append((second, {}))
            self._drop(second)
        counts = self._seconds[-1][1]
        counts[name] = counts.get(name, 0) + 1
        self._totals[name] = self._totals.get(name, 0) + 1

    def per_second(self, now: float) -> dict[str, float]:
        """Average per second over the window; names once seen stay, with 0."""
        self._drop(int(now))
        return {name: round(total / WINDOW_S, 3) for name, total in self._totals.items()}

    def _drop(self, second: int) -> None:
        while self._seconds and self._seconds[0][0] <= second - WINDOW_S:
            for name, number in self._seconds.popleft()[1].items():
                self._totals[name] -= number
