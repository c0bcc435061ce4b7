"""What a rider's entity answers to whoever asks."""

from msgspec import Struct

from domain.geo import Position
from domain.rider.commands import Offer, OfferedParcel
from domain.rider.state import Carried, State, headroom

__all__ = ["ParcelView", "RiderView", "view"]


class ParcelView(Struct, frozen=True, array_like=True, gc=False):
    """One parcel of the run. ``parcel.cash_due`` is what was agreed; ``cash_due`` what to collect
    now."""

    parcel: OfferedParcel
    state: str
    cash_due: int
    changed_at: float
    reason: str = ""


class RiderView(Struct, frozen=True, array_like=True, tag="rider.view.v1", gc=False):
    """A rider. ``state``: ``off | free | offered | engaged``. Money in minor units of ``currency``;
    times in epoch seconds. ``stops``: (``pick_up | drop_off | return``, parcel id) in order."""

    rider_id: str
    state: str
    dispatch_zone: str = ""
    vehicle: str = ""
    capacity: int = 0
    position: Position | None = None
    moved_at: float = 0.0
    shift_started_at: float | None = None
    shift_ends_at: float | None = None
    offer: Offer | None = None
    parcels: tuple[ParcelView, ...] = ()
    stops: tuple[tuple[str, str], ...] = ()
    cash_held: int = 0
    cash_limit: int = 0
    cash_headroom: int = 0
    currency: str = ""


def view(state: State, rider_id: str) -> RiderView:
    """The rider now."""
    shift = state.shift
    return RiderView(
        rider_id=rider_id,
        state=_standing(state),
        dispatch_zone=shift.dispatch_zone if shift else "",
        vehicle=shift.vehicle if shift else "",
        capacity=shift.capacity if shift else 0,
        position=state.position,
        moved_at=state.moved_at,
        shift_started_at=shift.started_at if shift else None,
        shift_ends_at=shift.ends_at if shift else None,
        offer=state.offer,
        parcels=tuple(_parcel(one) for one in state.parcels.values()),
        stops=tuple(state.stops),
        cash_held=state.cash,
        cash_limit=shift.cash_limit if shift else 0,
        cash_headroom=headroom(state),
        currency=state.currency,
    )


def _standing(state: State) -> str:
    if state.shift is None:
        return "off"
    if state.offer is not None:
        return "offered"
    return "engaged" if state.parcels else "free"


def _parcel(carried: Carried) -> ParcelView:
    return ParcelView(
        carried.parcel, carried.state, carried.cash_due, carried.changed_at, carried.reason
    )
