"""Group-buy: open, share, join, many in parallel on the last seat.

``locust -f loadtests/locust/group_buy.py`` from the source tree's root; see docs/loadtests.md.
"""

from loadtests.customers import GroupCustomer, RiderUser, TabletUser
from loadtests.stage import install

__all__ = ["GroupCustomer", "RiderUser", "TabletUser"]

install("group-buy", tablets=TabletUser, riders=RiderUser)
