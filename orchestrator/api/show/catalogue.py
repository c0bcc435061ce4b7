"""SKUs, stores and channels."""

from domain.catalogue import model
from domain.geo import Area as InternalArea
from domain.geo import Circle as InternalCircle
from orchestrator.models.catalogue import (
    Area,
    Channel,
    Circle,
    Cod,
    ComboPart,
    DeliveryZone,
    FreightTemplate,
    Polygon,
    Sku,
    Store,
)
from orchestrator.models.common import Position
from orchestrator.models.risk import SkuQueue

__all__ = ["show_channel", "show_sku", "show_store"]


def show_sku(sku: model.Sku) -> Sku:
    """A SKU."""
    return Sku(
        sku.sku, sku.name, sku.price, sku.barcode, sku.weight_g, sku.volume_ml, sku.handling,
        sku.owner, sku.group, [ComboPart(part.sku, part.quantity) for part in sku.components],
    )  # fmt: skip


def show_store(store: model.StoreProfile) -> Store:
    """A store's profile."""
    shown = {name: getattr(store, name) for name in Store.__struct_fields__}
    shown["position"] = Position(store.position.lat, store.position.lon)
    shown["zones"] = [
        DeliveryZone(zone.zone_id, zone.tier, _show_area(zone.area), zone.promise_s)
        for zone in store.zones
    ]
    freight = store.freight
    shown["freight"] = FreightTemplate(
        freight.base, freight.free_from, freight.per_km, freight.included_m
    )
    return Store(**shown)


def show_channel(policy: model.ChannelPolicy) -> Channel:
    """A channel's rules."""
    cod = policy.cod
    return Channel(
        policy.channel, policy.unpaid_s, policy.max_splits, policy.min_part_value,
        Cod(cod.limit, cod.refusals_max, cod.open_max, list(cod.zones_denied)),
        policy.parked_s, policy.quantity_max, policy.lines_max,
        [
            SkuQueue(
                sku=one.sku, per_s=one.rule.per_s, burst=one.rule.burst,
                valid_s=one.rule.valid_s, waiting_max=one.rule.waiting_max,
            )
            for one in policy.queues
        ],
        policy.challenge,
    )  # fmt: skip


def _show_area(area: InternalArea) -> Area:
    if isinstance(area, InternalCircle):
        return Circle(Position(area.centre.lat, area.centre.lon), area.radius_m)
    return Polygon([Position(corner.lat, corner.lon) for corner in area.corners])
