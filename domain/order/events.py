"""Facts of one order. DOMAIN, Order life, Payment, Routing."""

from typing import ClassVar

from domain.message import Event, Value
from domain.order.commands import Address, Customer

__all__ = [
    "CancelRefused", "CancelRequested", "Cancelled", "CodConfirmed", "Completed", "FlagResolved",
    "Fulfilment", "FulfilmentCancelled", "FulfilmentDelivered", "FulfilmentFailed",
    "FulfilmentMoved", "FulfilmentParked", "FulfilmentPicked", "FulfilmentRerouted",
    "FulfilmentReturned", "FulfilmentUncollected", "Line", "Paid", "PaymentAuthorised",
    "PaymentFailed", "PaymentFlagged", "PaymentStarted", "Placed", "ProviderQueried", "RefundDone",
    "RefundLine", "RefundRequested", "RefundRetried", "Reinstated", "Reseated", "SeatConfirmed",
    "Unit",
]  # fmt: skip


class Unit(Value):
    """Stock of one line: ``quantity`` units of a component SKU per whole line."""

    sku: str
    quantity: int


class Line(Value):
    """One SKU at one frozen price. ``amount`` is what all its units cost after discounts."""

    line_id: str
    sku: str
    name: str
    quantity: int
    unit_price: int
    amount: int
    fulfilment_id: str
    stock: tuple[Unit, ...]
    barcode: str = ""
    weight_g: int = 0
    volume_ml: int = 0
    list_price: int = 0
    """What a unit costs without the campaign; 0: the same."""
    issuer: str = ""
    """Who bears the difference: ``platform | store``."""


class Fulfilment(Value):
    """One store's part of the order at placing. ``freight`` is its share, exact."""

    fulfilment_id: str
    store_id: str
    zone_id: str
    freight: int
    due_s: int
    """Promised seconds from payment (or confirmation) to the door."""
    accept_s: int
    prep_s: int
    campaign_id: str = ""
    """Its units come from this campaign's quota; empty: from a lock."""


class Placed(Event, tag="order.placed.v1"):
    """Priced, routed, locked."""

    order_id: str
    at: float
    channel: str
    customer: Customer
    currency: str
    delivery: str
    payment: str
    address: Address | None
    lines: tuple[Line, ...]
    fulfilments: tuple[Fulfilment, ...]
    goods: int
    freight: int
    total: int
    expires_at: float | None
    pickup_code: str = ""
    note: str = ""
    parked_s: float = 1800.0
    attempted: int = 0
    """Highest fulfilment number tried; later ones must be higher, so that no lock is mistaken."""
    bound: bool = False
    """The customer chose the store (self-pickup too): it is never routed elsewhere."""
    campaign_id: str = ""
    claim_id: str = ""
    """What the campaign knows the order's units (and seat) by."""
    group_id: str = ""
    heads_group: bool = False
    """Its customer opened the group."""


class CodConfirmed(Event, tag="order.cod_confirmed.v1"):
    """Cash on delivery was allowed by rule; the fulfilments go to their stores."""

    at: float


class PaymentStarted(Event, tag="order.payment_started.v1"):
    """A payment was opened at a provider, which is queried at ``query_at`` if it stays silent."""

    payment_id: str
    provider: str
    amount: int
    query_at: float
    at: float = 0.0


class ProviderQueried(Event, tag="order.provider_queried.v1"):
    """A silent payment was asked about; again at ``query_at`` (None: no more)."""

    payment_id: str
    query_at: float | None
    at: float = 0.0


class PaymentAuthorised(Event, tag="order.payment_authorised.v1"):
    """A provider holds the money for us and was asked to take it. If nothing is heard of it, it is
    asked what became of it at ``query_at`` (None: no more)."""

    payment_id: str
    query_at: float | None
    at: float


class Paid(Event, tag="order.paid.v1"):
    """A provider captured the order's money."""

    at: float
    payment_id: str
    provider: str
    provider_reference: str
    amount: int
    kept: bool = True
    """False: money for an order that cannot use it (late, second provider); refunded at once."""


class PaymentFailed(Event, tag="order.payment_failed.v1"):
    """A provider gave a payment up. One whose time ran out (``reason`` is ``EXPIRED``) can still be
    captured, by money that was under way, and so can one whose money was held: they are asked about
    like a silent one."""

    EXPIRED: ClassVar[str] = "expired"

    payment_id: str
    reason: str


class PaymentFlagged(Event, tag="order.payment_flagged.v1"):
    """A provider's amount or currency did not match: refused, an anomaly for operations. Money that
    was captured goes back whole. With provider ``cash``, ``payment_id`` is a fulfilment whose rider
    took another sum than was due."""

    payment_id: str
    provider: str
    amount: int
    currency: str
    reason: str
    at: float = 0.0
    provider_reference: str = ""
    refund_id: str = ""
    """What gives this sum back, should it be more than nothing: a payment may be flagged again, and
    still be captured as it should."""
    reason_code: str | None = None
    """See ``domain.reasons``; None in what was stored before there were codes."""
    due: int = 0
    """Of a ``cash-difference``: what was to be taken instead of ``amount``."""


class FlagResolved(Event, tag="order.flag_resolved.v1"):
    """Operations has looked at a flag (of a payment, or of a fulfilment's cash) and closed it."""

    payment_id: str
    by: str
    why: str
    at: float


