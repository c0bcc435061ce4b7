"""The order flow as it happens: one aggregate, kept current from the journals, O(log n) an event.

A consumer of the gateway's tail. Memory follows open orders. :meth:`Flow.document` is what
``GET /v1/monitor`` answers; :meth:`Flow.refresh` brings a topic's document up to date from what
changed alone.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from domain.catalogue.model import StoreProfile
from domain.payment import ProviderAnswer
from orchestrator.monitor.anomalies import Anomalies, Anomaly
from orchestrator.monitor.campaigns import Campaigns
from orchestrator.monitor.orders import OrderBook
from orchestrator.monitor.riders import Fleet
from orchestrator.monitor.risks import Risks
from orchestrator.monitor.section import Section
from orchestrator.monitor.shelves import Shelves
from orchestrator.monitor.stages import Stages
from orchestrator.monitor.stores import Counters
from orchestrator.monitor.strays import Strays
from orchestrator.monitor.zones import Zones
from orchestrator.push.document import time_text, without_absent
from orchestrator.push.patch import patch_between
from orchestrator.push.topics import Topic

__all__ = ["Flow", "show_anomaly"]

LAG_RECORDS_MAX = 5_000
"""A ledger so far behind the journals is an anomaly."""


class Flow:
    """Counts, rates, ages, positions, low stock and anomalies of the whole service."""

    def __init__(
        self,
        now: Callable[[], float],
        stores: Mapping[str, StoreProfile],
        *,
        only_gateway: bool = True,
        push: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        """``now``: service time. ``stores``: profiles, for names and positions. ``push``: figures
        of the sockets."""
        self._now = now
        self._profiles = stores
        self._push = push
        self._only_gateway = only_gateway
        self._since = now()
        self._counters: Counters | None = None
        self._strays: Strays | None = None
        self._ready = False
        self._whole = True
        self.reset()
        self.kinds: Sequence[str] = tuple(self._sections)

    # Consumer of the tail

    def reset(self) -> None:
        """Forget; states are loaded anew. What no state tells is kept: who is connected here, and
        which payments no order has."""
        self._ready = False
        self._whole = True
        self._since = self._now()
        self.anomalies = Anomalies()
        self.orders = OrderBook(self.anomalies, self._zone_of)
        self.fleet = Fleet(self.anomalies)
        self.zones = Zones(self.anomalies, self._currency_of)
        self.shelves = Shelves(self.anomalies)
        self.campaigns = Campaigns(self.anomalies)
        self.risks = Risks(self.anomalies)
        kept = self._counters
        self._counters = Counters(self.anomalies, only_gateway=self._only_gateway)
        if kept is not None:
            self._counters.connected_as(kept)
        told = self._strays
        self._strays = Strays(self.anomalies)
        if told is not None:
            self._strays.told_as(told)
        self._sections: dict[str, Section] = {
            "order": self.orders,
            "store": self.stores,
            "rider": self.fleet,
            "dispatch": self.zones,
            "inventory": self.shelves,
            "campaign": self.campaigns,
            "risk": self.risks,
        }

    def load(self, kind: str, entity: str, state: Any) -> None:
        """An entity's state as it is now."""
        self._sections[kind].load(entity, state, self._now())

    def loaded(self) -> None:
        """All states are in."""
        self.orders.loaded()
        self._ready = True

    def apply(self, kind: str, entity: str, event: Any, at: float) -> None:
        """One committed event."""
        self._sections[kind].apply(entity, event, at)

    # What the gateway tells

    @property
    def stores(self) -> Counters:
        """The stores' counters."""
        assert self._counters is not None
        return self._counters

    @property
    def ready(self) -> bool:
        """The states were loaded: figures are complete."""
        return self._ready

    def presence(self, owner: str, device_id: str, connected: bool) -> None:
        """A device's socket opened or closed (see ``push.hub.Presence``)."""
        kind, _, owner_id = owner.partition("/")
        if kind == "store":
            self.stores.presence(owner_id, device_id, connected, self._now())

    def payment(self, provider: str, event: ProviderAnswer, has_order: bool) -> None:
        """A provider told of captured or refunded money (see ``Desk.on_money``)."""
        assert self._strays is not None
        self._strays.heard(provider, event, has_order, self._now())

    def ledger_lag(self, lag: Mapping[str, int]) -> None:
        """Records that the ledger has not applied yet, per shard."""
        behind = sum(lag.values())
        if behind <= LAG_RECORDS_MAX:
            self.anomalies.clear("ledger-behind", "ledger")
            return
        worst = max(lag, key=lambda shard: lag[shard])
        self.anomalies.raise_(
            "ledger-behind", "ledger", self._now(),
            f"The ledger is {behind} records behind, most in {worst}. It catches up by itself; "
            "look at its database if this lasts.",
            facts={"behind": behind, "shard": worst}, shard=worst,
        )  # fmt: skip

    def advance(self) -> None:
        """Find what became late, stuck or silent by now."""
        now = self._now()
        self.orders.advance(now)
        self.stores.advance(now)
        self.risks.advance(now)

    # Documents

    def document(self) -> dict[str, Any]:
        """Everything, as JSON; a fresh one each time."""
        return {
            **self._figures(),
            "stores": {store_id: self._store(store_id) for store_id in self.stores.ids()},
            "riders": {rider_id: self._rider(rider_id) for rider_id in self.fleet.riders},
            "low_stock": dict(self.shelves.low),
            "anomalies": {one.key: show_anomaly(one) for one in self.anomalies.all()},
        }

    def refresh(self, topic: Topic) -> None:
        """Bring the topic up to date: what changed since the last call is compared, no more."""
        if self._whole or not topic.document:
            self._whole = False
            self._forget_changes()
            topic.publish(self.document())
            return
        document = topic.document
        figures = self._figures()
        patch = patch_between({key: document[key] for key in figures}, figures)
        document.update(figures)
        for section, dirty, show in (
            ("stores", self.stores.dirty, self._store),
            ("riders", self.fleet.dirty, self._rider),
            ("low_stock", self.shelves.dirty, self.shelves.low.get),
            ("anomalies", self.anomalies.dirty, self._anomaly),
        ):
            changes = _changes(document[section], dirty, show)
            if changes:
                patch[section] = changes
        self._forget_changes()
        topic.publish_patch(patch, document)

    def rest(self, topic: Topic) -> None:
        """Nobody watches the topic: keep neither its document nor what changes meanwhile."""
        topic.document = {}
        self._forget_changes()

    def _forget_changes(self) -> None:
        for dirty in (
            self.stores.dirty, self.fleet.dirty, self.shelves.dirty, self.anomalies.dirty,
        ):  # fmt: skip
            dirty.clear()

    def _figures(self) -> dict[str, Any]:
        now, book = self._now(), self.orders
        return {
            "at": time_text(now),
            "since": time_text(self._since),
            "ready": self._ready,
            "orders": {
                "open": len(book),
                "by_state": book.orders.counts(),
                "finished": dict(book.finished),
                "oldest": _oldest(book.orders, now),
            },
            "fulfilments": {
                "open": len(book.parts),
                "by_state": book.parts.counts(),
                "late": len(book.late),
                "oldest": _oldest(book.parts, now),
            },
            "per_second": book.rates.per_second(now),
            "funnel": dict(book.funnel),
            "fleet": self.fleet.counts(),
            "push": self._push(),
            "anomaly_counts": self.anomalies.counts(),
            "campaigns": self.campaigns.document(now),
        }

    def _store(self, store_id: str) -> dict[str, Any]:
        document = self.stores.document(store_id)
        profile = self._profiles.get(store_id)
        if profile is not None:
            document |= {
                "name": profile.name,
                "lat": profile.position.lat,
                "lon": profile.position.lon,
                "zone_id": profile.dispatch_zone,
                "capacity_per_slot": profile.capacity_per_slot,
            }
        return document

    def _rider(self, rider_id: str) -> dict[str, Any] | None:
        known = self.fleet.riders.get(rider_id)
        return None if known is None else known | {"run": dict(known["run"])}

    def _anomaly(self, key: str) -> dict[str, Any] | None:
        anomaly = self.anomalies.get(key)
        return None if anomaly is None else show_anomaly(anomaly)

    def _currency_of(self, zone_id: str) -> str:
        of_zone = (one for one in self._profiles.values() if one.dispatch_zone == zone_id)
        return next((one.currency for one in of_zone), "")

    def _zone_of(self, store_id: str) -> str:
        profile = self._profiles.get(store_id)
        return profile.dispatch_zone if profile is not None else ""


