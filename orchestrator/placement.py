"""Which node hosts which shards, by the settings."""

from actors.engine.placement import Plan
from orchestrator.settings import Settings

__all__ = ["plan_of"]

SELLING = ("order", "inventory", "customer", "catalogue", "campaign")
"""Kinds that a placing touches: together on a node, its messages never leave the process."""
SERVING = ("store", "rider", "dispatch", "device", "queue", "risk")


def plan_of(settings: Settings) -> Plan:
    """Shards per kind, and the nodes that host them: selling on all nodes but the last, which
    serves stores and riders. One node hosts everything. Campaigns' own shards are kept from the
    nodes of the stock, where there is another: a burst on one does not slow down all the rest."""
    shards = {
        "campaign": settings.campaign_shards,
        "catalogue": 1,
        "customer": settings.order_shards,
        "order": settings.order_shards,
        "inventory": settings.inventory_shards,
        "store": settings.store_shards,
        "rider": settings.rider_shards,
        "dispatch": settings.rider_shards,
        "device": 1,
        "queue": 1,
        "risk": 1,
    }
    groups = [SELLING] * (settings.actors - 1) + [SERVING]
    return Plan.spread(
        shards,
        groups if settings.actors > 1 else [SELLING + SERVING],
        own={"campaign": settings.campaign_own_shards},
        apart_from={"inventory"},
    )
