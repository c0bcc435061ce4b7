"""Stores as the monitor sees them: open tickets, pauses, and whether a tablet listens."""

from typing import Any

from msgspec import Struct, field

from domain import store
from domain.store.state import State
from orchestrator.monitor.anomalies import Anomalies, Remedy

__all__ = ["OFFLINE_S", "Counters"]

OFFLINE_S = 60.0
"""A store with open tickets that nobody hears from for so long is offline."""


class _Counter(Struct, gc=False):
    tickets: dict[str, str] = field(default_factory=dict)
    """Open fulfilments and their states."""
    devices: dict[str, None] = field(default_factory=dict)
    """Connected to this gateway."""
    paused: bool = False
    head: int = 0
    acked: int = 0
    heard_at: float = 0.0
    """The last sign of life of any device, or when the first open ticket came in, if later."""


class Counters:
    """Every store that ever had a ticket or a device."""

    def __init__(self, anomalies: Anomalies, *, only_gateway: bool) -> None:
        self._anomalies = anomalies
        self._only_gateway = only_gateway
        self._stores: dict[str, _Counter] = {}
        self.dirty: set[str] = set()
        """Ids of stores whose document changed since somebody emptied this set."""

    def ids(self) -> list[str]:
        """All known stores."""
        return list(self._stores)

    def load(self, store_id: str, state: State, now: float) -> None:
        """A store as it is now."""
        known = self._known(store_id)
        known.tickets = {key: ticket.state for key, ticket in state.tickets.items()}
        known.paused = state.paused
        known.head = state.inbox.head
        devices = state.inbox.devices.values()
        known.acked = max((device.acked for device in devices), default=0)
        known.heard_at = now

    def connected_as(self, before: "Counters") -> None:
        """Take over from ``before`` who is connected here."""
        for store_id, known in before._stores.items():
            if known.devices:
                self._known(store_id).devices = dict(known.devices)

    def apply(self, store_id: str, event: Any, at: float) -> None:
        """One event of a store."""
        known = self._known(store_id)
        match event:
            case store.Noted(messages):
                known.head = messages[-1].offset
            case store.DeviceAcknowledged(_, offset):
                known.acked = max(known.acked, offset)
                self._heard(store_id, known, event.at)
            case store.DeviceRegistered(_, _, after):
                known.acked = max(known.acked, after)
                self._heard(store_id, known, event.at)
            case store.TicketOpened():
                if not known.tickets:
                    known.heard_at = max(known.heard_at, event.at)
                known.tickets[event.ticket.fulfilment_id] = "new"
            case store.TicketMoved():
                if event.fulfilment_id in known.tickets:
                    known.tickets[event.fulfilment_id] = event.state
            case store.TicketClosed(fulfilment_id):
                known.tickets.pop(fulfilment_id, None)
            case store.StorePaused(paused):
                known.paused = paused

    def presence(self, store_id: str, device_id: str, connected: bool, now: float) -> None:
        """A device's socket at this gateway opened or closed."""
        known = self._known(store_id)
        if connected:
            known.devices[device_id] = None
        else:
            known.devices.pop(device_id, None)
        self._heard(store_id, known, now)

    def advance(self, now: float) -> None:
        """Find stores that work comes to and nobody listens at."""
        for store_id, known in self._stores.items():
            deaf = (
                bool(known.tickets)
                and not known.devices
                and (self._only_gateway or known.acked < known.head)
            )
            if not deaf:
                self._anomalies.clear("tablet-offline", store_id)
            elif now >= known.heard_at + OFFLINE_S:
                self._offline(store_id, known)

    def document(self, store_id: str) -> dict[str, Any]:
        """One store as JSON."""
        known = self._stores[store_id]
        states: dict[str, int] = {}
        for state in known.tickets.values():
            states[state] = states.get(state, 0) + 1
        document: dict[str, Any] = {
            "open": len(known.tickets),
            "by_state": states,
            "paused": known.paused,
            "unread": max(0, known.head - known.acked),
        }
        if self._only_gateway:  # else others may be connected elsewhere
            document["devices"] = len(known.devices)
        return document

    def _offline(self, store_id: str, known: _Counter) -> None:
        body = {"paused": True, "reason": "tablet offline"}
        self._anomalies.raise_(
            "tablet-offline", store_id, known.heard_at,
            f"{len(known.tickets)} open tickets and no tablet connected. Call the store.",
            (Remedy("pause", "POST", f"/v1/stores/{store_id}/pause", body, ("until",)),),
            facts={"tickets": len(known.tickets)}, store_id=store_id,
        )  # fmt: skip

    def _heard(self, store_id: str, known: _Counter, at: float) -> None:
        known.heard_at = max(known.heard_at, at)
        self._anomalies.clear("tablet-offline", store_id)

    def _known(self, store_id: str) -> _Counter:
        self.dirty.add(store_id)
        known = self._stores.get(store_id)
        if known is None:
            known = self._stores[store_id] = _Counter()
        return known
