"""Who may do what: every route with its roles, in this one table.

A store or rider acts on nothing but its own: where a route's path names a store (or rider), a
token of that role must name the same. A channel sees only its own orders; that needs the order, so
``orchestrator.api.orders`` asks :func:`Access.own_order`. Operations (``ops``) may read everything.
"""

from collections.abc import Mapping

from domain.errors import Refused
from orchestrator.auth import Caller, Tokens, bearer

__all__ = ["NOT_BOUND_TO_OWNER", "OPEN", "ROLES_OF", "Access"]

OPEN: frozenset[str] = frozenset({
    "GET /v1/clock",
    "POST /v1/devices/pair",
    "POST /v1/webhooks/{provider}",
})  # fmt: skip
"""Routes without a token (a webhook carries its provider's signature instead, a pairing its
one-time code)."""

ROLES_OF: dict[str, tuple[str, ...]] = {
    # orders
    "POST /v1/orders": ("channel",),
    "GET /v1/orders": ("channel", "ops"),
    "GET /v1/orders/{order_id}": ("channel", "ops"),
    "GET /v1/orders/{order_id}/history": ("channel", "ops"),
    "POST /v1/orders/{order_id}/payments": ("channel",),
    "POST /v1/orders/{order_id}/cancel": ("channel", "ops"),
    "POST /v1/orders/{order_id}/refunds": ("ops",),
    "POST /v1/orders/{order_id}/fulfilments/{fulfilment_id}/reroute": ("ops",),
    "POST /v1/orders/{order_id}/fulfilments/{fulfilment_id}/close": ("ops",),
    "POST /v1/orders/{order_id}/flags/{payment_id}/resolve": ("ops",),
    "POST /v1/orders/{order_id}/refunds/{refund_id:path}/retry": ("ops",),
    # campaigns
    "POST /v1/campaigns": ("ops",),
    "GET /v1/campaigns/{campaign_id}": ("channel", "ops"),
    "GET /v1/campaigns/{campaign_id}/groups": ("channel", "ops"),
    "POST /v1/campaigns/{campaign_id}/end": ("ops",),
    # catalogue
    "GET /v1/skus": ("channel", "store", "ops"),
    "POST /v1/skus": ("ops",),
    "GET /v1/skus/{sku:path}": ("channel", "store", "ops"),
    "PUT /v1/skus/{sku:path}": ("ops",),
    "GET /v1/stores": ("ops",),
    "GET /v1/stores/{store_id}": ("store", "ops"),
    "PUT /v1/stores/{store_id}": ("ops",),
    "GET /v1/channels/{channel}": ("ops",),
    "PUT /v1/channels/{channel}": ("ops",),
    # stock
    "GET /v1/availability": ("channel", "store", "rider", "ops"),
    "GET /v1/stores/{store_id}/stock": ("store", "ops"),
    "POST /v1/stores/{store_id}/stock/receipts": ("store", "ops"),
    "POST /v1/stores/{store_id}/stock/transfers": ("store", "ops"),
    "POST /v1/stores/{store_id}/stock/counts": ("store", "ops"),
    "POST /v1/stores/{store_id}/stock/damages": ("store", "ops"),
    "POST /v1/stores/{store_id}/stock/safety": ("store", "ops"),
    "POST /v1/stores/{store_id}/stock/oversell": ("store", "ops"),
    "POST /v1/stores/{store_id}/stock/allotments": ("store", "ops"),
    # tickets
    "GET /v1/stores/{store_id}/tickets": ("store", "ops"),
    "GET /v1/stores/{store_id}/tickets/{fulfilment_id}": ("store", "ops"),
    "POST /v1/stores/{store_id}/tickets/{fulfilment_id}/accept": ("store",),
    "POST /v1/stores/{store_id}/tickets/{fulfilment_id}/reject": ("store",),
    "POST /v1/stores/{store_id}/tickets/{fulfilment_id}/picking": ("store",),
    "PUT /v1/stores/{store_id}/tickets/{fulfilment_id}/lines/{line_id:path}": ("store",),
    "POST /v1/stores/{store_id}/tickets/{fulfilment_id}/ready": ("store",),
    "POST /v1/stores/{store_id}/tickets/{fulfilment_id}/hand-over": ("store",),
    "POST /v1/stores/{store_id}/tickets/{fulfilment_id}/collect": ("store",),
    "POST /v1/stores/{store_id}/tickets/{fulfilment_id}/held-back": ("store",),
    "POST /v1/stores/{store_id}/tickets/{fulfilment_id}/returned": ("store",),
    "GET /v1/stores/{store_id}/riders": ("store", "ops"),
    "POST /v1/stores/{store_id}/pause": ("store", "ops"),
    "POST /v1/stores/{store_id}/items/{sku:path}/pause": ("store", "ops"),
    "GET /v1/stores/{store_id}/inbox": ("store", "ops"),
    "POST /v1/stores/{store_id}/inbox/acknowledgements": ("store",),
    # riders
    "GET /v1/riders/{rider_id}": ("rider", "ops"),
    "GET /v1/riders/{rider_id}/inbox": ("rider", "ops"),
    "POST /v1/riders/{rider_id}/inbox/acknowledgements": ("rider",),
    "POST /v1/riders/{rider_id}/shift": ("rider",),
    "POST /v1/riders/{rider_id}/shift/end": ("rider",),
    "PUT /v1/riders/{rider_id}/position": ("rider",),
    "POST /v1/riders/{rider_id}/offers/{offer_id:path}/accept": ("rider",),
    "POST /v1/riders/{rider_id}/offers/{offer_id:path}/decline": ("rider",),
    "POST /v1/riders/{rider_id}/parcels/{parcel_id}/arrive-at-store": ("rider",),
    "POST /v1/riders/{rider_id}/parcels/{parcel_id}/pick-up": ("rider",),
    "POST /v1/riders/{rider_id}/parcels/{parcel_id}/arrive-at-customer": ("rider",),
    "POST /v1/riders/{rider_id}/parcels/{parcel_id}/deliver": ("rider",),
    "POST /v1/riders/{rider_id}/parcels/{parcel_id}/fail": ("rider",),
    "POST /v1/riders/{rider_id}/remittances": ("store", "ops"),
    # operations
    "GET /v1/monitor": ("ops",),
    "GET /v1/anomalies": ("ops",),
    "POST /v1/riders/{rider_id}/parcels/{parcel_id}/unassign": ("ops",),
    "GET /v1/dispatch": ("rider", "ops"),
    "GET /v1/dispatch/{zone_id:path}": ("ops",),
    "POST /v1/dispatch/{zone_id:path}/parcels/{parcel_id}/reoffer": ("ops",),
    # risk
    "POST /v1/queue": ("channel",),
    "POST /v1/risk/challenges/{challenge_id}/answers": ("channel",),
    "GET /v1/risk/blocks": ("ops",),
    "PUT /v1/risk/blocks/{kind}/{value:path}": ("ops",),
    "DELETE /v1/risk/blocks/{kind}/{value:path}": ("ops",),
    "GET /v1/risk/customers/{customer_id}": ("ops",),
    # devices
    "POST /v1/devices/codes": ("store", "ops"),
    "GET /v1/devices": ("store", "ops"),
    "POST /v1/devices/{session_id}/end": ("store", "ops"),
    "GET /v1/devices/me": ("channel", "store", "rider", "ops"),
    "POST /v1/devices/unpair": ("store", "rider", "ops"),
    # ledger
    "GET /v1/ledger/accounts": ("ops",),
    "GET /v1/ledger/documents": ("ops",),
    "GET /v1/ledger/postings": ("ops",),
    "GET /v1/ledger/stock": ("ops",),
    "GET /v1/ledger/reconciliation": ("ops",),
}

