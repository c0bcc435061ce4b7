"""Commands to one order (entity id = order id). DOMAIN, Order life and Payment."""

from domain.geo import Position
from domain.message import Command, Value

__all__ = [
    "BY_CUSTOMER",
    "Address",
    "Cancel",
    "CloseParked",
    "ConfirmClaim",
    "ConfirmLock",
    "Customer",
    "Get",
    "Place",
    "PlaceLine",
    "RecordDelivered",
    "RecordFailed",
    "RecordGroup",
    "RecordPayment",
    "RecordPicked",
    "RecordProgress",
    "RecordRejected",
    "RecordReturned",
    "RefundLines",
    "RefundUnits",
    "Reroute",
    "ResolveFlag",
    "RetryRefund",
    "StartPayment",
]  # fmt: skip


class Customer(Value):
    """Who ordered. The phone is E.164; pages show only its ending."""

    customer_id: str
    name: str = ""
    phone: str = ""


class Address(Value):
    """Where to deliver."""

    position: Position
    text: str = ""


class PlaceLine(Value):
    """A wish for ``quantity`` units; duplicates of a SKU are added up before any check."""

    sku: str
    quantity: int


class Place(Command, tag="order.place.v1"):
    """Place an order. Reply: ``OrderView``.

    ``delivery`` is ``delivery`` (needs ``address``) or ``pickup`` (needs ``store_id``);
    ``payment`` is ``online`` or ``cod``. ``expected_total`` (minor units), when given, must equal
    the total, else ``wrong-total`` (a partial order may cost less). ``store_id`` with delivery
    restricts routing to that store.

    With ``campaign_id`` the order is for that campaign's SKU alone, at its price and from its
    quota, and paid online; in a group-buy ``group_id`` joins a group, without one a new group is
    opened.
    """

    channel: str
    customer: Customer
    lines: tuple[PlaceLine, ...]
    currency: str
    delivery: str = "delivery"
    address: Address | None = None
    payment: str = "online"
    store_id: str = ""
    partial_ok: bool = False
    expected_total: int | None = None
    note: str = ""
    campaign_id: str = ""
    group_id: str = ""


class StartPayment(Command, tag="order.start_payment.v1"):
    """Open a payment at a provider. Reply: ``PaymentView``. The provider is called afterwards."""

    payment_id: str
    provider: str


class RecordPayment(Command, tag="order.record_payment.v1"):
    """What a provider says of a payment (webhook or query): repeated, late and out of order.

    ``status`` is ``pending | authorised | captured | failed | expired | unknown``. What is
    authorised and still wanted is captured. ``amount``/``currency`` as the provider states them; a
    mismatch is refused and flagged. Reply: ``OrderView``.
    """

    payment_id: str
    provider: str
    provider_reference: str
    status: str
    amount: int
    currency: str
    event_id: str = ""


BY_CUSTOMER = "customer"
"""Who cancels when a channel does so for its customer."""


class Cancel(Command, tag="order.cancel.v1"):
    """Cancel the whole order. Before picking: at once. Later the stores are asked. Reply:
    ``OrderView`` (state ``cancelled``, or ``cancelling`` while a store must confirm)."""

    reason: str
    by: str = BY_CUSTOMER
    """``customer | ops:<who>``."""


class ConfirmLock(Command, tag="order.confirm_lock.v1"):
    """The stock asks whether an expired lock is still wanted. Reply: True keeps it."""

    fulfilment_id: str
    store_id: str


class ConfirmClaim(Command, tag="order.confirm_claim.v1"):
    """A campaign asks whether an overdue claim is still wanted. Reply: True keeps it."""

    claim_id: str
    campaign_id: str


class RecordGroup(Command, tag="order.record_group.v1"):
    """From a campaign: the order's group has ``formed`` (its goods go to their store; what was paid
    beyond ``price`` goes back) or ``failed`` (everything goes back), or, told to an order that had
    not paid by then, its seat is ``void``."""

    campaign_id: str
    claim_id: str
    group_id: str
    outcome: str
    price: int
    reason: str
    at: float
    store_id: str = ""
    """The store that has its units, if that was left open until the group formed."""


class RecordProgress(Command, tag="order.record_progress.v1"):
    """From the store or dispatch. ``state``: ``accepted | picking | ready | rider_assigned |
    at_store | picked_up | at_customer | collected``; older than what is known is ignored.
    ``uncollected``: nobody came for it in time."""

    fulfilment_id: str
    state: str
    at: float
    rider_id: str = ""


class RecordPicked(Command, tag="order.record_picked.v1"):
    """From the store at ready: units really picked per line; fewer than ordered is a short."""

    fulfilment_id: str
    store_id: str
    picked: tuple[tuple[str, int], ...]
    """(line_id, units) of every line of the fulfilment."""
    at: float
    reasons: tuple[tuple[str, str], ...] = ()
    """(line_id, why) of short lines: ``missing`` (also when nothing is said), missing and
    ``substitute_refused``, or on the shelf and ``unwanted``."""


class RecordRejected(Command, tag="order.record_rejected.v1"):
    """From the store: it will not (or did not in time) serve this. The next candidate is tried."""

    fulfilment_id: str
    store_id: str
    reason: str
    at: float
    reason_code: str | None = None
    """See ``domain.reasons``; None in what was stored before there were codes."""


class RecordDelivered(Command, tag="order.record_delivered.v1"):
    """From the rider (or the store at self-pickup): at the door, cash taken."""

    fulfilment_id: str
    at: float
    rider_id: str = ""
    cash: int = 0
    """Cash kept for this fulfilment (change already given), minor units."""


class RecordFailed(Command, tag="order.record_failed.v1"):
    """From the rider: not delivered (``refused | absent | damaged | address``); goods go back."""

    fulfilment_id: str
    at: float
    rider_id: str
    reason: str


class RecordReturned(Command, tag="order.record_returned.v1"):
    """From the store: goods are back (or were held back after a cancel) and checked.

    ``accepted`` False answers a cancel with *they already left*: the cancel is refused.
    ``damaged``: (line_id, units) that cannot be sold again.
    """

    fulfilment_id: str
    store_id: str
    at: float
    accepted: bool = True
    damaged: tuple[tuple[str, int], ...] = ()


class RefundUnits(Value):
    """Units of one line to refund."""

    line_id: str
    quantity: int


class RefundLines(Command, tag="order.refund_lines.v1"):
    """Operations refunds units without goods (refund-only), never restocks. Reply:
    ``OrderView``."""

    refund_id: str
    units: tuple[RefundUnits, ...]
    reason: str
    by: str


class Reroute(Command, tag="order.reroute.v1"):
    """Operations tries a parked fulfilment again, at ``store_id`` or anywhere."""

    fulfilment_id: str
    store_id: str
    by: str
    why: str


class CloseParked(Command, tag="order.close_parked.v1"):
    """Operations gives a parked fulfilment up: it is cancelled and refunded."""

    fulfilment_id: str
    by: str
    why: str


class ResolveFlag(Command, tag="order.resolve_flag.v1"):
    """Operations closes a flag: ``payment_id`` as in ``PaymentFlagged`` (a fulfilment's id for cash
    taken at the door). A difference of cash is booked as such. Reply: ``OrderView``."""

    payment_id: str
    by: str
    why: str


class RetryRefund(Command, tag="order.retry_refund.v1"):
    """Operations has a provider asked again for a refund it refused. Reply: ``OrderView``."""

    refund_id: str
    by: str
    why: str


class Get(Command, tag="order.get.v1"):
    """Read the order. Reply: ``OrderView``; refused with ``unknown-order``."""
