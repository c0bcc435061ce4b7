"""The town of the simulation: its places, people and hours."""

from domain.geo import Position

__all__ = [
    "CASH_LIMITS", "DAY_S", "FINAL", "GOODS", "HOME", "RIDERS", "SELLABLE", "STORES", "STORM_S",
    "ZONE",
]  # fmt: skip

HOME = Position(52.50, 13.40)
STORES = ("s-1", "s-2", "s-3")
RIDERS = ("r-1", "r-2", "r-3")
ZONE = "d-1"
GOODS = ("tea", "cup", "pot")
SELLABLE = (*GOODS, "set")
FINAL = ("completed", "cancelled", "closed")
CASH_LIMITS = (9_000, 9_000, 1_200)
"""Of riders, one drawn for the day."""
DAY_S = 500.0
"""Customers come during so much of it; the storm lasts somewhat longer."""
STORM_S = 900.0
