"""Recorded days: readers for Rappi city days (CSV) and the Meal Delivery Routing Problem (text).

Pick-up points become stores, couriers riders with their shifts, recorded preparation and ready
times drive the clerks, the expected drop-off is the promise. What a recording does not hold (goods,
prices, stock, who pays how) is drawn from the seed. Nothing recorded is ever written anywhere.

Sources: github.com/sebastian-quintero/mdrp-sim (Rappi days); github.com/grubhub/mdrplib, Reyes et
al. 2018 (MDRP: positions in metres, times in minutes from the start of the day, tab-separated).
"""

from collections.abc import Iterator, Mapping, Sequence
from csv import DictReader
from csv import Error as CsvError
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from simulator.city import stocked
from simulator.geometry import Point, distance_m, offset
from simulator.goods import assortment, basket
from simulator.manners import Manners, of_clerk, of_customer, of_rider
from simulator.plan import (
    SPEED_MPS,
    ChannelPlan,
    OrderPlan,
    Plan,
    PlanError,
    RiderPlan,
    StorePlan,
    ZonePlan,
    chance,
)  # fmt: skip

__all__ = ["RecordedOptions", "RecordingError", "read_day"]

PROMISE_S_MIN = 300.0
"""A recorded promise below this is a slip of the recording (some are 0) and is left out."""
RAPPI_TIME_ZONE = "America/Bogota"
"""All recorded Rappi days are from Colombia."""
MDRP_ORIGIN = Point(41.8781, -87.6298)
"""Where the metres of an MDRP day are laid from; any place would do."""
MDRP_TIME_ZONE = "America/Chicago"
"""Of that place."""
RAPPI_ORDERS = (
    "order_id", "pick_up_lat", "pick_up_lng", "drop_off_lat", "drop_off_lng", "placement_time",
    "preparation_time", "ready_time", "expected_drop_off_time",
)  # fmt: skip
RAPPI_COURIERS = ("courier_id", "vehicle", "on_lat", "on_lng", "on_time", "off_time")


class RecordingError(PlanError):
    """A recorded day cannot be read; the text names the file, the line and what to mend."""


@dataclass(frozen=True, slots=True)
class RecordedOptions:
    """How a recording becomes a day."""

    goods: int = 80
    currency: str = "COP"
    channel: str = "app"
    unpaid_s: float = 1_800.0
    accept_s: int = 1_200
    """Longer than usual: days are replayed so fast that a restart of seconds is many minutes."""
    manners: Manners = field(default_factory=Manners.of_a_recorded_day)
    coordinates: int = 4
    """Decimals that pick-up points are rounded to: those that agree are one store (about 10 m)."""
    orders_max: int | None = None
    """Only so many orders of the day, the earliest first; None: all."""
    tag: str = ""


def read_day(folder: Path, seed: int, options: RecordedOptions | None = None) -> Plan:
    """The recorded day in ``folder`` as a plan; its format is told by the files it holds.

    Raises :class:`RecordingError` when files are missing or a line is malformed.
    """
    options = options or RecordedOptions()
    folder = Path(folder)
    if not folder.is_dir():
        raise RecordingError(f"{folder} is not a folder. Give the folder of one recorded day.")
    if (folder / "orders.csv").exists():
        day = _read_rappi(folder, options)
    elif (folder / "orders.txt").exists():
        day = _read_mdrp(folder)
    else:
        raise RecordingError(
            f"{folder} holds neither orders.csv (Rappi day) nor orders.txt (MDRP instance)."
        )
    return _plan(day, folder.name, seed, options)


@dataclass(frozen=True, slots=True)
class _Order:
    order_id: str
    pick_up: str
    drop_off: Point
    placed_s: float
    accepted_s: float
    ready_s: float
    promised_s: float | None


@dataclass(frozen=True, slots=True)
class _Courier:
    courier_id: str
    vehicle: str
    position: Point
    on_s: float
    off_s: float
    speed_mps: float


@dataclass(frozen=True, slots=True)
class _Day:
    source: str
    time_zone: str
    pick_ups: Mapping[str, Point]
    orders: Sequence[_Order]
    couriers: Sequence[_Courier]
    notes: tuple[str, ...] = ()


# --- Rappi ---------------------------------------------------------------------------------------


def _read_rappi(folder: Path, options: RecordedOptions) -> _Day:
    pick_ups: dict[str, Point] = {}
    orders = []
    slips = 0
    for row in _rows(folder / "orders.csv", RAPPI_ORDERS, ","):
        place = row.point("pick_up_lat", "pick_up_lng")
        key = f"{place.lat:.{options.coordinates}f},{place.lon:.{options.coordinates}f}"
        pick_ups.setdefault(key, place)
        placed_s = row.clock("placement_time")
        accepted_s, ready_s = row.clock("preparation_time"), row.clock("ready_time")
        promised_s: float | None = row.clock("expected_drop_off_time")
        if not placed_s <= accepted_s <= ready_s:
            raise row.error("needs placement_time <= preparation_time <= ready_time")
        if promised_s is not None and promised_s - placed_s < PROMISE_S_MIN:
            promised_s, slips = None, slips + 1
        orders.append(
            _Order(
                row["order_id"], key, row.point("drop_off_lat", "drop_off_lng"), placed_s,
                accepted_s, ready_s, promised_s,
            )
        )  # fmt: skip
    notes = (f"{slips} promises under {PROMISE_S_MIN:.0f} s left out",) if slips else ()
    return _Day(
        "rappi", RAPPI_TIME_ZONE, pick_ups, orders, list(_rappi_couriers(folder)), notes
    )  # fmt: skip


