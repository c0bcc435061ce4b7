"""What may be put into the catalogue, and what a SKU is made of."""

from collections.abc import Mapping
from math import isfinite
from typing import TypeAlias

from domain.bounds import (
    COUNT_MAX,
    DISTANCE_M_MAX,
    DURATION_S_MAX,
    MONEY_MAX,
    QUANTITY_MAX,
    VOLUME_ML_MAX,
    WEIGHT_G_MAX,
)
from domain.catalogue.commands import PutChannel, PutSku, PutStore
from domain.catalogue.events import ChannelPut, SkuPut, StorePut
from domain.catalogue.hours import is_time_zone
from domain.catalogue.model import ChannelPolicy, Freight, Sku, StoreProfile, Zone
from domain.errors import Refused
from domain.geo import Circle, Position
from domain.ids import ID_RULE, is_id, is_known_id
from domain.waiting.rules import check_rule

__all__ = [
    "COMPONENTS_MAX", "CORNERS_MAX", "HANDLINGS", "ZONES_MAX", "CatalogueCommand",
    "CatalogueEvent", "check_channel", "check_nesting", "check_sku", "check_store", "explode",
    "put",
]  # fmt: skip

HANDLINGS = ("normal", "fragile", "chilled", "oversize")
COMPONENTS_MAX = 50
QUEUES_MAX = 1_000
ZONES_MAX = 100
CORNERS_MAX = 1_000
RADIUS_M_MAX = 500_000.0

CatalogueCommand: TypeAlias = PutSku | PutStore | PutChannel
CatalogueEvent: TypeAlias = SkuPut | StorePut | ChannelPut
Content: TypeAlias = Sku | StoreProfile | ChannelPolicy


def explode(sku: Sku) -> tuple[tuple[str, int], ...]:
    """(SKU, units) that one unit draws from stock: itself, or the components of a combo; a
    component listed twice is added up."""
    if not sku.components:
        return ((sku.sku, 1),)
    units: dict[str, int] = {}
    for component in sku.components:
        units[component.sku] = units.get(component.sku, 0) + component.quantity
    return tuple(units.items())


def put(current: Content | None, entity_id: str, command: CatalogueCommand) -> list[CatalogueEvent]:
    """The event of a put, none when the content is the same. Raises ``Refused``: ``wrong-entity``
    when the command belongs to another entry, and the codes of the checks below."""
    event: CatalogueEvent
    content: Content
    match command:
        case PutSku(content):
            name, event = f"sku:{content.sku}", SkuPut(content)
            _right_entry(name, entity_id)
            check_sku(content)
        case PutStore(content):
            name, event = f"store:{content.store_id}", StorePut(content)
            _right_entry(name, entity_id)
            check_store(content)
        case PutChannel(content):
            name, event = f"channel:{content.channel}", ChannelPut(content)
            _right_entry(name, entity_id)
            check_channel(content)
    _check_new_ids(current, content)
    if isinstance(current, StoreProfile) and isinstance(content, StoreProfile):
        _same_currency(current, content)
    return [] if content == current else [event]


def check_nesting(put: Mapping[str, Sku], known: Mapping[str, Sku]) -> None:
    """Combos do not nest: refuses, with ``nested-combo``, a combo that is ``put`` and has a combo
    as a component, or is a component itself. ``put`` goes before what is ``known``.

    One entry of the catalogue does not see the others, so this is for whoever sees them all. What
    two put at the same moment may pass it; then nothing is sold of either, see
    ``actors.views.Views.stock_of``.
    """
    combos = [sku for sku in put.values() if sku.components]
    if not combos:
        return
    others = [sku for sku in known.values() if sku.components and sku.sku not in put]
    inside = {
        part.sku: sku.sku
        for sku in (*others, *combos)
        for part in sku.components
        if part.sku != sku.sku  # see check_sku
    }
    for combo in combos:
        for part in combo.components:
            inner = put.get(part.sku) or known.get(part.sku)
            if inner is not None and inner.components and inner is not combo:
                raise _nested(combo.sku, inner.sku)
        if combo.sku in inside:
            raise _nested(inside[combo.sku], combo.sku)


def _nested(outer: str, inner: str) -> Refused:
    return Refused(
        "nested-combo",
        f"{outer} would contain the combo {inner}: list the parts of {inner} in its place.",
        skus=[outer, inner],
    )


