"""Opening hours on the clock of the store's wall, through the nights in which it is moved."""

from datetime import UTC, datetime, timedelta
from math import inf
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.catalogue import StoreProfile
from domain.catalogue.hours import is_time_zone, opening
from domain.geo import Position

HOUR = 3_600
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "America/Bogota", "Asia/Kolkata", "Asia/Shanghai",
    "Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Pacific/Apia",
    "America/St_Johns", "America/Havana", "America/Santiago", "Africa/Casablanca",
)  # fmt: skip
"""West and east of Greenwich, half hours, switches at midnight and of half an hour, and Apia, where
2011-12-30 never was."""


def shop(opens: str, closes: str, zone: str = "Europe/Berlin") -> StoreProfile:
    """``opens`` and ``closes`` as ``HH:MM`` on the wall."""
    return StoreProfile(
        "s-1", "Shop", Position(50.0, 8.0), "EUR", (), "d",
        opens_s=seconds(opens), closes_s=seconds(closes), time_zone=zone,
    )  # fmt: skip


def seconds(of_day: str) -> int:
    hours, minutes = of_day.split(":")
    return int(hours) * HOUR + int(minutes) * 60


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def is_open(store: StoreProfile, at: str) -> bool:
    return opening(store, utc(at))[0]


def changes(store: StoreProfile, start: str, hours: int = 24) -> list[str]:
    """When the store opens (+) and closes (-) in the hours after ``start``, UTC."""
    now, end, found = utc(start), utc(start) + hours * HOUR, []
    state, until = opening(store, now)
    while until < end:
        now = until
        was, (state, until) = state, opening(store, now)
        if state != was:
            found.append(f"{'+' if state else '-'}{datetime.fromtimestamp(now, UTC):%H:%M}")
    return found


def test_a_store_opens_at_the_same_time_on_its_wall_in_summer_and_in_winter() -> None:
    store = shop("08:00", "20:00")
    assert changes(store, "2026-01-15") == ["+07:00", "-19:00"]
    assert changes(store, "2026-07-15") == ["+06:00", "-18:00"]


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        ("UTC", ["+08:00", "-20:00"]),
        ("America/Bogota", ["-01:00", "+13:00"]),
        ("America/Los_Angeles", ["-03:00", "+15:00"]),
        ("Asia/Shanghai", ["+00:00", "-12:00"]),
        ("Asia/Kolkata", ["+02:30", "-14:30"]),
        ("Pacific/Kiritimati", ["-06:00", "+18:00"]),
        ("Pacific/Pago_Pago", ["-07:00", "+19:00"]),
    ],
)
def test_hours_are_those_of_the_zone_west_or_east(zone: str, expected: list[str]) -> None:
    assert changes(shop("08:00", "20:00", zone), "2026-07-14T23:59") == expected


def test_hours_may_pass_midnight_and_the_night_of_a_switch() -> None:
    store = shop("18:00", "04:00")
    assert changes(store, "2026-07-15T12:00") == ["+16:00", "-02:00"]
    assert changes(store, "2026-03-28T12:00") == ["+17:00", "-02:00"]  # one hour less
    assert changes(store, "2026-10-24T12:00") == ["+16:00", "-03:00"]  # one hour more


def test_a_time_that_does_not_exist_is_the_moment_the_clocks_go_forward() -> None:
    # Berlin, 2026-03-29: 01:59:59 is followed by 03:00:00, which is 01:00 UTC.
    assert changes(shop("02:30", "10:00"), "2026-03-29") == ["+01:00", "-08:00"]
    assert changes(shop("18:00", "02:30"), "2026-03-28T12:00") == ["+17:00", "-01:00"]
    assert changes(shop("02:15", "02:45"), "2026-03-29T00:30", hours=12) == []
    assert changes(shop("02:15", "02:45"), "2026-03-30") == ["+00:15", "-00:45"]
    assert changes(shop("02:45", "02:15"), "2026-03-29T00:30", hours=12) == []


def test_in_the_hour_that_comes_twice_nothing_opens_or_closes_a_second_time() -> None:
    # Berlin, 2026-10-25: 02:59:59 is followed by 02:00:00, which is 01:00 UTC.
    assert changes(shop("02:30", "10:00"), "2026-10-25") == ["+00:30", "-09:00"]
    assert changes(shop("18:00", "02:30"), "2026-10-24T12:00") == ["+16:00", "-00:30"]
    assert changes(shop("02:15", "02:45"), "2026-10-25") == ["+00:15", "-00:45"]
    assert changes(shop("18:00", "03:00"), "2026-10-24T12:00") == ["+16:00", "-02:00"]


