"""Riders: shift, offer, run and cash."""

from domain.rider.commands import Offer as InternalOffer
from domain.rider.commands import OfferedParcel
from domain.rider.views import RiderView
from domain.wire import moment
from orchestrator.api.show.common import maybe_moment, show_position
from orchestrator.models.common import Position
from orchestrator.models.rider import Offer, Parcel, Rider, RiderCash, RunParcel, Stop

__all__ = ["show_cash", "show_rider"]


def show_rider(view: RiderView) -> Rider:
    """A rider."""
    return Rider(
        rider_id=view.rider_id,
        state=view.state,
        dispatch_zone=view.dispatch_zone,
        vehicle=view.vehicle,
        capacity=view.capacity,
        position=show_position(view.position),
        moved_at=maybe_moment(view.moved_at),
        shift_started_at=maybe_moment(view.shift_started_at),
        shift_ends_at=maybe_moment(view.shift_ends_at),
        offer=None if view.offer is None else _show_offer(view.offer),
        parcels=[
            RunParcel(_show_parcel(one.parcel), one.state, one.cash_due,
                      maybe_moment(one.changed_at), one.reason)
            for one in view.parcels
        ],
        stops=[Stop(kind, parcel_id) for kind, parcel_id in view.stops],
        cash_held=view.cash_held,
        cash_limit=view.cash_limit,
        cash_headroom=view.cash_headroom,
        currency=view.currency,
    )  # fmt: skip


def show_cash(view: RiderView) -> RiderCash:
    """What whoever takes the cash may see: nothing of the run, which other stores' customers are
    in. Off shift the limit is 0."""
    return RiderCash(
        view.rider_id, view.state != "off", view.cash_held, view.cash_limit, view.currency
    )


def _show_parcel(parcel: OfferedParcel) -> Parcel:
    """A parcel."""
    return Parcel(
        parcel.parcel_id, parcel.order_id, parcel.store_id, parcel.store_name,
        Position(parcel.pick_up.lat, parcel.pick_up.lon),
        Position(parcel.drop_off.lat, parcel.drop_off.lon),
        parcel.address, parcel.customer_name, parcel.phone_ending,
        moment(parcel.ready_at), moment(parcel.due_at), parcel.cash_due, parcel.currency,
    )  # fmt: skip


def _show_offer(offer: InternalOffer) -> Offer:
    return Offer(
        offer.offer_id,
        [_show_parcel(parcel) for parcel in offer.parcels],
        moment(offer.expires_at),
        offer.distance_m,
        offer.pay,
    )