def check_sku(sku: Sku) -> None:
    """Raises ``Refused`` with ``invalid-sku`` and a text that names the field. That combos do not
    nest is not seen here: :func:`check_nesting`."""
    code = "invalid-sku"
    _need(is_known_id(sku.sku), code, f"The SKU needs an id of {ID_RULE}.")
    _need(0 <= sku.price <= MONEY_MAX, code, f"The price must be 0 to {MONEY_MAX}, in minor units.")
    _need(0 <= sku.weight_g <= WEIGHT_G_MAX, code, f"The weight must be 0 to {WEIGHT_G_MAX} g.")
    _need(0 <= sku.volume_ml <= VOLUME_ML_MAX, code, f"The volume must be 0 to {VOLUME_ML_MAX} ml.")
    _need(sku.handling in HANDLINGS, code, f"Handling is one of {', '.join(HANDLINGS)}.")
    _need(len(sku.components) <= COMPONENTS_MAX, code, f"At most {COMPONENTS_MAX} components.")
    for component in sku.components:
        _need(
            0 < component.quantity <= QUANTITY_MAX,
            code,
            f"A combo holds 1 to {QUANTITY_MAX} units of each component.",
        )
        _need(is_known_id(component.sku), code, "Each component needs the id of a SKU.")
        _need(component.sku != sku.sku, code, "A combo cannot contain itself.")


def check_store(store: StoreProfile) -> None:
    """Raises ``Refused`` with ``invalid-store`` or ``invalid-zone`` and a text that names the
    field."""
    code = "invalid-store"
    _need(is_known_id(store.store_id), code, f"The store needs an id of {ID_RULE}.")
    _need(_is_position(store.position), code, "Latitude is -90 to 90, longitude -180 to 180.")
    _need(
        len(store.currency) == 3 and store.currency.isascii() and store.currency.isupper(),
        code,
        "The currency is three capital letters (ISO 4217).",
    )
    _need(
        is_known_id(store.dispatch_zone),
        code,
        f"Name the dispatch zone whose riders serve the store: {ID_RULE}.",
    )
    _need(0 <= store.priority <= COUNT_MAX, code, f"The priority is 0 to {COUNT_MAX}.")
    _need(
        0 < store.capacity_per_slot <= COUNT_MAX,
        code,
        f"The capacity per slot must be 1 to {COUNT_MAX} orders.",
    )
    _need(0 < store.slot_s <= DURATION_S_MAX, code, f"A slot lasts 1 to {DURATION_S_MAX} s.")
    _need(
        0 < store.collect_s <= DURATION_S_MAX,
        code,
        f"The time to collect is above 0 and at most {DURATION_S_MAX} s.",
    )
    _need(
        0 <= store.prep_s <= DURATION_S_MAX and 0 < store.accept_s <= DURATION_S_MAX,
        code,
        f"Times to accept and pick are positive, {DURATION_S_MAX} s at most.",
    )
    _need(
        0 <= store.opens_s <= 86_400 and 0 <= store.closes_s <= 86_400,
        code,
        "Opening hours are seconds of the local day, 0 to 86400.",
    )
    _need(
        is_time_zone(store.time_zone),
        code,
        f"There is no time zone {store.time_zone!r:.80}. "
        "Give the IANA name of the store's, such as Europe/Berlin, or UTC.",
    )
    _need(
        0 <= store.parcel_weight_g <= WEIGHT_G_MAX and 0 <= store.parcel_volume_ml <= VOLUME_ML_MAX,
        code,
        f"Parcel limits are 0 (none) to {WEIGHT_G_MAX} g and {VOLUME_ML_MAX} ml.",
    )
    _check_freight(store.freight)
    _check_zones(store.zones)


def _check_freight(freight: Freight) -> None:
    code, amounts = "invalid-store", (freight.base, freight.per_km, freight.free_from or 0)
    _need(
        all(0 <= amount <= MONEY_MAX for amount in amounts),
        code,
        f"Freight amounts must be 0 to {MONEY_MAX}, in minor units.",
    )
    _need(
        0 <= freight.included_m <= DISTANCE_M_MAX,
        code,
        f"Freight includes 0 to {DISTANCE_M_MAX} metres.",
    )


def _check_zones(zones: tuple[Zone, ...]) -> None:
    code = "invalid-zone"
    _need(len(zones) <= ZONES_MAX, code, f"At most {ZONES_MAX} zones.")
    for number, zone in enumerate(zones):
        _need(is_known_id(zone.zone_id), code, "Each zone needs an id.")
        _need(1 <= zone.tier <= COUNT_MAX, code, "Tiers count from 1, the fastest promise.")
        _need(
            0 < zone.promise_s <= DURATION_S_MAX,
            code,
            f"The promise must be 1 to {DURATION_S_MAX} seconds.",
        )
        _check_area(zone)
        for other in zones[:number]:
            _need(other.zone_id != zone.zone_id, code, f"Zone {zone.zone_id} is listed twice.")
            _need(
                other.area != zone.area,
                code,
                f"Zones {other.zone_id} and {zone.zone_id} are the same area. List it once.",
            )


