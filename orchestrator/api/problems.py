"""Every error's HTTP face: RFC 9457 ``application/problem+json``, in this one place.

A problem's ``type`` is the relative address ``/problems/<code>``, which explains it. The same code
has the same status everywhere.
"""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from msgspec import Struct, field

from domain.errors import DoorstepError

__all__ = [
    "CONTENT_TYPE",
    "EXPLAINED",
    "EXTRA_EXAMPLES",
    "INTERNAL",
    "RETRY_AFTER_S",
    "Explained",
    "ProblemDocument",
    "document_of",
    "encoded",
    "explain",
    "headers_of",
]

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
"""What ``Retry-After`` says with a retryable problem, real seconds."""


class Explained(Struct, frozen=True):
    """What a code means: its status, a title, and what the caller should do."""

    status: int
    title: str
    advice: str


class ProblemDocument(Struct, frozen=True, rename={"kind": "type"}):
    """The members every problem has (RFC 9457); a problem may have further ones of its code."""

    kind: str
    title: str
    status: int
    detail: str
    code: str


class FieldProblem(Struct, frozen=True):
    """One wrong field of a request."""

    field: str
    message: str


class InvalidRequest(ProblemDocument, frozen=True, rename={"kind": "type"}):
    """A problem that names the wrong fields."""

    errors: list[FieldProblem] = field(default_factory=list)


def _explained(status: int, codes: Mapping[str, tuple[str, str]]) -> dict[str, Explained]:
    return {code: Explained(status, *texts) for code, texts in codes.items()}