def show_anomaly(anomaly: Anomaly) -> dict[str, Any]:
    """An anomaly as JSON. ``asks`` names the members of a remedy's body that a person fills in,
    ``optional`` those that a person may give."""
    document: dict[str, Any] = without_absent(
        {
            "code": anomaly.code,
            "key": anomaly.key,
            "ids": {name: id for name, id in anomaly.ids.items() if id},
            "since": time_text(anomaly.since),
            "detail": anomaly.detail,
            "facts": anomaly.facts,
            "remedies": [
                {
                    "name": remedy.name,
                    "method": remedy.method,
                    "path": remedy.path,
                    "body": remedy.body,
                    "asks": [name for name, value in remedy.body.items() if value is None],
                    "optional": list(remedy.optional),
                }
                for remedy in anomaly.remedies
            ],
        }
    )
    return document


def _oldest(stages: Stages, now: float) -> dict[str, Any]:
    return {
        state: {
            "id": one.id,
            "since": time_text(one.since),
            "age_s": max(0, round(now - one.since)),
        }
        for state, one in stages.oldest().items()
    }


def _changes(
    shown: dict[str, Any], dirty: set[str], show: Callable[[str], dict[str, Any] | None]
) -> dict[str, Any]:
    """The patch of one section, which is brought up to date on the way."""
    changes: dict[str, Any] = {}
    for key in dirty:
        new = show(key)
        if new is None:
            if shown.pop(key, None) is not None:
                changes[key] = None
            continue
        old = shown.get(key)
        change = new if old is None else patch_between(old, new)
        shown[key] = new
        if change:
            changes[key] = change
    return changes
