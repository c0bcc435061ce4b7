"""Customers whose orders were challenged or denied, as the monitor sees them."""

from collections import OrderedDict
from typing import Any
from urllib.parse import quote

from domain.risk.commands import Block
from domain.risk.events import BlockPut, Decided
from domain.risk.state import RiskState
from orchestrator.monitor.anomalies import Anomalies, Remedy

__all__ = ["LASTING_S", "Risks"]

LASTING_S = 3_600.0
"""A decision is shown so long after the last like it."""
SHOWN_MAX = 200
"""Most customers shown, the latest: an attack must not hide what else is wrong."""


class Risks:
    """One anomaly per customer and decision: ``risk-challenge`` or ``risk-deny``."""

    def __init__(self, anomalies: Anomalies) -> None:
        self._anomalies = anomalies
        self._last: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._devices: dict[tuple[str, str], str] = {}

    def load(self, entity: str, state: RiskState, now: float) -> None:
        """What is kept of a customer; blocks are no anomaly."""
        for one in state.decisions:
            if now - one.at < LASTING_S:
                event = Decided(one.decision, one.reasons, one.visit, one.at)
                self.apply(entity, event, one.at)

    def apply(self, entity: str, event: Any, at: float) -> None:
        """One event of risk."""
        if isinstance(event, BlockPut):
            self._blocked(event.block)
        if not isinstance(event, Decided):
            return
        customer_id = entity.partition(":")[2]
        key = (f"risk-{event.decision}", customer_id)
        self._last.pop(key, None)
        if len(self._last) >= SHOWN_MAX:
            self._forget(next(iter(self._last)))
        visit = event.visit
        self._last[key] = at
        self._devices[key] = visit.device_id
        self._anomalies.raise_(
            *key, at,
            f"Customer {customer_id} of {visit.channel}: {event.decision} for "
            f"{', '.join(event.reasons)}.",
            _remedies(customer_id, event),
            facts={"channel": visit.channel, "reasons": list(event.reasons)},
            customer_id=customer_id, channel=visit.channel, device_id=visit.device_id,
        )  # fmt: skip

    def advance(self, now: float) -> None:
        """Those that are long over are none any more."""
        while self._last:
            key = next(iter(self._last))
            if now - self._last[key] < LASTING_S:
                break
            self._forget(key)

    def _blocked(self, block: Block) -> None:
        """Whoever is behind it is dealt with."""
        for key, device_id in list(self._devices.items()):
            named = {"customer": key[1], "device": device_id}.get(block.kind)
            if named == block.value:
                self._forget(key)

    def _forget(self, key: tuple[str, str]) -> None:
        del self._last[key], self._devices[key]
        self._anomalies.clear(*key)


def _remedies(customer_id: str, event: Decided) -> tuple[Remedy, ...]:
    """Block whoever is behind it."""
    found = [_block("block-customer", "customer", customer_id)]
    if event.visit.device_id:
        found.append(_block("block-device", "device", event.visit.device_id))
    return tuple(found)


def _block(name: str, kind: str, value: str) -> Remedy:
    path = f"/v1/risk/blocks/{kind}/{quote(value, safe='')}"
    return Remedy(name, "PUT", path, {"why": None}, ("until",))
