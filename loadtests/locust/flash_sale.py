"""Flash sale: browse, countdown, burst, pay or abandon.

``locust -f loadtests/locust/flash_sale.py`` from the source tree's root; see docs/loadtests.md.
"""

from loadtests.customers import FlashCustomer, RiderUser, TabletUser
from loadtests.stage import install

__all__ = ["FlashCustomer", "RiderUser", "TabletUser"]

install("flash-sale", tablets=TabletUser, riders=RiderUser)
