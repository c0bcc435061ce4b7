"""Why something happened, as a code that rules, the monitor and the pages go by.

Beside a reason in words a message or event says its ``reason_code``: one of these where the service
gives the reason by itself or a tablet offered it, ``""`` where somebody's words are all there is.
Words are for people to read. Nothing is decided or looked up by them, so that one can be reworded,
and nobody who types the same words means what the service means. (Other reasons have no code beside
them: those that only the service gives are codes themselves, such as an order's ``unpaid``.)

What was stored before there were codes has None for one: :data:`BEFORE_CODES` and the two functions
after it are the only place that understands its words.
"""

import re

from domain.inventory.rules import LOCK_GONE
from domain.store.commands import UNWANTED

__all__ = [
    "ALL_SHORT", "BEFORE_CODES", "CASH_DIFFERENCE", "NOT_HELD", "NOT_IN_TIME", "OFFERED", "WORDS",
    "cash_difference_before", "code_of", "parked_for",
]  # fmt: skip

ALL_SHORT = "all-short"
"""A store's shelf had not one unit of a ticket."""
NOT_IN_TIME = "not-in-time"
"""Nobody at the store accepted the ticket before its deadline."""
NOT_HELD = "not-held"
"""The rider's run does not hold the parcel that a store handed over."""
CASH_DIFFERENCE = "cash-difference"
"""Cash taken at the door is another sum than was due."""

OFFERED = ("items-missing", "too-busy", "closing", "trouble")
"""What a tablet offers to a clerk who rejects a ticket; they may say anything else in words."""

WORDS = {
    ALL_SHORT: "nothing on the list was there",
    NOT_IN_TIME: "not accepted in time",
    NOT_HELD: "not in the rider's run",
    UNWANTED: "unwanted",
}
"""What the service says beside a code, in English: reword it freely."""


def code_of(reason: str, code: str | None) -> str:
    """The code of a reason (``code`` is what is stored beside it), "" for none."""
    return BEFORE_CODES.get(reason, "") if code is None else code


# What was stored before there were codes. These words are history: they are never reworded.

BEFORE_CODES = {
    "nothing on the list was there": ALL_SHORT,
    "not accepted in time": NOT_IN_TIME,
    "not in the rider's run": NOT_HELD,
    UNWANTED: UNWANTED,
    LOCK_GONE: LOCK_GONE,
    "Items are missing": "items-missing",
    "商品缺货": "items-missing",
    "Too much to do": "too-busy",
    "订单太多": "too-busy",
    "We are closing": "closing",
    "即将打烊": "closing",
    "Technical trouble": "trouble",
    "设备故障": "trouble",
}
_CASH = re.compile(r"cash (\d+) taken, (\d+) due")


def parked_for(reason: str, code: str | None, why: str, detail: str) -> tuple[str, str, str]:
    """Why a fulfilment was parked: what its last store said, the code of that, and in words why no
    other serves it. Then ``reason`` held the words of both, where there was a code ``why``."""
    if code is None and why:
        reason, _, detail = reason.rpartition("; ")
    return reason, code_of(reason, code), detail


def cash_difference_before(reason: str) -> tuple[int, int] | None:
    """(taken, due) in minor units that a flag of then tells of; None for any other flag."""
    found = _CASH.fullmatch(reason)
    return None if found is None else (int(found[1]), int(found[2]))