class Reinstated(Event, tag="order.reinstated.v1"):
    """Paid after expiry, and the stock could be locked again."""

    at: float
    fulfilments: tuple[Fulfilment, ...]
    lines: tuple[Line, ...]
    claim_id: str = ""
    group_id: str = ""


class Reseated(Event, tag="order.reseated.v1"):
    """Paid, but the campaign no longer held its units: it has others now, maybe in another group,
    or from another store; the fulfilments replace those before."""

    at: float
    fulfilments: tuple[Fulfilment, ...]
    lines: tuple[Line, ...]
    claim_id: str
    group_id: str


class SeatConfirmed(Event, tag="order.seat_confirmed.v1"):
    """The campaign has sold the units for good (its group, if any, has formed): they go to their
    stores. ``cuts``: (line_id, amount) by which lines became cheaper than was paid."""

    at: float
    group_id: str = ""
    cuts: tuple[tuple[str, int], ...] = ()


class FulfilmentMoved(Event, tag="order.fulfilment_moved.v1"):
    """The fulfilment's state as its store, dispatch or rider reported it."""

    fulfilment_id: str
    state: str
    at: float
    rider_id: str = ""


class FulfilmentUncollected(Event, tag="order.fulfilment_uncollected.v1"):
    """It is ready, and nobody has collected it in time; it waits on."""

    fulfilment_id: str
    at: float


class FulfilmentPicked(Event, tag="order.fulfilment_picked.v1"):
    """Packed. ``short``: (line_id, units) that are not in it."""

    fulfilment_id: str
    at: float
    short: tuple[tuple[str, int], ...] = ()
    cash_due: int = 0
    reasons: tuple[tuple[str, str], ...] = ()
    """(line_id, why) of every line of ``short``: ``missing | substitute_refused | unwanted``; only
    the unwanted units were on the shelf."""


class FulfilmentRerouted(Event, tag="order.fulfilment_rerouted.v1"):
    """Another store serves it now, under a new fulfilment id (so that old notices are told apart);
    ``lines`` are the order's lines of the new fulfilment."""

    fulfilment_id: str
    to: Fulfilment
    lines: tuple[Line, ...]
    reason: str
    at: float
    reason_code: str | None = None
    """See ``domain.reasons``; None in what was stored before there were codes."""


class FulfilmentParked(Event, tag="order.fulfilment_parked.v1"):
    """No store left: waits for operations, auto-cancelled at ``until``. ``reason`` is what the
    last store said, with its ``reason_code``; ``detail`` why no other serves it, with its code
    ``why``. (Before there were codes, ``reason`` held the words of both.)"""

    fulfilment_id: str
    reason: str
    at: float
    until: float
    why: str = ""
    reason_code: str | None = None
    """See ``domain.reasons``; None in what was stored before there were codes."""
    detail: str = ""


class FulfilmentCancelled(Event, tag="order.fulfilment_cancelled.v1"):
    """This part will not be delivered."""

    fulfilment_id: str
    reason: str
    at: float


class FulfilmentDelivered(Event, tag="order.fulfilment_delivered.v1"):
    """At the door or collected; ``cash`` was taken by ``rider_id`` ("" = at the counter)."""

    fulfilment_id: str
    at: float
    rider_id: str
    cash: int


class FulfilmentFailed(Event, tag="order.fulfilment_failed.v1"):
    """Could not be delivered; on its way back (*returning*)."""

    fulfilment_id: str
    at: float
    reason: str
    rider_id: str = ""


class FulfilmentReturned(Event, tag="order.fulfilment_returned.v1"):
    """The goods are back at the store (*returned*)."""

    fulfilment_id: str
    at: float
    damaged: tuple[tuple[str, int], ...] = ()


class RefundLine(Value):
    """Units of a line in a refund, and exactly what they had cost. Without units: its price fell
    after it was paid."""

    line_id: str
    quantity: int
    amount: int


class RefundRequested(Event, tag="order.refund_requested.v1"):
    """Money owed back through the provider that took it. ``freight`` is the freight part;
    ``amount`` = sum of lines + freight (or a whole surplus payment with no lines)."""

    refund_id: str
    payment_id: str
    provider: str
    amount: int
    freight: int
    lines: tuple[RefundLine, ...]
    reason: str
    at: float
    freight_of: tuple[str, ...] = ()
    """The fulfilments whose freight is given back."""
    currency: str = ""
    """Empty: the order's (a flagged payment may have been captured in another)."""


class RefundDone(Event, tag="order.refund_done.v1"):
    """The provider has refunded (``refused`` non-empty: it will not, an anomaly)."""

    refund_id: str
    at: float
    refused: str = ""


class RefundRetried(Event, tag="order.refund_retried.v1"):
    """Operations asks a provider again for a refund that it would not make."""

    refund_id: str
    by: str
    why: str
    at: float


class CancelRequested(Event, tag="order.cancel_requested.v1"):
    """A store must say whether the goods could be held back."""

    by: str
    reason: str
    at: float
    fulfilment_ids: tuple[str, ...] = ()
    """Whose stores must answer."""


class CancelRefused(Event, tag="order.cancel_refused.v1"):
    """The goods had already left, all or some of them; what left goes on."""

    reason: str
    at: float


class Cancelled(Event, tag="order.cancelled.v1"):
    """The whole order is off; ``closed`` False -> state cancelled."""

    by: str
    reason: str
    at: float


class Completed(Event, tag="order.completed.v1"):
    """Every fulfilment is final and something was delivered; ``closed`` when nothing was (all
    returned)."""

    at: float
    closed: bool = False