def _rappi_couriers(folder: Path) -> Iterator[_Courier]:
    for row in _rows(folder / "couriers.csv", RAPPI_COURIERS, ","):
        vehicle = row["vehicle"]
        if vehicle not in SPEED_MPS:
            raise row.error(f"vehicle {vehicle!r} is none of {', '.join(SPEED_MPS)}")
        on_s, off_s = row.clock("on_time"), row.clock("off_time")
        if off_s < on_s:
            raise row.error("off_time is before on_time")
        position = row.point("on_lat", "on_lng")
        yield _Courier(row["courier_id"], vehicle, position, on_s, off_s, 0.0)


# --- MDRP ----------------------------------------------------------------------------------------


def _read_mdrp(folder: Path) -> _Day:
    parameters = next(
        _rows(
            folder / "instance_parameters.txt",
            ("meters_per_minute", "target click-to-door"),
            "\t",
        )
    )
    speed_mps = parameters.number("meters_per_minute") / 60.0
    target_s = parameters.number("target click-to-door") * 60.0
    pick_ups = {
        row["restaurant"]: row.metres("x", "y")
        for row in _rows(folder / "restaurants.txt", ("restaurant", "x", "y"), "\t")
    }
    columns = ("order", "x", "y", "placement_time", "restaurant", "ready_time")
    orders = []
    for row in _rows(folder / "orders.txt", columns, "\t"):
        if row["restaurant"] not in pick_ups:
            raise row.error(f"restaurant {row['restaurant']!r} is not in restaurants.txt")
        placed_s, ready_s = row.minutes("placement_time"), row.minutes("ready_time")
        if ready_s < placed_s:
            raise row.error("ready_time is before placement_time")
        accepted_s = min(placed_s + 60.0, ready_s)
        orders.append(
            _Order(
                row["order"], row["restaurant"], row.metres("x", "y"), placed_s, accepted_s,
                ready_s, placed_s + target_s,
            )
        )  # fmt: skip
    return _Day("mdrp", MDRP_TIME_ZONE, pick_ups, orders, list(_mdrp_couriers(folder, speed_mps)))


def _mdrp_couriers(folder: Path, speed_mps: float) -> Iterator[_Courier]:
    columns = ("courier", "x", "y", "on_time", "off_time")
    for row in _rows(folder / "couriers.txt", columns, "\t"):
        on_s, off_s = row.minutes("on_time"), row.minutes("off_time")
        if off_s < on_s:
            raise row.error("off_time is before on_time")
        position = row.metres("x", "y")
        yield _Courier(row["courier"], "motorcycle", position, on_s, off_s, speed_mps)


# --- Rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of a recorded file, with errors that name it."""

    path: Path
    line: int
    cells: Mapping[str, str | None]

    def __getitem__(self, column: str) -> str:
        value = self.cells.get(column)
        if value is None or not value.strip():
            raise self.error(f"column {column} is empty")
        return value.strip()

    def error(self, text: str) -> RecordingError:
        return RecordingError(
            f"{self.path.name}, line {self.line}: {text}. (in {self.path.parent})"
        )

    def number(self, column: str) -> float:
        try:
            value = float(self[column])
        except ValueError:
            raise self.error(f"{column} {self[column]!r} is not a number") from None
        if value != value or value in (float("inf"), float("-inf")):
            raise self.error(f"{column} {self[column]!r} is not a finite number")
        return value

    def minutes(self, column: str) -> float:
        value = self.number(column)
        if value < 0:
            raise self.error(f"{column} is negative")
        return value * 60.0

    def metres(self, x: str, y: str) -> Point:
        return offset(MDRP_ORIGIN, self.number(x), self.number(y))

    def point(self, lat: str, lon: str) -> Point:
        point = Point(self.number(lat), self.number(lon))
        if not (-90.0 <= point.lat <= 90.0 and -180.0 <= point.lon <= 180.0):
            raise self.error(f"{lat}, {lon} is not a position in degrees")
        return point

    def clock(self, column: str) -> float:
        """HH:MM:SS as seconds of the day."""
        parts = self[column].split(":")
        if len(parts) != 3 or not all(part.isdigit() for part in parts):
            raise self.error(f"{column} {self[column]!r} is not a time HH:MM:SS")
        hours, minutes, seconds = (int(part) for part in parts)
        if hours > 47 or minutes > 59 or seconds > 59:
            raise self.error(f"{column} {self[column]!r} is not a time HH:MM:SS")
        return float(hours * 3_600 + minutes * 60 + seconds)


