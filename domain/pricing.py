"""Exact money arithmetic: shares of a discount or a fee, freight, what single units really cost.

All amounts are integers of the currency's minor unit. Nothing here rounds money away: shares add
up to their total, and refunds of all units of a line to what the line cost (DOMAIN, Order life).
"""

from collections.abc import Sequence
from math import ceil

from domain.catalogue.model import Freight
from domain.errors import Refused

__all__ = ["apportion", "freight", "units_amount"]


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Split ``total`` in proportion to ``weights`` by largest remainder; the shares add up to it.

    Each share differs from its exact proportion by less than 1. Equal remainders are served in
    order of position. When all weights are zero the shares are as equal as they can be.

    Raises ``Refused`` with ``negative-amount`` for a negative total or weight, and with
    ``nothing-to-apportion`` when there is a total but no weights.
    """
    if total < 0 or any(weight < 0 for weight in weights):
        raise Refused("negative-amount", "Amounts and weights to apportion must be 0 or more.")
    if not weights:
        if total:
            raise Refused("nothing-to-apportion", "An amount needs at least one line to bear it.")
        return []
    whole = sum(weights)
    if whole == 0:
        weights, whole = [1] * len(weights), len(weights)
    shares = [total * weight // whole for weight in weights]
    left = total - sum(shares)
    if left:
        by_remainder = sorted(
            range(len(weights)), key=lambda index: (-(total * weights[index] % whole), index)
        )
        for index in by_remainder[:left]:
            shares[index] += 1
    return shares


def freight(freight: Freight, goods: int, distance_m: float) -> int:
    """The delivery fee of one store for ``goods`` (minor units) over ``distance_m`` metres."""
    if freight.free_from is not None and goods >= freight.free_from:
        return 0
    beyond_m = distance_m - freight.included_m
    if beyond_m <= 0 or not freight.per_km:
        return freight.base
    return freight.base + freight.per_km * ceil(beyond_m / 1000)


def units_amount(amount: int, quantity: int, already_refunded_quantity: int, units: int) -> int:
    """What ``units`` more units of a line cost after ``already_refunded_quantity`` were given back.

    ``amount`` was paid for all ``quantity`` units. Whatever the sequence of partial refunds, all of
    them together return exactly ``amount``: the last units absorb the rounding.

    Raises ``Refused`` with ``units-exceed-line`` when fewer units are left, and with
    ``quantity-not-positive`` for fewer than one unit.
    """
    if units <= 0:
        raise Refused("quantity-not-positive", "Name at least one unit.")
    after = already_refunded_quantity + units
    if already_refunded_quantity < 0 or after > quantity:
        raise Refused(
            "units-exceed-line",
            f"Only {max(0, quantity - already_refunded_quantity)} unit(s) of the line are left.",
        )
    return amount * after // quantity - amount * already_refunded_quantity // quantity
