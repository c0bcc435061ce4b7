from pathlib import Path

import pytest

from simulator.geometry import distance_m
from simulator.recorded import RecordedOptions, RecordingError, read_day

SHARED = Path(__file__).parents[3] / "shared" / "data"

ORDERS_HEAD = (
    "order_id,pick_up_lat,pick_up_lng,drop_off_lat,drop_off_lng,placement_time,"
    "preparation_time,ready_time,expected_drop_off_time"
)
COURIERS_HEAD = "courier_id,vehicle,on_lat,on_lng,on_time,off_time"


def rappi(folder: Path, orders: list[str], couriers: list[str] | None = None) -> Path:
    (folder / "orders.csv").write_text("\n".join([ORDERS_HEAD, *orders]) + "\n")
    riders = ["1,motorcycle,4.80,-75.70,08:00:00,22:00:00"] if couriers is None else couriers
    (folder / "couriers.csv").write_text("\n".join([COURIERS_HEAD, *riders]) + "\n")
    return folder


def mdrp(folder: Path, orders: str = "o1\t1000\t0\t10\tr1\t25\n") -> Path:
    (folder / "orders.txt").write_text(
        "order\tx\ty\tplacement_time\trestaurant\tready_time\n" + orders
    )
    (folder / "restaurants.txt").write_text("restaurant\tx\ty\nr1\t0\t0\nr2\t50\t60\n")
    (folder / "couriers.txt").write_text("courier\tx\ty\ton_time\toff_time\nc1\t0\t500\t0\t90\n")
    (folder / "instance_parameters.txt").write_text(
        "meters_per_minute\tpickup service minutes\tdropoff service minutes\t"
        "target click-to-door\tmaximum click-to-door\n320\t4\t4\t40\t90\n"
    )
    return folder


def test_times_and_promise_of_a_rappi_order_are_kept(tmp_path: Path) -> None:
    line = "9,4.8080,-75.6980,4.8160,-75.6900,10:00:00,10:01:30,10:20:00,10:30:00"
    (order,) = read_day(rappi(tmp_path, [line]), seed=1).orders
    assert order.at_s == 36_000.0
    assert order.accept_after_s == 90.0
    assert order.ready_after_s == 1_200.0
    assert order.promise_s == 1_800.0
    assert order.position is not None
    assert (order.position.lat, order.position.lon) == (4.8160, -75.6900)


def test_pick_up_points_that_agree_to_ten_metres_are_one_store(tmp_path: Path) -> None:
    near = "4.808011,-75.698021,4.81,-75.69,10:00:00,10:01:00,10:20:00,10:30:00"
    lines = [
        "1,4.808031,-75.698042,4.82,-75.69,09:00:00,09:01:00,09:20:00,09:30:00",
        f"2,{near}",
        "3,4.818031,-75.698042,4.82,-75.69,09:00:00,09:01:00,09:20:00,09:30:00",
    ]
    plan = read_day(rappi(tmp_path, lines), seed=1)
    assert len(plan.stores) == 2
    named = {order.key.rsplit("-", 1)[1]: order.store_id for order in plan.orders}
    assert named["1"] == named["2"] != named["3"]


def test_every_store_serves_every_address_and_stocks_what_is_asked_of_it(tmp_path: Path) -> None:
    lines = [
        f"{n},4.80{n},-75.70,4.85,-75.6{n},10:0{n}:00,10:10:00,10:20:00,10:40:00" for n in range(8)
    ]
    plan = read_day(rappi(tmp_path, lines), seed=3)
    goods = {item.sku: item for item in plan.goods}
    for store in plan.stores:
        for order in plan.orders:
            assert order.position is not None
            assert distance_m(store.position, order.position) <= store.zones[0].radius_m
    for order in plan.orders:
        store = next(store for store in plan.stores if store.store_id == order.store_id)
        for sku, quantity in order.lines:
            for unit, count in goods[sku].units(quantity).items():
                assert store.stock[unit] >= count


def test_a_courier_becomes_a_rider_with_the_recorded_shift(tmp_path: Path) -> None:
    line = "9,4.80,-75.69,4.81,-75.69,10:00:00,10:01:30,10:20:00,10:30:00"
    folder = rappi(tmp_path, [line], ["77,bicycle,4.80,-75.70,09:30:00,21:00:00"])
    (rider,) = read_day(folder, seed=1).riders
    assert (rider.rider_id, rider.vehicle) == ("rider-77", "bicycle")
    assert (rider.on_s, rider.off_s) == (34_200.0, 75_600.0)


def test_a_promise_that_cannot_be_meant_is_left_out_and_told(tmp_path: Path) -> None:
    line = "9,4.80,-75.69,4.81,-75.69,10:00:00,10:01:30,10:20:00,10:00:00"
    plan = read_day(rappi(tmp_path, [line]), seed=1)
    assert plan.orders[0].promise_s is None
    assert plan.notes == ("1 promises under 300 s left out",)


def test_metres_and_minutes_of_an_mdrp_day_become_degrees_and_seconds(tmp_path: Path) -> None:
    plan = read_day(mdrp(tmp_path), seed=1)
    (order,), (store,), (rider,) = plan.orders, plan.stores, plan.riders
    assert (order.at_s, order.ready_after_s, order.promise_s) == (600.0, 900.0, 2_400.0)
    assert order.position is not None
    assert distance_m(store.position, order.position) == pytest.approx(1_000.0, rel=1e-3)
    assert distance_m(store.position, rider.position) == pytest.approx(500.0, rel=1e-3)
    assert rider.speed_mps == pytest.approx(320 / 60)
    assert (rider.on_s, rider.off_s) == (0.0, 5_400.0)


