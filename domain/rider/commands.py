"""Commands to one rider (entity id = rider id): shift, position, offers, run, cash, inbox."""

from domain import inbox
from domain.geo import Position
from domain.message import Command, Value

__all__ = [
    "AcceptOffer",
    "AcknowledgeInbox",
    "ArriveAtCustomer",
    "ArriveAtStore",
    "CancelParcel",
    "DeclineOffer",
    "Deliver",
    "EndShift",
    "Fail",
    "FinishReturn",
    "GetRider",
    "GetSnapshot",
    "MoveTo",
    "Offer",
    "OfferedParcel",
    "PickUp",
    "ReadInbox",
    "RecordHandOver",
    "RegisterDevice",
    "Remit",
    "ReviseParcel",
    "StartShift",
    "Unassign",
    "WithdrawOffer",
]  # fmt: skip


class StartShift(Command, tag="rider.start_shift.v1"):
    """Come on shift in a dispatch zone. Reply of the rider's own commands: ``RiderView``."""

    LOOKED_UP = frozenset({"currencies"})

    dispatch_zone: str
    vehicle: str
    position: Position
    capacity: int = 3
    """Parcels at once."""
    cash_limit: int = 50_000
    """COD offers stop when cash held plus cash due would exceed this, minor units."""
    ends_at: float | None = None
    currencies: tuple[str, ...] = ()
    """Those of the zone's stores. Whoever still holds cash in another one remits first
    (``remit-first``); empty: not known."""


class EndShift(Command, tag="rider.end_shift.v1"):
    """Go off shift; refused while the run is not empty (``run-not-empty``)."""


class MoveTo(Command, tag="rider.move_to.v1"):
    """Where the rider is. Reply: None (positions come by the second)."""

    position: Position


class OfferedParcel(Value):
    """One parcel of an offer or run."""

    parcel_id: str
    """The fulfilment's id."""
    order_id: str
    store_id: str
    store_name: str
    pick_up: Position
    drop_off: Position
    address: str
    customer_name: str
    phone_ending: str
    ready_at: float
    due_at: float
    cash_due: int
    currency: str


class Offer(Command, tag="rider.offer.v1"):
    """From dispatch: a proposal. Refused with ``rider-unavailable`` when off shift or engaged."""

    offer_id: str
    dispatch_zone: str
    parcels: tuple[OfferedParcel, ...]
    expires_at: float
    distance_m: int
    pay: int


class WithdrawOffer(Command, tag="rider.withdraw_offer.v1"):
    """From dispatch: the offer is gone (cancelled order, expired)."""

    offer_id: str
    reason: str


class AcceptOffer(Command, tag="rider.accept_offer.v1"):
    """Take the offer; dispatch is asked (``offer-gone`` if it is no longer this rider's)."""

    offer_id: str


class DeclineOffer(Command, tag="rider.decline_offer.v1"):
    """Not this one."""

    offer_id: str
    reason: str = ""


class ArriveAtStore(Command, tag="rider.arrive_at_store.v1"):
    """At the counter of the parcel's store."""

    parcel_id: str


class PickUp(Command, tag="rider.pick_up.v1"):
    """Take the parcel; the store is asked to hand it over."""

    parcel_id: str


class RecordHandOver(Command, tag="rider.record_hand_over.v1"):
    """From the store: the goods were handed over. Refused with ``unknown-parcel`` when the parcel
    is not in this run: then the store takes the hand-over back."""

    parcel_id: str
    at: float = 0.0
    """When: a notice from before the rider took the parcel is refused."""


class ArriveAtCustomer(Command, tag="rider.arrive_at_customer.v1"):
    """At the door."""

    parcel_id: str


class Deliver(Command, tag="rider.deliver.v1"):
    """Handed to the customer. ``cash_received - change`` must equal the parcel's cash due
    (``wrong-cash`` names the exact sum)."""

    parcel_id: str
    cash_received: int = 0
    change: int = 0


class Fail(Command, tag="rider.fail.v1"):
    """Not delivered (``refused | absent | damaged | address``); the parcel goes back."""

    parcel_id: str
    reason: str


class FinishReturn(Command, tag="rider.finish_return.v1"):
    """From the store: the failed parcel was received; it leaves the run."""

    parcel_id: str


class CancelParcel(Command, tag="rider.cancel_parcel.v1"):
    """From dispatch: a parcel not yet picked up was cancelled; it leaves the run."""

    parcel_id: str
    reason: str


class Unassign(Command, tag="rider.unassign.v1"):
    """Operations takes a not yet picked up parcel away, to be offered again."""

    parcel_id: str
    by: str
    why: str


class ReviseParcel(Command, tag="rider.revise_parcel.v1"):
    """From dispatch: the exact cash to collect changed; ignored once it was collected."""

    parcel_id: str
    cash_due: int
    at: float = 0.0
    """When the store decided so; an older revision is ignored."""


class Remit(Command, tag="rider.remit.v1"):
    """Cash handed in to a cashier. What is missing or over needs a ``reason``, is recorded as a
    difference document, and the rider's debt is closed.

    With ``dispatch_zone`` (that of the cashier's store) only a rider who works there, or did last,
    is meant; ``foreign-resource`` otherwise. With ``owed`` (what the cashier saw as owed, minor
    units) nothing is booked once another sum is owed; ``owed-changed``."""

    LOOKED_UP = frozenset({"dispatch_zone"})

    remittance_id: str
    amount: int
    received_by: str
    reason: str = ""
    dispatch_zone: str = ""
    owed: int | None = None


class RegisterDevice(inbox.RegisterDevice, tag="rider.register_device.v1"):
    """A phone (re)connects."""


class AcknowledgeInbox(inbox.AcknowledgeInbox, tag="rider.acknowledge_inbox.v1"):
    """A phone has stored messages."""


class ReadInbox(inbox.ReadInbox, tag="rider.read_inbox.v1"):
    """Read messages."""


class GetSnapshot(inbox.GetSnapshot, tag="rider.get_snapshot.v1"):
    """What is open."""


class GetRider(Command, tag="rider.get_rider.v1"):
    """Shift, offer, run and cash. Reply: ``RiderView``."""
