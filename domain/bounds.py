"""What anybody may send: beyond these bounds a number, or a time, is a slip of the hand.

Each number is far above what a retailer needs, and so far below 64 bits, in which stored messages
keep an integer, that what is worked out of several (units times their weight, a lead time's demand)
still has room there.
"""

from datetime import UTC, datetime

__all__ = [
    "COUNT_MAX", "DISTANCE_M_MAX", "DURATION_S_MAX", "MONEY_MAX", "OFFSET_MAX", "QUANTITY_MAX",
    "TIMES", "TOTAL_MAX", "VOLUME_ML_MAX", "WEIGHT_G_MAX", "check_time",
]  # fmt: skip

MONEY_MAX = 10**12
"""A price, a fee, a limit or cash that is counted, in minor units."""
TOTAL_MAX = 2**53
"""A sum of such amounts: the largest integer that every reader of JSON keeps exactly."""
QUANTITY_MAX = 10_000_000
"""Units in one item of a document or order, and in one setting of a stock cell."""
WEIGHT_G_MAX = 10**9
VOLUME_ML_MAX = 10**9
DISTANCE_M_MAX = 10**8
"""More than twice around the earth."""
DURATION_S_MAX = 3_660 * 86_400
"""Ten years."""
COUNT_MAX = 10**9
"""Orders, customers or ranks: whatever else is counted."""
OFFSET_MAX = 2**53
"""An offset of an inbox."""
TIMES = "from 2000 to before 2200 (UTC)"
"""Every time. Far inside the years 1 to 9999, at whose edges a time exists in one time zone and not
in another: stored, it could not be shown again."""
_FIRST, _AFTER_LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


def check_time(at: datetime) -> datetime:
    """The same time, which has a time zone. Raises ``ValueError`` if it is not in ``TIMES``."""
    if not _FIRST <= at < _AFTER_LAST:
        raise ValueError(f"Send a time {TIMES}")
    return at
