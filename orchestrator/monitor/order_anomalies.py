"""What goes wrong with orders, told beside the calls that mend it."""

from collections.abc import Callable
from urllib.parse import quote

from domain import order
from domain.order.state import Part
from domain.reasons import CASH_DIFFERENCE, parked_for
from orchestrator.monitor.anomalies import Anomalies, Facts, Remedy
from orchestrator.monitor.tracked import TrackedPart

__all__ = ["OrderAnomalies"]


class OrderAnomalies:
    """Raises and clears those of orders, fulfilments, payments and refunds."""

    def __init__(self, anomalies: Anomalies, zone_of: Callable[[str], str]) -> None:
        """``zone_of`` tells the dispatch zone of a store ("" when unknown)."""
        self._anomalies = anomalies
        self._zone_of = zone_of

    # Orders and fulfilments

    def stuck_order(self, order_id: str, state: str, since: float) -> None:
        """It has been in its state, which it entered at ``since``, for too long."""
        self._anomalies.raise_(
            "stuck-order", order_id, since, f"The order is {state} beyond its deadline.",
            (_cancel(order_id),), owner=order_id, order_id=order_id, state=state,
        )  # fmt: skip

    def order_moved(self, order_id: str) -> None:
        """It is stuck no more."""
        self._anomalies.clear("stuck-order", order_id)

    def order_ended(self, order_id: str) -> None:
        """Whatever was wrong is over, but for its money."""
        self._anomalies.clear_owner(order_id)

    def stuck_part(self, part: TrackedPart, state: str, since: float) -> None:
        """It has been in its state, which it entered at ``since``, for too long."""
        remedies: list[Remedy] = []
        zone_id = self._zone_of(part.store_id)
        if state == "ready" and part.rider_id:
            remedies.append(_unassign(part.rider_id, part.fulfilment_id))
        elif state == "ready" and zone_id:
            remedies.append(_reoffer(zone_id, part.fulfilment_id))
        remedies.append(_cancel(part.order_id))
        self._anomalies.raise_(
            "stuck-fulfilment", part.fulfilment_id, since,
            f"The fulfilment is {state} beyond its deadline.", tuple(remedies),
            owner=part.order_id, order_id=part.order_id, fulfilment_id=part.fulfilment_id,
            store_id=part.store_id, rider_id=part.rider_id, state=state,
        )  # fmt: skip

    def uncollected(self, part: TrackedPart, at: float) -> None:
        """Its customer has not come for it in time."""
        self._anomalies.raise_(
            "uncollected", part.fulfilment_id, at,
            "Nobody has collected the parcel in time. Call the customer; a cancel puts the goods"
            " back on the shelf once the store has confirmed it.",
            (_cancel(part.order_id),), owner=part.order_id, order_id=part.order_id,
            fulfilment_id=part.fulfilment_id, store_id=part.store_id,
        )  # fmt: skip

    def parked(
        self, order_id: str, fulfilment_id: str, parked: Part | order.FulfilmentParked, at: float
    ) -> None:
        """No store serves a fulfilment."""
        said, code, detail = parked_for(
            parked.reason, parked.reason_code, parked.why, parked.detail
        )
        words = f"{said}; {detail}" if detail else said
        path = f"/v1/orders/{order_id}/fulfilments/{fulfilment_id}"
        self._anomalies.raise_(
            "parked", fulfilment_id, at, f"No store serves it ({words}).",
            (
                Remedy(
                    "re-route", "POST", f"{path}/reroute", {"store_id": "", "why": None},
                    ("store_id",),
                ),
                Remedy("close", "POST", f"{path}/close", {"why": None}),
            ),
            owner=order_id, facts={"reason": code or said, "others": parked.why}, order_id=order_id,
            fulfilment_id=fulfilment_id,
        )  # fmt: skip

    def part_moved(self, fulfilment_id: str) -> None:
        """It is neither stuck nor parked nor uncollected any more."""
        for code in ("stuck-fulfilment", "parked", "uncollected"):
            self._anomalies.clear(code, fulfilment_id)

    # Money

    def flagged(
        self, order_id: str, payment_id: str, provider: str, currency: str, at: float, reason: str,
        cash: tuple[int, int] | None,
    ) -> None:  # fmt: skip
        """A payment does not match its order. ``cash``: what was taken and what was due at the
        door, if that is what differs."""
        self._anomalies.raise_(
            "payment-flagged", payment_id, at,
            f"The payment at {provider} does not match the order ({reason}).",
            (_resolve(order_id, payment_id),),
            facts={"provider": provider, **_flag_facts(reason, cash, currency)},
            order_id=order_id, payment_id=payment_id, provider=provider,
        )  # fmt: skip

    def flag_resolved(self, payment_id: str) -> None:
        """Somebody has dealt with it."""
        self._anomalies.clear("payment-flagged", payment_id)

    def refund_refused(self, order_id: str, refund_id: str, at: float, reason: str) -> None:
        """The provider keeps the customer's money."""
        path = f"/v1/orders/{order_id}/refunds/{quote(refund_id, safe='')}/retry"
        self._anomalies.raise_(
            "refund-refused", refund_id, at, f"The provider will not refund: {reason}.",
            (Remedy("refund", "POST", path, {"why": None}),),
            facts={"answer": reason}, order_id=order_id, refund_id=refund_id,
        )  # fmt: skip

    def refunded(self, order_id: str, event: order.RefundDone) -> None:
        """The provider has answered."""
        if event.refused:
            self.refund_refused(order_id, event.refund_id, event.at, event.refused)
        else:
            self._anomalies.clear("refund-refused", event.refund_id)

    def refund_retried(self, refund_id: str) -> None:
        """The provider is asked again."""
        self._anomalies.clear("refund-refused", refund_id)


def _flag_facts(reason: str, cash: tuple[int, int] | None, currency: str) -> Facts:
    if cash is None:
        return {"reason": reason}
    taken, due = cash
    return {"reason": CASH_DIFFERENCE, "taken": taken, "due": due, "currency": currency}


def _cancel(order_id: str) -> Remedy:
    return Remedy("cancel", "POST", f"/v1/orders/{order_id}/cancel", {"reason": None})


def _resolve(order_id: str, payment_id: str) -> Remedy:
    path = f"/v1/orders/{order_id}/flags/{quote(payment_id, safe='')}/resolve"
    return Remedy("resolve", "POST", path, {"why": None})


def _reoffer(zone_id: str, parcel_id: str) -> Remedy:
    path = f"/v1/dispatch/{quote(zone_id, safe='')}/parcels/{parcel_id}/reoffer"
    return Remedy("re-offer", "POST", path, {"why": None})


def _unassign(rider_id: str, parcel_id: str) -> Remedy:
    path = f"/v1/riders/{rider_id}/parcels/{parcel_id}/unassign"
    return Remedy("re-offer", "POST", path, {"why": None})
