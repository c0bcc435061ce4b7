"""What can be a campaign (DOMAIN, Group-buy and Flash sale)."""

from domain.campaign.commands import FLASH_SALE, GROUP_BUY, Terms
from domain.errors import Refused
from domain.waiting.rules import check_rule

__all__ = ["PLACES_MAX", "check_terms"]

PLACES_MAX = 1_000
"""Most stores and most members of a group."""
UNITS_MAX = 10_000_000


def check_terms(terms: Terms, now: float) -> None:
    """Raise ``Refused`` with ``wrong-terms`` (and ``field``) for what cannot be a campaign."""
    if terms.kind not in (FLASH_SALE, GROUP_BUY):
        raise _wrong("kind", "The kind is `flash_sale` or `group_buy`.")
    if terms.price < 0:
        raise _wrong("price", "The price is 0 minor units or more.")
    if not terms.starts_at < terms.ends_at or terms.ends_at <= now:
        raise _wrong("ends_at", "The campaign ends after it has started, and not in the past.")
    stores = [share.store_id for share in terms.quota]
    if not 1 <= len(stores) <= PLACES_MAX or len(set(stores)) != len(stores) or "" in stores:
        raise _wrong("quota", f"Name 1 to {PLACES_MAX} stores, each once.")
    if not all(1 <= share.units <= UNITS_MAX for share in terms.quota):
        raise _wrong("quota", f"Ask each store for 1 to {UNITS_MAX} units.")
    if terms.limit_per_customer < 0:
        raise _wrong("limit_per_customer", "The limit is 1 or more, or 0 for none.")
    if not 1 <= terms.pay_s <= 86_400:
        raise _wrong("pay_s", "Leave 1 second to one day for paying.")
    if terms.issuer not in ("platform", "store"):
        raise _wrong("issuer", "The discount is borne by the `platform` or the `store`.")
    if (terms.group is None) != (terms.kind == FLASH_SALE):
        raise _wrong("group", "A group-buy has a group rule, a flash sale has none.")
    if terms.queue is not None and (wrong := check_rule(terms.queue)):
        raise _wrong("queue", wrong)
    _check_group(terms)


def _check_group(terms: Terms) -> None:
    rule = terms.group
    if rule is None:
        return
    if rule.kind not in ("normal", "newcomers", "ladder"):
        raise _wrong("group.kind", "The kind is `normal`, `newcomers` or `ladder`.")
    if not 2 <= rule.size <= PLACES_MAX:
        raise _wrong("group.size", f"A group needs 2 to {PLACES_MAX} members.")
    if not 1 <= rule.open_s <= 90 * 86_400:
        raise _wrong("group.open_s", "A group stays open for 1 second to 90 days.")
    if rule.stock not in ("on_payment", "on_formation"):
        raise _wrong("group.stock", "Units leave `on_payment` or `on_formation`.")
    if rule.late not in ("refund", "head_of_new_group"):
        raise _wrong("group.late", "A late payer gets the `refund`, or is `head_of_new_group`.")
    if rule.buffer < 0 or (rule.buffer and rule.stock == "on_payment"):
        raise _wrong("group.buffer", "A buffer of 0 or more units goes with `on_formation`.")
    if (rule.kind == "ladder") != bool(rule.steps):
        raise _wrong("group.steps", "A ladder has steps, other groups have none.")
    units = sum(share.units for share in terms.quota)
    if rule.size > units:
        raise _wrong("group.size", f"No group of {rule.size} can form of {units} unit(s).")
    if rule.buffer >= units:
        raise _wrong("group.buffer", f"The buffer leaves nothing to order of {units} unit(s).")
    before, price = rule.size - 1, terms.price
    for step in rule.steps:
        if not (before < step.members <= PLACES_MAX and 0 <= step.price <= price):
            raise _wrong(
                "group.steps",
                "Members rise from the group's size on, prices fall from the campaign's.",
            )
        before, price = step.members, step.price


def _wrong(field: str, detail: str) -> Refused:
    return Refused("wrong-terms", detail, field=field)