def test_stores_keep_the_time_of_where_their_day_was_recorded(tmp_path: Path) -> None:
    line = "9,4.80,-75.69,4.81,-75.69,10:00:00,10:01:30,10:20:00,10:30:00"
    for name, make, zone in (
        ("rappi", lambda folder: rappi(folder, [line]), "America/Bogota"),
        ("mdrp", mdrp, "America/Chicago"),
    ):
        (tmp_path / name).mkdir()
        (store,) = read_day(make(tmp_path / name), seed=1).stores
        assert store.as_json("COP")["time_zone"] == zone


def test_the_same_seed_reads_the_same_day_and_another_seed_another(tmp_path: Path) -> None:
    folder = mdrp(tmp_path, "".join(f"o{n}\t{n}00\t0\t{n}\tr1\t{n + 9}\n" for n in range(1, 40)))
    assert read_day(folder, seed=1) == read_day(folder, seed=1)
    assert read_day(folder, seed=1).orders != read_day(folder, seed=2).orders


def test_only_so_many_orders_are_taken_the_earliest_first(tmp_path: Path) -> None:
    orders = "o1\t10\t0\t30\tr1\t40\no2\t10\t0\t10\tr1\t40\no3\t10\t0\t20\tr2\t40\n"
    plan = read_day(mdrp(tmp_path, orders), 1, RecordedOptions(orders_max=2, tag="t-"))
    assert [order.at_s for order in plan.orders] == [600.0, 1_200.0]
    assert all(order.key.startswith("t-") for order in plan.orders)
    assert all(store.store_id.startswith("t-") for store in plan.stores)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,x,-75.69,4.8,-75.6,10:00:00,10:01:00,10:20:00,10:30:00", "pick_up_lat 'x' is not a"),
        ("1,4.8,-75.69,4.8,-75.6,10:00,10:01:00,10:20:00,10:30:00", "placement_time '10:00'"),
        ("1,4.8,-75.69,4.8,-75.6,10:61:00,10:01:00,10:20:00,10:30:00", "'10:61:00'"),
        ("1,4.8,-75.69,4.8,-75.6,10:05:00,10:01:00,10:20:00,10:30:00", "placement_time <="),
        ("1,4.8,-75.69,94.8,-75.6,10:00:00,10:01:00,10:20:00,10:30:00", "not a position"),
        ("1,4.8,-75.69,4.8,-75.6,10:00:00", "does not have 9 columns"),
        ("1,4.8,-75.69,4.8,-75.6,10:00:00,10:01:00,10:20:00,10:30:00,9", "does not have 9"),
        ("1,4.8,nan,4.8,-75.6,10:00:00,10:01:00,10:20:00,10:30:00", "not a finite number"),
        ("1,4.8,,4.8,-75.6,10:00:00,10:01:00,10:20:00,10:30:00", "pick_up_lng is empty"),
    ],
)
def test_a_malformed_line_is_named_with_its_number(tmp_path: Path, line: str, says: str) -> None:
    good = "7,4.8,-75.69,4.8,-75.6,10:00:00,10:01:00,10:20:00,10:30:00"
    with pytest.raises(RecordingError) as caught:
        read_day(rappi(tmp_path, [good, line]), seed=1)
    assert "orders.csv, line 3" in str(caught.value)
    assert says in str(caught.value)


def test_a_courier_with_an_unknown_vehicle_is_named(tmp_path: Path) -> None:
    line = "1,4.8,-75.69,4.8,-75.6,10:00:00,10:01:00,10:20:00,10:30:00"
    folder = rappi(tmp_path, [line], ["1,rocket,4.8,-75.7,09:00:00,10:00:00"])
    with pytest.raises(RecordingError, match=r"couriers\.csv, line 2: vehicle 'rocket'"):
        read_day(folder, seed=1)


def test_an_mdrp_order_of_an_unknown_restaurant_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"orders\.txt, line 2: restaurant 'r9'"):
        read_day(mdrp(tmp_path, "o1\t1\t1\t1\tr9\t2\n"), seed=1)


def test_a_missing_file_column_or_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="is not a folder"):
        read_day(tmp_path / "nowhere", seed=1)
    with pytest.raises(RecordingError, match=r"neither orders\.csv"):
        read_day(tmp_path, seed=1)
    (tmp_path / "orders.csv").write_text("order_id,pick_up_lat\n1,4.8\n")
    with pytest.raises(RecordingError, match="line 1: column pick_up_lng is missing"):
        read_day(tmp_path, seed=1)
    rappi(tmp_path, [])
    with pytest.raises(RecordingError, match="no lines below its header"):
        read_day(tmp_path, seed=1)
    line = "1,4.8,-75.69,4.8,-75.6,10:00:00,10:01:00,10:20:00,10:30:00"
    rappi(tmp_path, [line])
    (tmp_path / "couriers.csv").unlink()
    with pytest.raises(RecordingError, match=r"couriers\.csv is missing"):
        read_day(tmp_path, seed=1)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the recorded days are not at {SHARED}")
@pytest.mark.parametrize(
    ("day", "orders", "riders"),
    [("rappi/day-10", 735, 455), ("rappi/day-16", 538, 430), ("mdrp/0o100t100s1p100", 505, 113)],
)
def test_a_recorded_day_is_read_whole(day: str, orders: int, riders: int) -> None:
    plan = read_day(SHARED / day, seed=7)
    assert (len(plan.orders), len(plan.riders)) == (orders, riders)
    assert {order.store_id for order in plan.orders} == {store.store_id for store in plan.stores}
