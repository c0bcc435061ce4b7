"""Examples for the documentation: answers are made from the public structs, so that they cannot
contradict them; bodies are checked against their models by a test."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw

from orchestrator import models

__all__ = ["BODIES"]

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ORDER_ID = "oq4c7x2mzk5vtr3ahwnyb"
FULFILMENT_ID = f"{ORDER_ID}-1"
LINE_ID = f"{ORDER_ID}/1"
PAYMENT_ID = f"{ORDER_ID}-p7k2m4qxa"

_HOME = {"lat": 4.6601, "lon": -74.0561}
_SHOP = {"lat": 4.6533, "lon": -74.0602}


def _json(document: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(document))


def _page(document: Any, following: str | None = None) -> Any:
    return {"items": [_json(document)], "next": following}


_ORDER = models.Order(
    order_id=ORDER_ID, state="paid", channel="app", customer_id="c-1001", currency="USD",
    goods=1_980, freight=300, total=2_280, refunded=0, cash_collected=0, payment="online",
    delivery="delivery",
    lines=[
        models.OrderLine(
            LINE_ID, "MILK-1L", "Milk 1 l", 2, 990, 1_980, FULFILMENT_ID, refunded_quantity=0,
            refunded_amount=0, short_quantity=0, short_amount=0,
            short_reason="",
        ),
    ],
    fulfilments=[
        models.Fulfilment(
            FULFILMENT_ID, "s-7", "accepted", NOW + timedelta(minutes=30), 0, 300, "", ""
        )
    ],
    payments=[models.Payment(PAYMENT_ID, "sandbox", "captured", 2_280, "USD")],
    refunds=[], placed_at=NOW, expires_at=NOW + timedelta(minutes=15), pickup_code="",
    drop_off=models.Position(**_HOME), reason="",
)  # fmt: skip
_SKU = models.Sku("MILK-1L", "Milk 1 l", 990, "4006381333931", 1_030, 1_000, "chilled", "", "", [])
_STORE = models.Store(
    store_id="s-7", name="Chapinero 7", position=models.Position(**_SHOP), currency="USD",
    zones=[
        models.DeliveryZone("z-7-1", 1, models.Circle(models.Position(**_SHOP), 3_000.0), 1_800)
    ],
    dispatch_zone="north", freight=models.FreightTemplate(300, 5_000, 50, 2_000), priority=100,
    capacity_per_slot=40, slot_s=900, prep_s=600, accept_s=300, opens_s=25_200, closes_s=79_200,
    time_zone="America/Bogota", parcel_weight_g=12_000, parcel_volume_ml=45_000, pickup=True,
    active=True,
)  # fmt: skip
_CELL = models.Cell("MILK-1L", 48, 2, 0, 4, 0, 42, 0, 12, 24, {})
_TICKET = models.Ticket(
    fulfilment_id=FULFILMENT_ID, order_id=ORDER_ID, state="picking", delivery="delivery",
    currency="USD", cash_due=0,
    lines=[
        models.TicketLine(LINE_ID, "MILK-1L", "Milk 1 l", 2, 1, "4006381333931", 990, "missing")
    ],
    opened_at=NOW, changed_at=NOW + timedelta(minutes=2), accept_by=NOW + timedelta(minutes=5),
    due_at=NOW + timedelta(minutes=30), ready_at=NOW + timedelta(minutes=12),
    accepted_by="tablet-1", rider_id="", rider_at_store=False, cancel_asked=False, escalation=0,
    reason="", customer_name="Ana", phone_ending="42", address="Calle 63 # 9-20", note="",
)  # fmt: skip
_PARCEL = models.Parcel(
    FULFILMENT_ID, ORDER_ID, "s-7", "Chapinero 7", models.Position(**_SHOP),
    models.Position(**_HOME), "Calle 63 # 9-20", "Ana", "42", NOW + timedelta(minutes=12),
    NOW + timedelta(minutes=30), 2_280, "USD",
)  # fmt: skip
_RIDER = models.Rider(
    rider_id="r-12", state="engaged", dispatch_zone="north", vehicle="bicycle", capacity=3,
    position=models.Position(**_SHOP), moved_at=NOW, shift_started_at=NOW, shift_ends_at=None,
    offer=None, parcels=[models.RunParcel(_PARCEL, "picked_up", 2_280, NOW, "")],
    stops=[models.Stop("drop_off", FULFILMENT_ID)], cash_held=1_500, cash_limit=50_000,
    cash_headroom=46_220, currency="USD",
)  # fmt: skip

ORDER = _json(_ORDER)
ORDER_PAGE = _page(_ORDER, "WzE3NzIzNjY0MDAuMCwib3E0Il0")
HISTORY_PAGE = _page(
    models.HistoryStep(NOW, "order.cod_confirmed.v1", {"at": "2026-03-01T12:00:00Z"})
)
PAYMENT_OPENED = _json(
    models.PaymentOpened(PAYMENT_ID, "sandbox", "created", 2_280, "USD",
                         f"/sandbox/pay/{PAYMENT_ID}")
)  # fmt: skip
RECEIVED = {"received": True}
RIDER_CASH = models.RiderCash("r-12", True, 0, 50_000, "USD")
RIDER_CASH_PAGE = _page(models.RiderCash("r-12", True, 1_500, 50_000, "USD"))
SKU = _json(_SKU)
SKU_PAGE = _page(_SKU, "MILK-1L")
STORE = _json(_STORE)
STORE_PAGE = _page(_STORE, "s-7")
CHANNEL = _json(models.Channel("app", 900.0, 3, 0, models.Cod(50_000, 2, 3, []), 1800.0, 999, 100))
STORED = {"stored": 2}
DONE = {"done": True}
PAIRING_CODE = _json(models.PairingCode("4G7KX2MZ", "store", "s-7", NOW + timedelta(minutes=10)))
DEVICES = _json(
    models.DevicePage(
        [models.PairedDevice("aq3m7xk2", "store", "s-7", "Counter", NOW, NOW + timedelta(days=30))],
        None,
    )
)
IDENTITY = _json(models.Identity("store", "s-7", NOW + timedelta(days=30)))
AVAILABILITY = _json(models.Availability(NOW, [models.Sellable("MILK-1L", True, 128)]))
STOCK = _json(models.Stock("s-7", [_CELL], 1))
STOCK_DOCUMENT = _json(models.StockDocument("receipt:4500012345", "s-7", [_CELL]))
TICKET = _json(_TICKET)
TICKET_PAGE = _page(_TICKET)
STORE_PAUSED = _json(models.Paused("s-7", None, True, NOW + timedelta(minutes=20)))
ITEM_PAUSED = _json(models.Paused("s-7", "MILK-1L", True, None))
STORE_INBOX = _json(
    models.InboxPage(
        "1",
        418,
        [
            models.InboxMessage(
                418, "store/s-7/418", "item.paused", NOW,
                Raw(b'{"sku":"MILK-1L","paused":true,"until":null}'),
            )
        ],
        None,
    )
)  # fmt: skip
RIDER_INBOX = _json(
    models.InboxPage(
        "1",
        77,
        [
            models.InboxMessage(
                77, "rider/r-12/77", "offer.ended", NOW,
                Raw(b'{"offer_id":"of-9","outcome":"expired","reason":""}'),
            )
        ],
        None,
    )
)  # fmt: skip
RIDER = _json(_RIDER)
ZONE = _json(
    models.Zone(
        "north",
        [
            models.ZoneParcel(
                FULFILMENT_ID, ORDER_ID, "s-7", "waiting", "", 1, NOW, True,
                NOW + timedelta(minutes=12), NOW + timedelta(minutes=30), 2_280,
                models.Position(**_SHOP), models.Position(**_HOME), False,
            )
        ],
        [models.ZoneRider("r-12", "free", "bicycle", models.Position(**_SHOP), NOW, [], 48_500)],
        [],
        NOW + timedelta(seconds=4),
    )
)  # fmt: skip
WORK_ZONE_PAGE = _page(
    models.WorkZone(
        "north", "USD", "America/Bogota",
        [
            models.WorkStore(
                "s-7", "Chapinero", models.Position(**_SHOP),
                [models.WorkArea(1, models.Circle(models.Position(**_SHOP), 3_000.0))],
            )
        ],
    )
)  # fmt: skip
ACCOUNT_PAGE = _page(models.Account("provider:sandbox", "USD", 2_280, 0, 2_280))
DOCUMENT_PAGE = _page(
    models.Document(
        1, f"sale:{FULFILMENT_ID}", "sale", NOW, ORDER_ID, FULFILMENT_ID, "s-7", "", "", {},
        [models.PostingOfDocument("revenue", "USD", -1_980)],
        [{"store_id": "s-7", "sku": "MILK-1L", "on_hand": -2, "locked": -2, "sold": 2}],
    ),
    "WzFd",
)  # fmt: skip
POSTING_PAGE = _page(
    models.Posting(f"payment:{PAYMENT_ID}", 2, 0, "payment", NOW, ORDER_ID, "provider:sandbox",
                   "USD", 2_280),
    "WzIsMF0",
)  # fmt: skip
LEDGER_STOCK = {
    "store_id": "s-7",
    "items": [_json(models.LedgerCell("s-7", "MILK-1L", 48, 2, 0, 10, 1, 57, 0, 0, 0, 0))],
}
RECONCILIATION = {
    "balanced": False,
    "difference_count": 1,
    "differences": [
        {
            "check": "stock on hand is explained", "store_id": "s-7", "sku": "MILK-1L",
            "expected": 48, "found": -1, "locked": 0,
        }
    ],
    "checks": {"every document balances": 0, "stock on hand is explained": 1},
    "orders": {"completed": 12, "cancelled": 1},
    "accounts": {"provider_clearing:sandbox": {"USD": 27_360}, "revenue:s-7": {"USD": -27_360}},
    "stock": {"on_hand": -1, "locked": 0, "sold": 10},
    "open": {},
    "documents": 91,
}  # fmt: skip
_PARKED = {
    "code": "parked", "key": f"parked:{FULFILMENT_ID}",
    "ids": {"order_id": ORDER_ID, "fulfilment_id": FULFILMENT_ID}, "since": "2026-03-01T12:00:00Z",
    "detail": "No store serves it (oven broken; No further store can serve this order.).",
    "facts": {"reason": "oven broken", "others": "short-stock"},
    "remedies": [
        {"name": "re-route", "method": "POST", "body": {"store_id": ""}, "asks": ["why"],
         "path": f"/v1/orders/{ORDER_ID}/fulfilments/{FULFILMENT_ID}/reroute",
         "optional": ["store_id"]},
        {"name": "close", "method": "POST", "body": {}, "asks": ["why"], "optional": [],
         "path": f"/v1/orders/{ORDER_ID}/fulfilments/{FULFILMENT_ID}/close"},
    ],
}  # fmt: skip
ANOMALIES = {"items": [_PARKED], "next": None}
MONITOR = {
    "at": "2026-03-01T12:05:00Z", "since": "2026-03-01T08:00:00Z", "ready": True,
    "orders": {
        "open": 1, "by_state": {"paid": 1}, "finished": {"completed": 12, "cancelled": 1},
        "oldest": {"paid": {"id": ORDER_ID, "since": "2026-03-01T11:58:00Z", "age_s": 420}},
    },
    "fulfilments": {
        "open": 1, "by_state": {"parked": 1}, "late": 0,
        "oldest": {"parked": {"id": FULFILMENT_ID, "since": "2026-03-01T12:00:00Z", "age_s": 300}},
    },
    "per_second": {"placed": 0.017}, "funnel": {"placed": 14, "confirmed": 13, "completed": 12},
    "fleet": {"on_shift": 1, "free": 1, "busy": 0, "owing": 0},
    "push": {"devices": 1, "p50_ms": 2.1, "p99_ms": 9.8}, "anomaly_counts": {"parked": 1},
    "stores": {
        "s-7": {"open": 0, "by_state": {}, "devices": 1, "paused": False, "unread": 0,
                "name": "Chapinero 7", **_SHOP, "zone_id": "north", "capacity_per_slot": 40}
    },
    "riders": {
        "r-3": {"on_shift": True, "cash": 0, "currency": "USD", "cash_limit": 50_000, "run": {},
                "zone_id": "north", "vehicle": "bike", **_SHOP,
                "moved_at": "2026-03-01T12:04:58Z"}
    },
    "low_stock": {
        "s-7/MILK-1L": {"store_id": "s-7", "sku": "MILK-1L", "on_hand": 3, "reorder_point": 12,
                        "suggested_quantity": 24, "since": "2026-03-01T11:00:00Z", "sellable": 1}
    },
    "anomalies": {_PARKED["key"]: _PARKED},
    "campaigns": {
        "c-9": {"name": "Noon sale", "kind": "flash_sale", "state": "running", "sku": "MILK-1L",
                "remaining": 88, "held": 4, "sold": 8, "returned": 0, "open_groups": 0,
                "formed_groups": 0, "failed_groups": 0, "own_shard": 0}
    },
}  # fmt: skip
CLOCK = _json(models.Clock(NOW, 1.0))
READY = _json(models.Readiness(True, {"actors.order": models.Part(True, True, "")}, 0))
NOT_READY = _json(
    models.Readiness(
        False,
        {"journal": models.Part(False, True, "journal-away: The journal is away.")},
        None,
    )
)

PLACE: dict[str, Any] = {
    "customer": {"customer_id": "c-1001", "name": "Ana", "phone": "+573001234542"},
    "lines": [{"sku": "MILK-1L", "quantity": 2}],
    "currency": "USD",
    "delivery": "delivery",
    "address": {"position": _HOME, "text": "Calle 63 # 9-20"},
    "payment": "online",
    "expected_total": 2_280,
}
WEBHOOK: dict[str, Any] = {
    "id": "evt_5f0c2a",
    "type": "payment.captured",
    "occurred_at": "2026-03-01T12:01:00Z",
    "data": {
        "payment_id": PAYMENT_ID, "order_id": ORDER_ID, "status": "captured", "amount": 2_280,
        "currency": "USD", "reference": "sb_91ab", "reason": "", "refund_id": "",
    },
}  # fmt: skip
_SKU_BODY = {
    "name": "Milk 1 l", "price": 990, "barcode": "4006381333931", "weight_g": 1_030,
    "volume_ml": 1_000, "handling": "chilled",
}  # fmt: skip

_CAMPAIGN = models.Campaign(
    campaign_id="c4xk2mzq5vtr3", name="Milk for half", kind="group_buy", state="running",
    sku="MILK-1L", price=495, list_price=990, currency="USD", starts_at=NOW,
    ends_at=NOW + timedelta(hours=2), limit_per_customer=2, pay_s=300.0, channels=[],
    issuer="platform",
    group=models.GroupTerms("normal", 3, 3_600.0, "on_payment", "refund", 0, []), remaining=188,
    units=models.UnitTally(188, 4, 8, 0),
    quota=[models.CampaignQuota("s-7", 200, 200, 188, 4, 8, 0, "")],
    open_groups=2, formed_groups=1, failed_groups=0,
)  # fmt: skip
CAMPAIGN = _json(_CAMPAIGN)
CAMPAIGN_GROUPS = {
    "items": [
        _json(
            models.CampaignGroup(
                "c4xk2mzq5vtr3:2", 3, 2, 0, 1, 1, 495, NOW, NOW + timedelta(hours=1)
            )
        )
    ],
    "next": None,
}

QUEUE_PLACE = _json(
    models.QueuePlace(
        "lqNhcHCjYy0x.c2lnbmVk", "campaign:c4xk2mzq5vtr3", NOW + timedelta(seconds=12),
        NOW + timedelta(seconds=132), 600,
    )
)  # fmt: skip
CLEARANCE = _json(models.Clearance("k6NhcHCjYy0x.c2lnbmVk", NOW + timedelta(minutes=15)))
BLOCK = _json(models.Block("device", "phone-77", "bought out the sale", "ops:ana", None))
BLOCK_PAGE = {"items": [BLOCK], "next": None}
RISK_RECORD = _json(
    models.RiskRecord(
        "c-1", 1, 0, 1,
        [models.RiskDecision(
            "challenge", ["unpaid-orders"], NOW, "app", ORDER_ID, "phone-77", "203.0.113.9"
        )],
    )
)  # fmt: skip

BODIES: dict[str, dict[str, Any]] = {
    "QueueBody": {"customer_id": "c-1", "campaign_id": "c4xk2mzq5vtr3"},
    "ChallengeAnswerBody": {"customer_id": "c-1", "passed": True},
    "BlockBody": {"why": "bought out the sale", "until": "2026-04-01T00:00:00Z"},
    "CampaignBody": {
        "name": "Milk for half", "sku": "MILK-1L", "price": 495, "currency": "USD",
        "starts_at": "2026-03-01T12:00:00.000Z", "ends_at": "2026-03-01T14:00:00.000Z",
        "quota": [{"store_id": "s-7", "units": 200}], "limit_per_customer": 2,
        "group": {"kind": "normal", "size": 3, "open_s": 3600},
    },
    "EndSessionBody": {"why": "the tablet was lost"},
    "EndBody": {"why": "the price was wrong"},
    "PaymentBody": {"provider": "sandbox"},
    "CodeBody": {"role": "store", "subject": "s-1", "valid_s": 600},
    "PairBody": {"code": "4G7KX2MZ", "device_name": "Counter", "role": "store"},
    "CancelBody": {"reason": "changed my mind"},
    "RefundBody": {"units": [{"line_id": LINE_ID, "quantity": 1}], "reason": "broken bottle"},
    "RerouteBody": {"store_id": "s-8", "why": "s-8 has it, told by phone"},
    "RemedyBody": {"why": "the customer was called and agrees"},
    "AcknowledgementBody": {"device_id": "tablet-1", "offset": 12},
    "SkuBody": _SKU_BODY,
    "SkusBody": {"skus": [{"sku": "MILK-1L", **_SKU_BODY}]},
    "StoreBody": {
        "name": "Chapinero 7", "position": _SHOP, "currency": "USD", "dispatch_zone": "north",
        "opens_s": 25_200, "closes_s": 79_200, "time_zone": "America/Bogota",
        "zones": [
            {"zone_id": "z-7-1", "tier": 1, "promise_s": 1_800,
             "area": {"type": "circle", "centre": _SHOP, "radius_m": 3_000}},
        ],
        "freight": {"base": 300, "free_from": 5_000, "per_km": 50, "included_m": 2_000},
    },
    "ChannelBody": {"unpaid_s": 900, "max_splits": 3, "cod": {"limit": 50_000}},
    "ReceiptBody": {"items": [{"sku": "MILK-1L", "quantity": 24}]},
    "TransferBody": {"to_store": "s-8", "items": [{"sku": "MILK-1L", "quantity": 6}]},
    "CountBody": {"sku": "MILK-1L", "counted": 47, "as_of": "2026-03-01T06:00:00-05:00"},
    "DamageBody": {"sku": "MILK-1L", "quantity": 1},
    "SafetyBody": {"sku": "MILK-1L", "safety": 4, "daily_demand": 6.5, "order_quantity": 24},
    "OversellBody": {"sku": "MILK-1L", "limit": 0},
    "AllotmentBody": {"sku": "MILK-1L", "channel": "app", "quantity": 10},
    "AcceptBody": {"device_id": "tablet-1", "prep_s": 480},
    "RejectBody": {
        "device_id": "tablet-1", "reason": "Technical trouble", "reason_code": "trouble",
    },
    "DeviceBody": {"device_id": "tablet-1"},
    "PickBody": {"device_id": "tablet-1", "quantity": 1},
    "HandOverBody": {"device_id": "tablet-1", "rider_id": "r-12"},
    "CollectBody": {"device_id": "tablet-1", "code": "4711", "cash": 0},
    "HeldBackBody": {"device_id": "tablet-1", "held_back": True},
    "ReturnedBody": {"device_id": "tablet-1", "damaged": [{"line_id": LINE_ID, "quantity": 1}]},
    "PauseBody": {"paused": True, "until": "2026-03-01T12:20:00Z", "reason": "power cut"},
    "PauseItemBody": {"paused": True},
    "ShiftBody": {"dispatch_zone": "north", "vehicle": "bicycle", "position": _SHOP},
    "PlaceOnEarthBody": {"position": _SHOP},
    "DeclineBody": {"reason": "flat tyre"},
    "DeliverBody": {"cash_received": 2_500, "change": 220},
    "FailBody": {"reason": "absent"},
    "RemittanceBody": {"amount": 1_500, "owed": 1_500},
    "WhyBody": {"why": "rider does not answer"},
}  # fmt: skip
"""One example per body of a plain route, by the name of its model."""
