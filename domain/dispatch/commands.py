"""Commands to one dispatch zone (entity id = dispatch zone id): parcels, riders, rounds."""

from domain.geo import Position
from domain.message import Command
from domain.rider.commands import OfferedParcel

__all__ = [
    "AddParcel",
    "ConfirmOffer",
    "DeclineOffer",
    "DropRider",
    "FinishParcel",
    "GetZone",
    "JoinRider",
    "MarkPickedUp",
    "MarkReady",
    "MoveRider",
    "ReofferParcel",
    "ReviseParcel",
    "WithdrawParcel",
]  # fmt: skip


class AddParcel(Command, tag="dispatch.add_parcel.v1"):
    """From the store at acceptance: a parcel will be ready at ``parcel.ready_at``."""

    parcel: OfferedParcel
    weight_g: int = 0


class MarkReady(Command, tag="dispatch.mark_ready.v1"):
    """From the store: packed."""

    parcel_id: str
    at: float


class ReviseParcel(Command, tag="dispatch.revise_parcel.v1"):
    """From the store: the cash to collect changed; passed on to an assigned rider."""

    parcel_id: str
    cash_due: int
    at: float = 0.0
    """When the store decided so; an older revision is ignored."""


class WithdrawParcel(Command, tag="dispatch.withdraw_parcel.v1"):
    """From the store: cancelled or rejected; open offers are withdrawn, runs shortened."""

    parcel_id: str
    reason: str


class JoinRider(Command, tag="dispatch.join_rider.v1"):
    """From the rider: on shift here."""

    rider_id: str
    vehicle: str
    position: Position
    capacity: int
    cash_headroom: int
    at: float = 0.0
    """When the shift started; orders late repeats."""


class MoveRider(Command, tag="dispatch.move_rider.v1"):
    """From the rider (a Tell): the latest position and room. ``at`` orders repeats."""

    rider_id: str
    position: Position
    cash_headroom: int
    at: float


class DropRider(Command, tag="dispatch.drop_rider.v1"):
    """From the rider: off shift, or about to be (no more offers; the run is brought to its end)."""

    rider_id: str
    at: float = 0.0


class ConfirmOffer(Command, tag="dispatch.confirm_offer.v1"):
    """The rider asks to take an offer. Reply: ``OfferConfirmed`` (its parcels, current cash);
    refused with ``offer-gone``. From now on these parcels are this rider's and nobody else's."""

    offer_id: str
    rider_id: str


class DeclineOffer(Command, tag="dispatch.decline_offer.v1"):
    """From the rider: declined or let pass (the next round goes on without them). Parcels that were
    confirmed but never taken wait again."""

    offer_id: str
    rider_id: str
    reason: str


class MarkPickedUp(Command, tag="dispatch.mark_picked_up.v1"):
    """From the rider: it can no longer be taken away."""

    parcel_id: str
    rider_id: str


class FinishParcel(Command, tag="dispatch.finish_parcel.v1"):
    """From the rider: ``delivered | failed | returned | unassigned`` (offered again)."""

    parcel_id: str
    rider_id: str
    outcome: str
    cash_headroom: int
    by: str = ""
    why: str = ""
    offer_id: str = ""
    """The offer by which the rider had it: an old notice never ends a new assignment."""


class ReofferParcel(Command, tag="dispatch.reoffer_parcel.v1"):
    """Operations: drop the open offer of a parcel and put it first in the next round, for every
    rider. Refused with ``unknown-parcel``, or ``wrong-state`` once a rider has it. Reply: None."""

    parcel_id: str
    by: str
    why: str


class GetZone(Command, tag="dispatch.get_zone.v1"):
    """Parcels, riders and open offers of the zone. Reply: ``ZoneView``."""