def test_a_switch_at_midnight_moves_the_door_with_it() -> None:
    # Havana, 2026-03-08: 23:59:59 is followed by 01:00:00, which is 05:00 UTC.
    assert changes(shop("00:00", "06:00", "America/Havana"), "2026-03-08") == ["+05:00", "-10:00"]
    assert changes(shop("20:00", "00:30", "America/Havana"), "2026-03-08") == ["+01:00", "-05:00"]


def test_a_date_that_was_skipped_has_no_opening() -> None:
    # Apia went from the end of 2011-12-29 (UTC-10) to 2011-12-31 (UTC+14): 10:00 UTC.
    store = shop("08:00", "20:00", "Pacific/Apia")
    assert changes(store, "2011-12-29T12:00", hours=36) == ["+18:00", "-06:00", "+18:00"]


@pytest.mark.parametrize(("opens", "closes"), [("00:00", "00:00"), ("09:00", "09:00"),
                                               ("00:00", "24:00"), ("24:00", "00:00")])  # fmt: skip
def test_a_store_whose_hours_leave_no_gap_is_always_open(opens: str, closes: str) -> None:
    assert opening(shop(opens, closes), utc("2026-03-29T01:00")) == (True, inf)


def test_a_store_may_close_at_the_end_of_the_day() -> None:
    assert changes(shop("08:00", "24:00"), "2026-07-15") == ["+06:00", "-22:00"]


def test_a_closed_answer_is_the_safe_one_where_the_zone_is_not_known() -> None:
    assert opening(shop("08:00", "20:00", "Europe/Atlantis"), utc("2026-07-15")) == (False, inf)


def test_only_names_of_the_database_are_zones() -> None:
    for name in ("UTC", "Europe/Berlin", "Etc/GMT+5", "America/Argentina/Buenos_Aires"):
        assert is_time_zone(name)
        ZoneInfo(name)
    for name in (
        "",
        "Berlin",
        "europe/berlin",
        "Europe",
        "localtime",
        "Factory",
        "../UTC",
        "+01:00",
    ):
        assert not is_time_zone(name)


YEAR = st.floats(utc("2026-01-01"), utc("2027-01-01"))
OF_DAY = st.integers(0, 24 * HOUR)


@given(st.sampled_from(ZONES), OF_DAY, OF_DAY, YEAR)
@example("Europe/Berlin", seconds("02:30"), seconds("10:00"), utc("2026-03-29T01:00"))
@example("Europe/Berlin", seconds("02:30"), seconds("10:00"), utc("2026-10-25T01:15"))
def test_away_from_a_switch_the_wall_clock_alone_decides(
    zone: str, opens_s: int, closes_s: int, now: float
) -> None:
    """Compared with a reading of the clock, on days around which nobody moves it."""
    at = datetime.fromtimestamp(now, ZoneInfo(zone))
    if len({(at + timedelta(days=day)).utcoffset() for day in range(-2, 3)}) > 1:
        return
    shown = at.hour * HOUR + at.minute * 60 + at.second
    opens, closes = opens_s % (24 * HOUR), closes_s % (24 * HOUR)
    expected = (
        opens == closes
        or opens <= shown < closes
        or (opens > closes and (shown >= opens or shown < closes))
    )
    found, _ = opening(hours(opens_s, closes_s, zone), now)
    assert found is expected


@given(st.sampled_from(ZONES), OF_DAY, OF_DAY, YEAR, st.floats(0.0, 1.0))
def test_an_answer_is_sure_until_the_moment_it_names(
    zone: str, opens_s: int, closes_s: int, now: float, share: float
) -> None:
    store = hours(opens_s, closes_s, zone)
    state, until = opening(store, now)
    assert until > now
    if until < inf:
        assert until - now <= 49 * HOUR
        within = now + share * (until - now)
        assert within >= until or opening(store, within) == (state, until)


@given(st.sampled_from(ZONES), OF_DAY, OF_DAY, st.integers(0, 360))
def test_a_store_opens_at_most_once_on_each_of_its_days(
    zone: str, opens_s: int, closes_s: int, day: int
) -> None:
    store, clock = hours(opens_s, closes_s, zone), ZoneInfo(zone)
    now = utc("2026-01-01") + day * 24 * HOUR
    end, opened = now + 5 * 24 * HOUR, []
    state, until = opening(store, now)
    while until < end:
        was, now = state, until
        state, until = opening(store, now)
        if state and not was:
            opened.append(datetime.fromtimestamp(now, clock).date())
    assert len(opened) == len(set(opened))


def hours(opens_s: int, closes_s: int, zone: str) -> StoreProfile:
    return StoreProfile(
        "s-1", "Shop", Position(50.0, 8.0), "EUR", (), "d",
        opens_s=opens_s, closes_s=closes_s, time_zone=zone,
    )  # fmt: skip
