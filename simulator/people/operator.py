"""Operations: looks at what is stuck and applies the remedy that stands beside it."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence

from orchestrator.client import ProblemError, Refusal, Unanswered, models
from simulator.day import Day

__all__ = ["Operator"]

LOOKS_EVERY_S = 120.0
LOOKS_EVERY_REAL_S_MIN = 1.0
BLANKS = {"why": "simulated operations", "reason": "simulated operations"}
"""What a person types where a remedy asks for something; an empty store id means any store."""
POLICY: Mapping[str, Sequence[str]] = {
    "parked": ("re-route", "re-route", "close"),
    "stuck-fulfilment": ("", "re-offer", *[""] * 8),
    "stuck-order": ("", "", "", "cancel"),
    "uncollected": ("", "cancel"),
    "cash-over-limits": ("", "", "cancel"),
}
"""By anomaly: the remedy at the first look, the second, … and round again; "" waits. A parcel just
offered anew needs time to be fetched. What is not listed mends itself (cash is handed in after the
run, tablets come back)."""


class Operator:
    """Watches the anomalies of the whole service for one day. ``work`` runs until cancelled."""

    def __init__(self, day: Day) -> None:
        self._day = day
        self._ops = day.client("ops", "simulator")
        self._mending = day.hasty("ops", "simulator")
        self._looks: Counter[str] = Counter()
        self.open_anomalies: list[models.Anomaly] = []
        """As last seen."""

    async def work(self) -> None:
        """Look, mend, look again."""
        while True:
            try:
                self.open_anomalies = await self.look()
                for anomaly in self.open_anomalies:
                    await self._mend(anomaly)
            except ProblemError as trouble:
                self._day.count(f"looks at the anomalies failed: {type(trouble).__name__}")
            pause_s = self._day.clock.real_s(LOOKS_EVERY_S)
            await asyncio.sleep(max(LOOKS_EVERY_REAL_S_MIN, pause_s))

    async def look(self) -> list[models.Anomaly]:
        """What is open now."""
        return (await self._ops.anomalies()).items

    async def _mend(self, anomaly: models.Anomaly) -> None:
        policy = POLICY.get(anomaly.code)
        if policy is None:
            return
        name = anomaly.key
        looked = self._looks[name]
        self._looks[name] += 1
        wanted = policy[looked % len(policy)]
        remedy = next((one for one in anomaly.remedies if one.name == wanted), None)
        if remedy is None:
            return
        given = {blank: BLANKS.get(blank, "") for blank in remedy.asks}
        key = f"{self._day.began_at:.0f}-{name}-{looked}"
        try:
            await self._mending.apply_remedy(remedy, key=key, **given)
        except Unanswered:
            return
        except Refusal as refusal:
            self._day.count(f"remedies refused: {refusal.code}")
            return
        self._day.count(f"remedies applied: {anomaly.code}")
