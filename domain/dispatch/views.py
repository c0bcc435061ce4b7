"""What a dispatch zone answers to whoever asks."""

from msgspec import Struct

from domain.dispatch.state import State
from domain.geo import Position
from domain.rider.commands import OfferedParcel

__all__ = ["OfferConfirmed", "OfferView", "ParcelView", "RiderView", "ZoneView", "view"]


class OfferConfirmed(
    Struct, frozen=True, array_like=True, tag="dispatch.offer_confirmed.v1", gc=False
):
    """The parcels are this rider's; ``cash_due`` and ``ready_at`` as of now."""

    parcels: tuple[OfferedParcel, ...]


class ParcelView(Struct, frozen=True, array_like=True, gc=False):
    """One parcel; ``phase``: ``waiting | offered | assigned | picked_up``."""

    parcel_id: str
    order_id: str
    store_id: str
    phase: str
    rider_id: str
    offers: int
    added_at: float
    ready: bool
    ready_at: float
    due_at: float
    cash_due: int
    pick_up: Position
    drop_off: Position
    priority: bool = False


class RiderView(Struct, frozen=True, array_like=True, gc=False):
    """One rider; ``state``: ``free | offered | engaged | leaving``."""

    rider_id: str
    state: str
    vehicle: str
    position: Position
    seen_at: float
    parcels: tuple[str, ...]
    cash_headroom: int


class OfferView(Struct, frozen=True, array_like=True, gc=False):
    """One open offer; ``pay`` in minor units."""

    offer_id: str
    rider_id: str
    parcel_ids: tuple[str, ...]
    expires_at: float
    pay: int
    distance_m: int


class ZoneView(Struct, frozen=True, array_like=True, tag="dispatch.zone_view.v1", gc=False):
    """The zone now; the next round is at ``round_at`` (None: nothing to match)."""

    zone_id: str
    parcels: tuple[ParcelView, ...]
    riders: tuple[RiderView, ...]
    offers: tuple[OfferView, ...]
    round_at: float | None


def view(state: State, zone_id: str) -> ZoneView:
    """The zone now."""
    return ZoneView(
        zone_id,
        tuple(
            ParcelView(
                parcel_id,
                one.parcel.order_id,
                one.parcel.store_id,
                one.phase,
                one.rider_id,
                one.offers,
                one.added_at,
                one.ready,
                one.ready_at,
                one.parcel.due_at,
                one.cash_due,
                one.parcel.pick_up,
                one.parcel.drop_off,
                one.priority,
            )
            for parcel_id, one in state.parcels.items()
        ),
        tuple(
            RiderView(
                rider_id,
                _standing(one.leaving, one.offer_id, one.parcels),
                one.vehicle,
                one.position,
                one.seen_at,
                tuple(one.parcels),
                one.cash_headroom,
            )
            for rider_id, one in state.riders.items()
        ),
        tuple(
            OfferView(
                offer_id, one.rider_id, one.parcel_ids, one.expires_at, one.pay, one.distance_m
            )
            for offer_id, one in state.offers.items()
        ),
        state.round_at,
    )


def _standing(leaving: bool, offer_id: str, parcels: list[str]) -> str:
    if leaving:
        return "leaving"
    if offer_id:
        return "offered"
    return "engaged" if parcels else "free"