def _check_area(zone: Zone) -> None:
    code, area = "invalid-zone", zone.area
    if isinstance(area, Circle):
        _need(_is_position(area.centre), code, f"The centre of zone {zone.zone_id} is nowhere.")
        _need(
            0 < area.radius_m <= RADIUS_M_MAX,
            code,
            f"The radius of zone {zone.zone_id} must be above 0 and at most {RADIUS_M_MAX:.0f} m.",
        )
        return
    _need(
        3 <= len(area.corners) <= CORNERS_MAX and len({*area.corners}) >= 3,
        code,
        f"Zone {zone.zone_id} needs 3 to {CORNERS_MAX} different corners.",
    )
    _need(all(map(_is_position, area.corners)), code, f"A corner of {zone.zone_id} is nowhere.")


def check_channel(channel: ChannelPolicy) -> None:
    """Raises ``Refused`` with ``invalid-channel`` and a text that names the field."""
    code = "invalid-channel"
    _need(is_known_id(channel.channel), code, f"The channel needs a name of {ID_RULE}.")
    _need(
        0 < channel.unpaid_s <= 30 * 86_400, code, "Unpaid orders last above 0 s and up to 30 days."
    )
    _need(
        0 < channel.parked_s <= DURATION_S_MAX,
        code,
        f"Parked fulfilments last above 0 s and up to {DURATION_S_MAX} s.",
    )
    _need(1 <= channel.max_splits <= COUNT_MAX, code, "An order has one fulfilment or more.")
    _need(
        0 <= channel.min_part_value <= MONEY_MAX,
        code,
        f"The least value of a part must be 0 to {MONEY_MAX}.",
    )
    _need(
        1 <= channel.quantity_max <= QUANTITY_MAX and 1 <= channel.lines_max <= COUNT_MAX,
        code,
        f"Limits start at 1; a line has at most {QUANTITY_MAX} units.",
    )
    cod = channel.cod
    _need(
        0 <= cod.limit <= MONEY_MAX
        and 0 <= cod.refusals_max <= COUNT_MAX
        and 0 <= cod.open_max <= COUNT_MAX,
        code,
        f"Limits of cash on delivery must be 0 or more, {MONEY_MAX} and {COUNT_MAX} at most.",
    )
    _need(channel.challenge in ("channel", "code"), code, "A challenge is `channel` or `code`.")
    _need(len(channel.queues) <= QUEUES_MAX, code, f"At most {QUEUES_MAX} SKUs with a queue.")
    skus = {one.sku for one in channel.queues}
    _need(len(skus) == len(channel.queues), code, "A SKU has one queue.")
    for queue in channel.queues:
        _need(is_known_id(queue.sku), code, "Each queue needs the id of a SKU.")
        wrong = check_rule(queue.rule)
        _need(not wrong, code, wrong)


def _check_new_ids(current: Content | None, content: Content) -> None:
    """Ids that stand in paths (offers are called by their dispatch zone) have no characters that
    paths give a meaning. What is called so already may stay so, and be changed otherwise."""
    match content:
        case Sku(sku):
            allowed = is_id(sku) or current is not None
            _need(allowed, "invalid-sku", f"The SKU needs an id of {ID_RULE}.")
        case StoreProfile():
            allowed = is_id(content.store_id) or current is not None
            _need(allowed, "invalid-store", f"The store needs an id of {ID_RULE}.")
            zone = content.dispatch_zone
            kept = isinstance(current, StoreProfile) and current.dispatch_zone == zone
            text = f"The dispatch zone needs an id of {ID_RULE}."
            _need(kept or is_id(zone), "invalid-store", text)
        case ChannelPolicy(channel):
            allowed = is_id(channel) or current is not None
            _need(allowed, "invalid-channel", f"The channel needs a name of {ID_RULE}.")


def _same_currency(current: StoreProfile, new: StoreProfile) -> None:
    """Open orders and riders' cash are in the old currency."""
    _need(current.currency == new.currency, "invalid-store", "A store keeps its currency for ever.")


def _right_entry(name: str, entity_id: str) -> None:
    _need(name == entity_id, "wrong-entity", f"This belongs to {name}, not to {entity_id}.")


def _is_position(position: Position) -> bool:
    return (
        isfinite(position.lat)
        and isfinite(position.lon)
        and abs(position.lat) <= 90
        and abs(position.lon) <= 180
    )


def _need(holds: bool, code: str, text: str) -> None:
    if not holds:
        raise Refused(code, text)