EXPLAINED: dict[str, Explained] = {
    **_explained(400, {
        "malformed-json": ("Malformed JSON", "Send one JSON object as the body."),
        "idempotency-key-missing": (
            "Idempotency-Key missing",
            "Send an Idempotency-Key header of 1 to 200 visible characters, the same at a retry.",
        ),
        "bad-cursor": ("Unknown cursor", "Use `next` of the page before, unchanged."),
        "malformed-command": ("Malformed command", "Check the ids in the path and the body."),
        "malformed-webhook": ("Malformed webhook", "Send the provider's event as documented."),
    }),
    **_explained(401, {
        "token-missing": ("Token missing", "Send the header `Authorization: Bearer <token>`."),
        "token-invalid": ("Token invalid", "Get a new token."),
        "token-expired": ("Token expired", "Get a new token and retry."),
        "session-ended": ("Device unpaired", "Pair the device again: ask operations for a code."),
        "bad-signature": ("Bad signature", "Sign the exact body with the shared secret."),
        "stale-webhook": ("Stale webhook", "Sign again with the time of now."),
    }),
    **_explained(403, {
        "wrong-role": ("Not for this role", "Use a token of a role that the route is for."),
        "foreign-resource": (
            "Not yours", "A token reads and acts on nothing but its own store, rider or orders."
        ),
        "cod-denied": ("No cash on delivery", "Pay online; `rule` names the rule that denies it."),
        "wrong-pairing-code": (
            "Wrong pairing code", "It is unknown, used or no longer valid: ask for a new one."
        ),
        "foreign-origin": ("Another site's page", "Use a page of this service, or send a token."),
        "not-newcomer": ("Not a new customer", "Open a group, or join another campaign's."),
        "wrong-channel": ("Not for this channel", "Sell it through a channel of the campaign."),
        "wrong-code": ("Wrong pick-up code", "Ask the customer for the code of this order."),
        "wrong-rider": ("Another rider's parcel", "Only the assigned rider may take it."),
        "queue-token-missing": (
            "Queue first", "Send the `token` of `POST /v1/queue` as `queue_token`, one per order."
        ),
        "queue-token-invalid": ("Not a queue token", "Send the token as `POST /v1/queue` gave it."),
        "queue-token-foreign": (
            "Another's queue token", "Order for the customer, channel and target it was given for."
        ),
        "queue-token-early": ("Not your turn yet", "Send the same order after Retry-After."),
        "queue-token-expired": ("The turn has passed", "Queue again."),
        "risk-denied": ("Not taken", "`reasons` names the rules; operations can lift a block."),
        "challenge-failed": (
            "Challenge not passed", "Answer with the code that was sent, or once they have passed."
        ),
        "code-locked": ("Too many wrong codes", "Wait as long as `detail` says, then try again."),
    }),
    **_explained(404, {
        "not-found": ("No such address", "See /openapi.json for the routes."),
        "unknown-order": ("Unknown order", "Check the order id."),
        "unknown-campaign": ("Unknown campaign", "Check the campaign's id."),
        "unknown-group": ("Unknown group", "List the campaign's open groups anew."),
        "unknown-fulfilment": ("Unknown fulfilment", "Check the fulfilment id."),
        "unknown-ticket": ("Unknown ticket", "Read the store's tickets anew; it may be closed."),
        "unknown-line": ("Unknown line", "Use a line id of this order."),
        "unknown-block": ("Not blocked", "Read the blocks anew."),
        "unknown-challenge": ("Unknown challenge", "Place the order again."),
        "unknown-flag": ("No such flag", "Read the anomalies anew; it may be resolved."),
        "unknown-payment": ("Unknown payment", "Check the payment id."),
        "unknown-refund": ("Unknown refund", "Check the refund id."),
        "unknown-provider": ("Unknown provider", "Use a provider that this service is set up for."),
        "unknown-store": ("Unknown store", "Check the store id, or create it in the catalogue."),
        "unknown-rider": ("Unknown rider", "Check the rider's number."),
        "unknown-parcel": ("Unknown parcel", "Read the run anew; the parcel may have left it."),
        "unknown-zone": ("Unknown dispatch zone", "Check the dispatch zone's id."),
        "unknown-device": ("Unknown device", "Register the device anew."),
        "unknown-kind": ("Unknown kind", "Check the address."),
        "unknown-command": ("Unknown command", "Check the address."),
        "unknown-session": ("Unknown session", "List the paired devices anew."),
        "unknown-code": ("Unknown problem code", "See the codes of each route in /openapi.json."),
    }),
    **_explained(405, {
        "method-not-allowed": ("Method not allowed", "See the Allow header."),
    }),
    **_explained(409, {
        "wrong-state": ("Wrong state", "Read it anew: it has moved on, or is not there yet."),
        "already-done": (
            "Already done", "The answer to this key is no longer kept: read what became of it."
        ),
        "campaign-exists": ("Campaign exists", "Read it, or use another key."),
        "campaign-not-started": ("Not started", "Come back at `starts_at`."),
        "campaign-ended": ("Campaign over", "Order at the normal price."),
        "campaign-sold-out": (
            "Sold out for now", "Units of unpaid orders come back: watch the campaign's socket."
        ),
        "campaign-out-of-reach": (
            "Not enough left nearby", "Order fewer units, or collect them at another store."
        ),
        "customer-limit": ("Limit reached", "`left` units may still be bought by this customer."),
        "group-full": ("Group full", "Join another group, or open one."),
        "group-closed": ("Group closed", "Join another group, or open one."),
        "already-member": ("Already a member", "One customer has one seat in a group."),
        "claimed-since": ("Overtaken", "A newer wish of this order was taken: read the order."),
        "seat-gone": ("Seat gone", "Place the order again."),
        "already-left": ("The goods have left", "It cannot be cancelled; return it at the door."),
        "offer-gone": ("Offer gone", "It expired or was withdrawn; wait for the next one."),
        "queue-token-used": ("Queue token used", "It is good for one order: read that one."),
        "queue-not-required": ("No queue", "Place the order without a token."),
        "challenge-expired": ("Challenge over", "Place the order again a little later."),
        "lock-gone": ("Stock no longer locked", "Place the order again."),
        "rider-unavailable": ("Rider unavailable", "The rider is off shift or busy."),
        "run-not-empty": ("Run not empty", "Finish the parcels of the run first."),
        "stale-connection": ("Stale connection", "A newer connection of the device took over."),
        "already-on-shift": ("Already on shift", "End that shift before starting another."),
        "already-sold": ("Already sold", "The goods were deducted: they come back as a return."),
        "code-exists": ("Code given out before", "Ask again with a new Idempotency-Key."),
        "bound-to-store": ("Bound to its store", "A pick-up order stays at its store: close it."),
        "cash-limit": ("Cash limit reached", "Remit the cash held, then accept."),
        "count-too-old": ("Count too old", "Too much has moved since: count again."),
        "exceeds-lock": ("More than was locked", "Check the units of each line."),
        "exceeds-sale": ("More than was sold", "Check the units of each line."),
        "expired": ("Time to pay is over", "Place the order again, with a new Idempotency-Key."),
        "lock-differs": ("Another lock", "The fulfilment has locked other items."),
        "no-cancel-asked": ("No cancel is waiting", "Read the ticket anew."),
        "not-deducted": ("Not sold yet", "Cancel instead: the goods are only locked."),
        "off-shift": ("Off shift", "Start a shift first."),
        "offset-ahead": ("Offset ahead of the inbox", "Acknowledge only what was received."),
        "order-exists": ("Order exists", "It was placed by another command: read it."),
        "payment-exists": ("Payment exists", "Use a new Idempotency-Key for another payment."),
        "refund-by-cash": ("Paid in cash", "No provider took the money: pay from a till."),
        "refund-exceeds": ("More than was paid", "Name only units that were not refunded yet."),
        "store-closed": ("Store closed", "The store takes no orders now; leave it out or wait."),
        "too-many-payments": ("Too many payments", "Use one of those that are already open."),
        "wrong-provider": ("Another provider", "The payment was opened at another provider."),
        "owed-changed": (
            "Another sum is owed", "Nothing was booked. `owed` is the sum now: count anew."
        ),
        "remit-first": ("Remit first", "Hand in the cash held: `owed` in `currency`."),
        "wrong-entity": ("Another entry", "Name in the body what the address names."),
        "wrong-shift": ("Another shift", "Name the dispatch zone of the shift."),
    }),
    **_explained(413, {
        "body-too-large": ("Body too large", "Send less at once; see the limit in `detail`."),
    }),
    **_explained(415, {
        "wrong-content-type": ("Wrong content type", "Send `Content-Type: application/json`."),
    }),
    **_explained(422, {
        "invalid-request": ("Invalid request", "Mend the fields named in `errors`."),
        "idempotency-key-reused": (
            "Idempotency-Key reused",
            "The key was used with another body: use a new key for a new wish.",
        ),
        "unknown-sku": ("Unknown SKU", "`skus` names those that are not sold (here)."),
        "short-stock": (
            "Not enough stock",
            "`short` names each short SKU: of an order with the units that are missing, of a stock "
            "document with those that are free.",
        ),
        "wrong-total": ("Wrong total", "Read the prices anew; `total` is the true one."),
        "wrong-currency": ("Wrong currency", "Use the store's currency."),
        "wrong-amount": ("Wrong amount", "Use the exact amount."),
        "wrong-cash": ("Wrong cash", "Collect exactly the cash that is due."),
        "bad-address": ("Impossible address", "Send latitude and longitude in degrees."),
        "bad-delivery": ("Unknown kind of delivery", "Use `delivery` or `pickup`."),
        "bad-payment": ("Unknown kind of payment", "Use `online` or `cod`."),
        "bad-quantity": ("Wrong quantity", "Order 1 unit or more, up to the channel's limit."),
        "count-in-future": ("Count in the future", "Send the time when it was counted."),
        "line-not-divisible": ("Line not divisible", "Serve the line from one store."),
        "negative-amount": ("Negative amount", "Amounts are 0 or more."),
        "nested-combo": ("Combo in a combo", "List the parts of the inner combo."),
        "no-address": ("No address", "A delivery needs an address."),
        "no-customer": ("No customer", "Cash on delivery needs a known customer."),
        "invalid-block": ("Not to be blocked", "See `detail`."),
        "invalid-channel": ("Impossible channel", "Mend what `detail` names."),
        "invalid-sku": ("Impossible SKU", "Mend what `detail` names."),
        "invalid-store": ("Impossible store", "Mend what `detail` names."),
        "invalid-zone": ("Impossible zone", "Mend what `detail` names."),
        "no-document": ("No document id", "Give the document an id."),
        "no-items": ("No items", "Name at least one item."),
        "exceeds-quota": ("More than the quota", "The campaign does not hold so many units."),
        "wrong-terms": ("Impossible terms", "Change the member named in `field`."),
        "campaign-lines": ("Other goods", "Order the campaign's SKU alone, without other goods."),
        "campaign-online": ("Paid online only", "Orders of a campaign are paid online."),
        "no-lines": ("No lines", "Name at least one line."),
        "no-own-shard": (
            "No such shard", "Open the campaign without `own_shard`; `own_shards` are configured."
        ),
        "no-pickup": ("No pick-up there", "Have it delivered, or choose another store."),
        "no-store": ("No store", "A pick-up needs a store_id."),
        "no-store-open": ("No store open", "Try again when a store here is open."),
        "no-zone": ("Not delivered there", "Offer self-pickup, or another address."),
        "nothing-to-apportion": ("Nothing to bear it", "An amount needs at least one line."),
        "nothing-to-remit": ("Nothing to remit", "The rider holds no cash."),
        "quantity-not-positive": ("No units", "Name at least one unit."),
        "reason-required": ("Reason required", "Say why."),
        "same-store": ("Same store", "Name another store."),
        "too-many-lines": ("Too many lines", "Place several orders."),
        "unexpected-answer": ("Unexpected answer", "Report the request id."),
        "units-exceed-line": ("More than the line has", "Name only units that are left."),
        "unknown-currency": (
            "Unknown currency", "Book it when the rider is on shift where one currency is taken."
        ),
        "unknown-status": ("Unknown status", "Use a status of the list."),
        "wrong-model": ("Wrong reorder model", "Check the figures of the model."),
        "wrong-outcome": ("Wrong outcome", "Use an outcome of the list."),
        "wrong-position": ("Wrong position", "Send latitude and longitude in degrees."),
        "wrong-prep": ("Wrong preparation time", "Send seconds within a day."),
        "wrong-quantity": ("Wrong quantity", "Send a quantity within the limits."),
        "wrong-reason": ("Wrong reason", "Use a reason of the list."),
        "wrong-time": ("Wrong time", "Send a time within the coming year."),
    }),
    **_explained(428, {
        "challenge-required": (
            "Challenge required",
            "Have the customer pass `challenge`, answer it, and order again with the clearance.",
        ),
    }),
    **_explained(429, {
        "too-many-tries": ("Too many wrong codes", "Wait a minute, then try again."),
        "too-many-requests": ("Too many requests", "Wait as long as Retry-After says."),
    }),
    **_explained(500, {
        "internal-error": ("Our mistake", "Report the request id; retrying is safe."),
    }),
    **_explained(503, {
        "queue-full": ("Too many are waiting", "Nothing was changed. Queue again later."),
        "busy": ("Busy", "Nothing was changed. Retry after Retry-After with the same key."),
        "cash-unsettled": ("Cash not settled yet", "Retry in a moment with the same key."),
        "entity-busy": ("Busy", "Too much waits for this one thing. Retry with the same key."),
        "not-here": ("Moving", "It is moving to another process. Retry with the same key."),
        "shard-moved": ("Moving", "It is moving to another process. Retry with the same key."),
        "effect-failed": ("Outside failed", "Something outside failed. Retry with the same key."),
        "gateway-busy": ("Busy", "Nothing was changed. Retry after Retry-After with the same key."),
        "outcome-unknown": (
            "Outcome unknown", "Retry with the same Idempotency-Key: it is carried out once."
        ),
        "claimed-before": (
            "An earlier claim was in the way", "It was given back. Retry with the same key."
        ),
        "journal-away": ("Storage away", "Retry with the same Idempotency-Key."),
        "ray-away": ("Ray away", "No Ray answers where DOORSTEP_RAY_ADDRESS says; see `doctor`."),
        "ledger-away": ("Ledger away", "History cannot be read now; orders go on. Retry later."),
    }),
}  # fmt: skip
"""All codes known by name; :func:`explain` also answers for those that are not."""

