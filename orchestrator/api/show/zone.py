"""A dispatch zone: what waits, who rides, what is offered."""

from collections.abc import Iterable

from domain.catalogue.model import StoreProfile
from domain.dispatch.views import OfferView, ParcelView, RiderView, ZoneView
from domain.wire import moment
from orchestrator.api.show.catalogue import show_store
from orchestrator.api.show.common import maybe_moment
from orchestrator.models.common import Position
from orchestrator.models.zone import (
    WorkArea,
    WorkStore,
    WorkZone,
    WorkZonePage,
    Zone,
    ZoneOffer,
    ZoneParcel,
    ZoneRider,
)

__all__ = ["show_work_zones", "show_zone"]


def show_work_zones(stores: Iterable[StoreProfile]) -> WorkZonePage:
    """The dispatch zones of these stores, those of inactive ones left out."""
    zones: dict[str, WorkZone] = {}
    for profile in sorted(stores, key=lambda one: one.store_id):
        if not profile.active or not profile.dispatch_zone:
            continue
        zone = zones.setdefault(
            profile.dispatch_zone,
            WorkZone(profile.dispatch_zone, profile.currency, profile.time_zone, []),
        )
        shown = show_store(profile)
        areas = [WorkArea(one.tier, one.area) for one in shown.zones]
        zone.stores.append(WorkStore(profile.store_id, profile.name, shown.position, areas))
    return WorkZonePage([zones[zone_id] for zone_id in sorted(zones)], None)


def show_zone(view: ZoneView) -> Zone:
    """A dispatch zone."""
    return Zone(
        view.zone_id,
        [_show_parcel(parcel) for parcel in view.parcels],
        [_show_rider(rider) for rider in view.riders],
        [_show_offer(offer) for offer in view.offers],
        maybe_moment(view.round_at),
    )


def _show_parcel(view: ParcelView) -> ZoneParcel:
    return ZoneParcel(
        view.parcel_id, view.order_id, view.store_id, view.phase, view.rider_id, view.offers,
        moment(view.added_at), view.ready, maybe_moment(view.ready_at), maybe_moment(view.due_at),
        view.cash_due, Position(view.pick_up.lat, view.pick_up.lon),
        Position(view.drop_off.lat, view.drop_off.lon), view.priority,
    )  # fmt: skip


def _show_rider(view: RiderView) -> ZoneRider:
    return ZoneRider(
        view.rider_id, view.state, view.vehicle, Position(view.position.lat, view.position.lon),
        moment(view.seen_at), list(view.parcels), view.cash_headroom,
    )  # fmt: skip


def _show_offer(view: OfferView) -> ZoneOffer:
    return ZoneOffer(
        view.offer_id, view.rider_id, list(view.parcel_ids), moment(view.expires_at), view.pay,
        view.distance_m,
    )  # fmt: skip
