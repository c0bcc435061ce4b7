"""Store tablets and riders at their sockets, with steady orders that all of them must see.

``locust -f loadtests/locust/tablets.py`` from the source tree's root; see docs/loadtests.md.
"""

from loadtests.customers import RiderUser, Shopper, TabletUser
from loadtests.stage import install

__all__ = ["RiderUser", "Shopper", "TabletUser"]

install("tablets", tablets=TabletUser, riders=RiderUser)