EXTRA_EXAMPLES: dict[str, dict[str, Any]] = {
    "invalid-request": {
        "errors": [{"field": "lines[0].quantity", "message": "Expected `int` >= 1"}]
    },
    "short-stock": {"short": {"MILK-1L": 2}},
    "unknown-sku": {"skus": ["MILK-9L"]},
    "owed-changed": {"owed": 2_400, "currency": "USD"},
    "remit-first": {"owed": 2_400, "currency": "USD"},
    "queue-token-missing": {"targets": ["sku:MILK-1L"]},
    "queue-token-early": {"retry_after_s": 12},
    "risk-denied": {"reasons": ["blocked-device"]},
    "challenge-required": {
        "reasons": ["unpaid-orders"],
        "challenge": {"challenge_id": "qabcdefghij234567abcd", "kind": "channel", "valid_s": 600},
    },
    "too-many-requests": {
        "limit": "account",
        "quota": 60,
        "window_s": 60,
        "retry_after_s": 12,
    },
}
"""Extra members of some codes, for the documentation."""

INTERNAL = DoorstepError(
    "internal-error", "Something of ours failed. Retrying with the same Idempotency-Key is safe."
)
"""What a bug looks like from outside: its text stays in our log."""

_PREFIXES = (("unknown-", 404), ("wrong-", 409), ("bad-", 422), ("invalid-", 422))
_encoder = msgspec.json.Encoder()


