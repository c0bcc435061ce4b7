"""Who is let in when, and what a token says (DOMAIN, Members, risk; the gate against bots)."""

from math import ceil

from domain.errors import Busy, Refused
from domain.message import Value
from domain.sealed import seal, unseal
from domain.waiting.commands import Admission, Join
from domain.waiting.events import Admitted
from domain.waiting.model import QueueRule
from domain.waiting.state import QueueState

__all__ = ["Pass", "check_pass", "check_rule", "join", "read_pass", "write_pass"]

PURPOSE = "queue token"


def join(state: QueueState | None, command: Join, now: float) -> tuple[list[Admitted], Admission]:
    """The customer's place in the room: the one they have, else the next of the token bucket.

    Admissions are ``1 / per_s`` apart once ``burst`` of them were given at once. Raises ``Busy``
    with ``queue-full``.
    """
    known = QueueState() if state is None else state
    rule = command.rule
    place = known.places.get(command.customer_id)
    if place is not None and now < place[1]:
        return [], _admission(command.customer_id, *place, rule, now)
    spacing = 1.0 / rule.per_s
    opens_at = max(now, command.opens_at)
    level = max(known.next_at, opens_at)
    # Up to the millisecond: what the token says is what is checked.
    admitted_at = ceil(max(opens_at, level - (rule.burst - 1) * spacing) * 1000) / 1000
    if (admitted_at - opens_at) * rule.per_s > rule.waiting_max:
        raise Busy("queue-full", "Too many are waiting. Nothing was changed; try again soon.")
    expires_at = admitted_at + rule.valid_s
    admitted = Admitted(command.customer_id, admitted_at, expires_at, level + spacing, now)
    return [admitted], _admission(command.customer_id, admitted_at, expires_at, rule, now)


def _admission(
    customer_id: str, admitted_at: float, expires_at: float, rule: QueueRule, now: float
) -> Admission:
    ahead = ceil(max(0.0, admitted_at - now) * rule.per_s)
    return Admission(customer_id, admitted_at, expires_at, min(ahead, rule.waiting_max))


def check_rule(rule: QueueRule) -> str:
    """What is wrong with a rule; empty when nothing is."""
    if not 0.001 <= rule.per_s <= 100_000:
        return "A queue lets in 0.001 to 100,000 customers a second."
    if not 1 <= rule.burst <= 100_000:
        return "A queue's burst is 1 to 100,000 customers."
    if not 1 <= rule.valid_s <= 86_400:
        return "An admission is valid for 1 s to a day."
    if not 1 <= rule.waiting_max <= 1_000_000:
        return "A queue takes in 1 to 1,000,000 customers."
    return ""


# Tokens -----------------------------------------------------------------------------------------


class Pass(Value):
    """What a queue token says: this customer of this channel may order this target, once, between
    the two times (epoch seconds). Of a window there is one such pass per customer and target."""

    channel: str
    customer_id: str
    target: str
    admitted_at: float
    expires_at: float

    @property
    def id_parts(self) -> tuple[str, ...]:
        """What the order's id is made of. An order is placed once: so a token is used once, over
        all gateways and restarts, and with no record but the order itself. Windows of two channels'
        rooms that begin in the same millisecond are one."""
        return ("queue", self.target, self.customer_id, f"{self.admitted_at:.3f}")


def write_pass(secret: bytes, granted: Pass) -> str:
    """The token."""
    return seal(secret, PURPOSE, granted)


def read_pass(secret: bytes, token: str) -> Pass:
    """What a token says. Raises ``Refused`` with ``queue-token-invalid``."""
    granted = unseal(secret, PURPOSE, token, Pass)
    if granted is None:
        raise Refused("queue-token-invalid", "The queue token is not one of ours. Queue for one.")
    return granted


def check_pass(granted: Pass, channel: str, customer_id: str, target: str, now: float) -> None:
    """May this be ordered with the token now? Raises ``Refused``: ``queue-token-foreign``,
    ``queue-token-early`` (with ``admitted_at`` and ``retry_after_s``), ``queue-token-expired``."""
    for name, asked, given in (
        ("channel", channel, granted.channel),
        ("customer", customer_id, granted.customer_id),
        ("target", target, granted.target),
    ):
        if asked != given:
            raise Refused("queue-token-foreign", f"The queue token is for another {name}.")
    if now < granted.admitted_at:
        wait_s = granted.admitted_at - now
        raise Refused(
            "queue-token-early",
            f"It is this customer's turn in {wait_s:.1f} s. Send the same order again then.",
            retry_after_s=ceil(wait_s),
        )
    if now >= granted.expires_at:
        raise Refused("queue-token-expired", "The turn has passed. Queue for another token.")
