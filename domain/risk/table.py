"""The rules of risk as data: which facts raise which decision (DOMAIN, Members, risk).

A decision is ``allow | challenge | deny``, taken before anything is locked: the strongest of the
rules that hold. Every threshold can be set, or its rule switched off, by name (:func:`rules_of`).
"""

import json
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from domain.message import Value

__all__ = [
    "ALLOW", "CHALLENGE", "DEFAULT_RULES", "DENY", "NO_FACTS", "Condition", "Facts", "Rule",
    "Verdict", "judge", "rules_of",
]  # fmt: skip

ALLOW, CHALLENGE, DENY = "allow", "challenge", "deny"
_STRENGTH = {ALLOW: 0, CHALLENGE: 1, DENY: 2}


class Facts(Struct, frozen=True, gc=False):
    """What is known of who orders, now."""

    blocked_customer: int = 0
    """1 when on the blocklist; so the next three."""
    blocked_phone: int = 0
    blocked_device: int = 0
    blocked_address: int = 0
    unpaid_orders: int = 0
    """Online orders of the customer that hold stock and are not paid, without this one."""
    unpaid_value: int = 0
    """What they cost together, minor units."""
    expired_orders: int = 0
    """Orders that the customer let expire unpaid, or cancelled after they had held stock (see
    ``domain.customer.state.abandoned``), within the last 7 days ..."""
    expired_share: float = 0.0
    """... and their share of those and all that the customer ever confirmed (0 to 1)."""
    device_customers: int = 0
    """Different customers who ordered from the device within the last 24 hours, this one
    included; 0 when the channel names no device."""


NO_FACTS = Facts()


class Condition(Value):
    """The fact of this name is ``at_least`` so much."""

    fact: str
    at_least: float


class Rule(Value):
    """When all conditions hold, the decision is ``decision`` or stronger; ``name`` is stable."""

    name: str
    decision: str
    when: tuple[Condition, ...]
    reason: str
    """What the caller is told; rules of different strength may share it."""


DEFAULT_RULES: tuple[Rule, ...] = (
    Rule("blocked-customer", DENY, (Condition("blocked_customer", 1),), "blocked-customer"),
    Rule("blocked-phone", DENY, (Condition("blocked_phone", 1),), "blocked-phone"),
    Rule("blocked-device", DENY, (Condition("blocked_device", 1),), "blocked-device"),
    Rule("blocked-address", DENY, (Condition("blocked_address", 1),), "blocked-address"),
    Rule("unpaid-orders", CHALLENGE, (Condition("unpaid_orders", 4),), "unpaid-orders"),
    Rule("unpaid-orders-deny", DENY, (Condition("unpaid_orders", 10),), "unpaid-orders"),
    Rule(
        "unpaid-value",
        CHALLENGE,
        (Condition("unpaid_orders", 2), Condition("unpaid_value", 1_000_000)),
        "unpaid-value",
    ),
    Rule(
        "unpaid-value-deny",
        DENY,
        (Condition("unpaid_orders", 2), Condition("unpaid_value", 5_000_000)),
        "unpaid-value",
    ),
    Rule(
        "expired-share",
        CHALLENGE,
        (Condition("expired_orders", 3), Condition("expired_share", 0.5)),
        "expired-share",
    ),
    Rule(
        "expired-share-deny",
        DENY,
        (Condition("expired_orders", 10), Condition("expired_share", 0.9)),
        "expired-share",
    ),
    Rule("device-customers", CHALLENGE, (Condition("device_customers", 5),), "device-customers"),
    Rule("device-customers-deny", DENY, (Condition("device_customers", 20),), "device-customers"),
)
"""Blocklists deny; 4 orders unpaid at once are challenged, 10 denied; so are unpaid orders (2 or
more) worth 10,000.00 and 50,000.00; who left 3 orders of the last 7 days unpaid, and half of all,
is challenged, with 10 and nine tenths denied; 5 customers of one device in a day are challenged, 20
denied."""


class Verdict(Struct, frozen=True, array_like=True, gc=False):
    """The decision and the reasons for it, in the order of the table; none for ``allow``."""

    decision: str
    reasons: tuple[str, ...] = ()


_ALLOWED = Verdict(ALLOW)


def judge(rules: Sequence[Rule], facts: Facts) -> Verdict:
    """The strongest decision of all rules that hold, with the reasons of every rule that holds."""
    decision, reasons = ALLOW, []
    for rule in rules:
        if all(getattr(facts, one.fact) >= one.at_least for one in rule.when):
            if rule.reason not in reasons:
                reasons.append(rule.reason)
            if _STRENGTH[rule.decision] > _STRENGTH[decision]:
                decision = rule.decision
    return Verdict(decision, tuple(reasons)) if reasons else _ALLOWED


def rules_of(text: str) -> tuple[Rule, ...]:
    """:data:`DEFAULT_RULES` with what a JSON object changes: ``{"unpaid-orders": 6}`` sets the
    threshold of the rule's first condition, a list those of all, and null switches the rule off.
    Raises ``ValueError`` for a rule that does not exist and for a wrong threshold."""
    changes = json.loads(text) if text.strip() else {}
    if not isinstance(changes, dict):
        raise ValueError("Rules of risk are a JSON object: rule name -> threshold or null.")
    changed = []
    for rule in DEFAULT_RULES:
        wanted = changes.pop(rule.name, rule)
        if wanted is None:
            continue
        changed.append(rule if wanted is rule else _with(rule, wanted))
    if changes:
        raise ValueError(f"No such rule of risk: {', '.join(sorted(changes))}.")
    return tuple(changed)


def _with(rule: Rule, wanted: object) -> Rule:
    levels = wanted if isinstance(wanted, list) else [wanted]
    if not 1 <= len(levels) <= len(rule.when) or any(
        isinstance(level, bool) or not isinstance(level, int | float) for level in levels
    ):
        raise ValueError(f"{rule.name} takes up to {len(rule.when)} numbers, or null.")
    rest = rule.when[len(levels) :]
    set_ = [Condition(one.fact, level) for one, level in zip(rule.when, levels, strict=False)]
    return replace(rule, when=(*set_, *rest))
