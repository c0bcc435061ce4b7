"""What goes wrong with the sandbox's webhooks: drawn from a seed, the same at each run.

Each draw depends on the seed and on the event's id alone, never on the order of arrival, so that
one event meets the same fate however requests race.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

__all__ = ["Fate", "Fault", "captures_late", "fate_of", "repeat_delay_s", "retry_delay_s"]

RETRY_FIRST_S = 2.0
RETRY_LONGEST_S = 3600.0
RETRY_DOUBLINGS_MAX = 12


class Fault(StrEnum):
    """One kind of trouble with one webhook."""

    NONE = "none"
    REPEATED = "repeated"
    LATE = "late"
    OUT_OF_ORDER = "out_of_order"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Fate:
    """What happens to one webhook. ``delay_s`` (service seconds) postpones its first sending, for
    ``OUT_OF_ORDER`` at most so long; ``repeats`` are further sendings after an accepted one."""

    fault: Fault
    delay_s: float = 0.0
    repeats: int = 0


def fate_of(event_id: str, faults: float, seed: int) -> Fate:
    """The fate of one event when a share ``faults`` (0 to 1) of all webhooks meets trouble."""
    draw = Random(f"{seed}/webhook/{event_id}")
    if draw.random() >= faults:
        return Fate(Fault.NONE)
    match draw.choice((Fault.REPEATED, Fault.LATE, Fault.OUT_OF_ORDER, Fault.LOST)):
        case Fault.REPEATED:
            return Fate(Fault.REPEATED, repeats=draw.randint(1, 3))
        case Fault.LATE:
            return Fate(Fault.LATE, delay_s=draw.uniform(30.0, 300.0))
        case Fault.OUT_OF_ORDER:
            return Fate(Fault.OUT_OF_ORDER, delay_s=draw.uniform(60.0, 120.0))
        case fault:
            return Fate(fault)


def captures_late(payment_id: str, share: float, seed: int) -> bool:
    """Whether a payment made after its expiry is captured all the same."""
    return Random(f"{seed}/late/{payment_id}").random() < share


def retry_delay_s(event_id: str, attempts: int, seed: int) -> float:
    """Service seconds to wait after ``attempts`` sendings: doubling, bounded, with jitter."""
    longest = min(RETRY_LONGEST_S, RETRY_FIRST_S * 2.0 ** min(attempts - 1, RETRY_DOUBLINGS_MAX))
    return longest * Random(f"{seed}/retry/{event_id}/{attempts}").uniform(0.5, 1.0)


def repeat_delay_s(event_id: str, attempts: int, seed: int) -> float:
    """Service seconds until an accepted webhook is needlessly sent again."""
    return Random(f"{seed}/repeat/{event_id}/{attempts}").uniform(1.0, 60.0)
