"""What is wrong now, and beside each anomaly the HTTP calls that mend it (DOMAIN, Operations)."""

from collections import OrderedDict
from typing import Any, TypeAlias

from msgspec import Struct, field

__all__ = ["Anomalies", "Anomaly", "Facts", "Remedy"]

Facts: TypeAlias = dict[str, int | str | list[str]]
"""What an anomaly's text tells, by name: the pages put it into words of the reader's language (see
``web/src/monitor/facts.ts`` and ``web/src/shared/words.ts``). Amounts are minor units of
``currency``; reasons are stable codes where there are any, else the words of whoever gave them."""

LASTING_MAX = 500
"""Anomalies that no later event may ever clear are kept up to so many, the newest."""


class Remedy(Struct, frozen=True, gc=False):
    """One HTTP call, with an ``Idempotency-Key``. None in ``body`` is for the person to fill in."""

    name: str
    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    """Members of the body that a person may give; the call works without."""


class Anomaly(Struct, frozen=True, gc=False):
    """One thing that is wrong. ``code`` is stable; ``ids`` name what it is about; ``since`` is in
    epoch seconds of service time."""

    code: str
    key: str
    ids: dict[str, str]
    since: float
    detail: str
    remedies: tuple[Remedy, ...] = ()
    facts: Facts = field(default_factory=dict)


class Anomalies:
    """Raised and cleared by what happens; each is told of once as long as it lasts."""

    def __init__(self) -> None:
        self._known: dict[str, Anomaly] = {}
        self._about: dict[str, set[str]] = {}
        self._lasting: OrderedDict[str, None] = OrderedDict()
        """Keys that nobody owns, the oldest first. Beside ten thousand owned ones they are bounded
        without a look at those."""
        self.dirty: set[str] = set()
        """Keys that were raised, changed or cleared since somebody emptied this set."""

    def __len__(self) -> int:
        return len(self._known)

    def raise_(
        self,
        code: str,
        about: str,
        since: float,
        detail: str,
        remedies: tuple[Remedy, ...] = (),
        owner: str = "",
        facts: Facts | None = None,
        **ids: str,
    ) -> None:
        """Something is wrong with ``about``. ``owner`` (an order) takes it away when it ends. What
        is known already keeps its time, and tells what is wrong now."""
        key = f"{code}:{about}"
        known = self._known.get(key)
        if known is not None:
            since = known.since
        anomaly = Anomaly(code, key, ids, since, detail, remedies, facts or {})
        if known == anomaly:
            return
        self._known[key] = anomaly
        self.dirty.add(key)
        if owner:
            self._about.setdefault(owner, set()).add(key)
            self._lasting.pop(key, None)
        elif known is None:
            self._lasting[key] = None
            if len(self._lasting) > LASTING_MAX:
                self._remove(next(iter(self._lasting)))

    def clear(self, code: str, about: str) -> None:
        """It is mended; unknown ones are ignored."""
        self._remove(f"{code}:{about}")

    def clear_owner(self, owner: str) -> None:
        """Everything raised for this owner is over."""
        for key in self._about.pop(owner, ()):
            self._remove(key)

    def get(self, key: str) -> Anomaly | None:
        """The anomaly with this key, while it lasts."""
        return self._known.get(key)

    def all(self) -> list[Anomaly]:
        """Oldest first."""
        return sorted(self._known.values(), key=lambda anomaly: anomaly.since)

    def counts(self) -> dict[str, int]:
        """How many of each code."""
        counts: dict[str, int] = {}
        for anomaly in self._known.values():
            counts[anomaly.code] = counts.get(anomaly.code, 0) + 1
        return counts

    def _remove(self, key: str) -> None:
        if self._known.pop(key, None) is not None:
            self._lasting.pop(key, None)
            self.dirty.add(key)