def explain(code: str, *, retryable: bool = False) -> Explained:
    """What a code means. A code not in :data:`EXPLAINED` gets a status by its kind: retryable 503,
    ``unknown-…`` 404, ``wrong-…`` 409, else 422."""
    if code in EXPLAINED:
        return EXPLAINED[code]
    title = code.replace("-", " ").capitalize()
    if retryable:
        return Explained(503, title, "Retry after a moment with the same Idempotency-Key.")
    status = next((status for prefix, status in _PREFIXES if code.startswith(prefix)), 422)
    return Explained(status, title, "See `detail`.")


def document_of(error: DoorstepError) -> dict[str, Any]:
    """The problem document of an error, its extra members included."""
    explained = explain(error.code, retryable=error.retryable)
    return {
        **error.extra,
        "type": f"/problems/{error.code}",
        "title": explained.title,
        "status": explained.status,
        "detail": error.detail,
        "code": error.code,
    }


def headers_of(error: DoorstepError, status: int) -> dict[str, str]:
    """What goes into the header: when to retry, how to authenticate."""
    if "retry_after_s" in error.extra:
        return {"retry-after": str(error.extra["retry_after_s"]), **_rate_limit(error.extra)}
    if status == HTTPStatus.SERVICE_UNAVAILABLE or status == HTTPStatus.TOO_MANY_REQUESTS:
        return {"retry-after": str(RETRY_AFTER_S)}
    if status == HTTPStatus.UNAUTHORIZED and error.code.startswith("token-"):
        return {"www-authenticate": "Bearer"}
    return {}


def _rate_limit(extra: Mapping[str, Any]) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers: the policy, and what is left of it."""
    if "quota" not in extra:
        return {}
    name = f'"{extra["limit"]}"'
    return {
        "ratelimit-policy": f"{name};q={extra['quota']};w={extra['window_s']}",
        "ratelimit": f"{name};r=0;t={extra['retry_after_s']}",
    }


def encoded(error: DoorstepError) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer."""
    document = document_of(error)
    status = document["status"]
    headers = {"content-type": CONTENT_TYPE, **headers_of(error, status)}
    return status, headers, _encoder.encode(document)
