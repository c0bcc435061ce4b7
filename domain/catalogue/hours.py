"""When a store is open, by the clock on its wall: IANA time zones, summer time included."""

from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from math import inf
from zoneinfo import ZoneInfo

from domain.catalogue.model import StoreProfile

__all__ = ["is_time_zone", "opening"]

DAY_S = 86_400
EPOCH_DAY = date(1970, 1, 1).toordinal()
NO_PLACE = frozenset({"Factory", "localtime"})
"""Names in a time zone database that mean "not set" and "whatever this machine is set to"."""


def opening(store: StoreProfile, now: float) -> tuple[bool, float]:
    """Whether ``now`` (epoch seconds) is within the store's opening hours, and the later moment up
    to which that is sure.

    A store opens, and closes, at the first moment its wall clock shows that time or a later one.
    So where summer time begins, a time that does not exist is the moment of the switch; where it
    ends, the first of the two passes counts: nothing opens or closes twice in a night.

    A zone this machine does not know (the profile was put where the database is newer) counts as
    closed: what is not sold can be sold later, an order at a closed door cannot be kept.
    """
    if store.opens_s % DAY_S == store.closes_s % DAY_S:
        return True, inf
    if not is_time_zone(store.time_zone):
        return False, inf
    utc_day = int(now // DAY_S)
    for day in range(utc_day - 2, utc_day + 3):  # clocks are up to 14 hours from UTC
        opens, closes = _day(store.time_zone, store.opens_s, store.closes_s, day)
        if now < opens:
            return False, opens
        if now < closes:
            return True, closes
    raise AssertionError("the days around a moment end after it")


def is_time_zone(name: str) -> bool:
    """Whether the IANA database has a zone of exactly this name. Every machine with the same
    ``tzdata`` says the same, whatever else it has installed."""
    return name in _names()


@cache
def _names() -> frozenset[str]:
    listed = files("tzdata").joinpath("zones").read_text("ascii")
    return frozenset(listed.split()) - NO_PLACE


@lru_cache(maxsize=16_384)
def _day(name: str, opens_s: int, closes_s: int, day: int) -> tuple[int, int]:
    """From when to when (epoch seconds) stores of these hours are open on a local day, counted from
    1970-01-01. Kept: a city's stores share few hours, and each moment looks at the same days."""
    zone = _zone(name)
    midnight = datetime.combine(date.fromordinal(EPOCH_DAY + day), time())
    opens = midnight + timedelta(seconds=opens_s % DAY_S)
    return _first(zone, opens), _first(
        zone, opens + timedelta(seconds=(closes_s - opens_s) % DAY_S)
    )


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _first(zone: ZoneInfo, shown: datetime) -> int:
    """The first moment at which the clocks of a zone show ``shown`` or later."""
    before, after = _moment(zone, shown.replace(fold=0)), _moment(zone, shown.replace(fold=1))
    if before <= after:  # the same, or the first of two passes
        return before
    early, late = after, before  # the clocks jump over ``shown`` between these two
    while late - early > 1:
        middle = (early + late) // 2
        if _shown(zone, middle) >= shown:
            late = middle
        else:
            early = middle
    return late


def _moment(zone: ZoneInfo, shown: datetime) -> int:
    return int(shown.replace(tzinfo=zone).timestamp())


def _shown(zone: ZoneInfo, moment: int) -> datetime:
    return datetime.fromtimestamp(moment, UTC).astimezone(zone).replace(tzinfo=None, fold=0)
