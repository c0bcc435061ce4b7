"""A mixed day: ordinary baskets, a flash sale and group-buys over the same stores and riders.

``locust -f loadtests/locust/mixed_day.py`` from the source tree's root; see docs/loadtests.md.
"""

from loadtests.customers import FlashCustomer, GroupCustomer, RiderUser, Shopper, TabletUser
from loadtests.stage import install

__all__ = ["FlashCustomer", "GroupCustomer", "RiderUser", "Shopper", "TabletUser"]

Shopper.weight = 3
GroupCustomer.weight = 1
FlashCustomer.weight = 1

install("mixed-day", tablets=TabletUser, riders=RiderUser)