NOT_BOUND_TO_OWNER: frozenset[str] = frozenset({
    "GET /v1/skus",
    "GET /v1/skus/{sku:path}",
    "GET /v1/availability",
    "GET /v1/dispatch",
    "POST /v1/riders/{rider_id}/remittances",
    "POST /v1/devices/codes",
    "GET /v1/devices",
    "POST /v1/devices/{session_id}/end",
    "GET /v1/devices/me",
    "POST /v1/devices/unpair",
})  # fmt: skip
"""Routes that a store or rider may use without being named in the path: the shared catalogue, a
store's cashier taking the cash of a rider of its own dispatch zone (the rider's entity knows which
that is), and the caller's own device (``orchestrator.api.devices`` sees to it that a store pairs,
lists and unpairs only its own)."""

_OWNED_BY = {"store": "store_id", "rider": "rider_id"}


class Access:
    """Decides by the table; knows nothing of HTTP."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    def caller(self, route: str, authorization: str, path: Mapping[str, str]) -> Caller:
        """Who calls, if they may use the route (``"GET /v1/…"`` as in :data:`ROLES_OF`) on what
        its path names. Raises ``Refused`` with ``token-…``, ``wrong-role``, ``foreign-resource``.
        """
        caller = self.tokens.verify(bearer(authorization))
        _check_role(caller, route)
        owned = path.get(_OWNED_BY.get(caller.role, ""))
        if owned is not None and owned != caller.subject:
            raise Refused(
                "foreign-resource",
                f"The token of {caller.role} {caller.subject} cannot act for {owned}.",
            )
        return caller

    def caller_at(self, route: str, headers: Mapping[bytes, bytes]) -> Caller:
        """The same for a route whose path names nobody, from the headers as they were sent."""
        caller = self.tokens.verify_header(headers.get(b"authorization", b""))
        _check_role(caller, route)
        return caller

    @staticmethod
    def own_order(caller: Caller, order_id: str, channel: str) -> None:
        """A channel's own order, or operations. A foreign order is answered as an unknown one, so
        that nobody learns which orders exist. Raises ``Refused`` with ``unknown-order``."""
        if caller.role == "channel" and caller.subject != channel:
            raise Refused("unknown-order", f"There is no order {order_id}.")


def _check_role(caller: Caller, route: str) -> None:
    roles = ROLES_OF[route]
    if caller.role not in roles:
        raise Refused(
            "wrong-role",
            f"This route is for {' or '.join(roles)}; the token is of a {caller.role}.",
        )