def _rows(path: Path, columns: Sequence[str], delimiter: str) -> Iterator[_Row]:
    if not path.is_file():
        raise RecordingError(f"{path.name} is missing in {path.parent}.")
    with path.open(newline="", encoding="utf-8") as file:
        reader = DictReader(file, delimiter=delimiter)
        try:
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise RecordingError(
                    f"{path.name}, line 1: column {missing[0]} is missing. (in {path.parent})"
                )
            count = 0
            for cells in reader:
                count += 1
                row = _Row(path, reader.line_num, cells)
                if None in cells or any(value is None for value in cells.values()):
                    raise row.error(f"does not have {len(reader.fieldnames or ())} columns")
                yield row
        except (UnicodeDecodeError, CsvError) as error:
            raise RecordingError(
                f"{path.name}, after line {reader.line_num}: {error}. (in {path.parent})"
            ) from None
    if count == 0:
        raise RecordingError(f"{path.name} has no lines below its header. (in {path.parent})")


# --- From recording to plan ----------------------------------------------------------------------


def _plan(day: _Day, name: str, seed: int, options: RecordedOptions) -> Plan:
    recorded = sorted(day.orders, key=lambda order: order.placed_s)[: options.orders_max]
    goods = assortment(chance(seed, "goods"), options.goods, options.tag, one_parcel=True)
    ids = {key: f"{options.tag}store-{n:03d}" for n, key in enumerate(day.pick_ups, start=1)}
    orders = []
    for record in recorded:
        key = f"{options.tag}{day.source}-{name}-{record.order_id}"
        draw = chance(seed, "basket", key)
        order = OrderPlan(
            key=key,
            at_s=record.placed_s,
            channel=options.channel,
            customer_id=f"{options.tag}customer-{draw.randint(1, 3 * len(recorded)):05d}",
            name="",
            phone="",
            lines=basket(draw, goods),
            position=record.drop_off,
            store_id=ids[record.pick_up],
            promise_s=None if record.promised_s is None else record.promised_s - record.placed_s,
            accept_after_s=record.accepted_s - record.placed_s,
            ready_after_s=record.ready_s - record.placed_s,
        )
        orders.append(of_customer(order, options.manners, seed))
    stores = _stores(day, recorded, ids, seed, options)
    return Plan(
        name=name,
        seed=seed,
        currency=options.currency,
        goods=goods,
        stores=stocked(stores, orders, goods, seed),
        riders=_riders(day, recorded, seed, options),
        orders=tuple(orders),
        channels=(ChannelPlan(options.channel, unpaid_s=options.unpaid_s),),
        source=day.source,
        notes=day.notes,
    )


def _stores(
    day: _Day,
    recorded: Sequence[_Order],
    ids: Mapping[str, str],
    seed: int,
    options: RecordedOptions,
) -> list[StorePlan]:
    """One store per pick-up point that an order uses, with one zone that holds every address
    (so that a rejected order can go to another store) and the promise its customers got."""
    addresses = [order.drop_off for order in recorded]
    stores = []
    for key, position in day.pick_ups.items():
        mine = [order for order in recorded if order.pick_up == key]
        if not mine:
            continue
        promises = [o.promised_s - o.placed_s for o in mine if o.promised_s is not None]
        reach_m = max(distance_m(position, address) for address in addresses)
        stores.append(
            StorePlan(
                store_id=ids[key],
                name=f"Shop {ids[key].rsplit('-', 1)[1]}",
                position=position,
                dispatch_zone=f"{options.tag}zone-1",
                zones=(
                    ZonePlan(
                        f"{ids[key]}-city", 1, reach_m + 500.0,
                        int(median(promises)) if promises else 1_800,
                    ),
                ),
                stock={},
                clerk=of_clerk(ids[key], options.manners, seed),
                freight_base=249,
                freight_free_from=4_000,
                accept_s=options.accept_s,
                prep_s=int(median(order.ready_s - order.accepted_s for order in mine)),
                time_zone=day.time_zone,
            )
        )  # fmt: skip
    return stores


def _riders(
    day: _Day, recorded: Sequence[_Order], seed: int, options: RecordedOptions
) -> tuple[RiderPlan, ...]:
    """Every courier; the last tenth to go home stays until the day's last parcel is done."""
    leaving = sorted(day.couriers, key=lambda courier: courier.off_s, reverse=True)
    staying = {courier.courier_id for courier in leaving[: max(3, len(leaving) // 10)]}
    return tuple(
        of_rider(
            RiderPlan(
                rider_id=f"{options.tag}rider-{courier.courier_id}",
                vehicle=courier.vehicle,
                position=courier.position,
                on_s=courier.on_s,
                off_s=courier.off_s,
                dispatch_zone=f"{options.tag}zone-1",
                speed_mps=courier.speed_mps,
                stays=courier.courier_id in staying,
            ),
            options.manners,
            seed,
        )
        for courier in day.couriers
    )
