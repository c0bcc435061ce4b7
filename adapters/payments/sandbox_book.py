"""The sandbox provider's own durable book: payments, refunds, its statement, its webhook queue.

A SQLite file that the provider alone reads and writes. Each public method is one transaction: what
a payment became and the webhook that tells of it are stored together or not at all. Methods block;
:class:`adapters.payments.sandbox_server.Sandbox` calls them on one thread of its own, so that a
caller who goes away never leaves a transaction half done. Several processes may share the file.
All times are service time, epoch seconds.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from adapters.payments.sandbox_faults import (
    Fault,
    captures_late,
    fate_of,
    repeat_delay_s,
    retry_delay_s,
)

__all__ = ["Book", "Sent", "Trouble", "Webhook", "rfc3339"]

RETRY_FOR_S = 3 * 86_400.0
"""A webhook that nobody accepts for so long is given up; a query still tells the truth."""

LATE_FOR_S = 1800.0
"""Money that was under way at a payment's expiry is captured for so long; then it bounces."""

RELEASED_AFTER_S = 1.0
"""A webhook held back to arrive out of order leaves so long after the one that overtook it."""

BUSY_TIMEOUT_REAL_S = 10.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS payment (
    payment_id TEXT PRIMARY KEY, order_id TEXT NOT NULL, amount INTEGER NOT NULL,
    currency TEXT NOT NULL, capture TEXT NOT NULL, expires_at REAL, status TEXT NOT NULL,
    reference TEXT NOT NULL, refunded INTEGER NOT NULL DEFAULT 0 CHECK (refunded <= amount),
    reason TEXT NOT NULL DEFAULT '', created_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS payment_open ON payment (expires_at) WHERE status = 'pending';
CREATE TABLE IF NOT EXISTS refund (
    payment_id TEXT NOT NULL REFERENCES payment, refund_id TEXT NOT NULL,
    amount INTEGER NOT NULL, reference TEXT NOT NULL, created_at REAL NOT NULL,
    PRIMARY KEY (payment_id, refund_id)
);
CREATE TABLE IF NOT EXISTS statement (
    number INTEGER PRIMARY KEY AUTOINCREMENT, type TEXT NOT NULL, at REAL NOT NULL,
    payment_id TEXT NOT NULL, order_id TEXT NOT NULL, refund_id TEXT NOT NULL,
    amount INTEGER NOT NULL, currency TEXT NOT NULL, reference TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS webhook (
    number INTEGER PRIMARY KEY AUTOINCREMENT, event_id TEXT NOT NULL UNIQUE,
    payment_id TEXT NOT NULL, body BLOB NOT NULL, state TEXT NOT NULL, fault TEXT NOT NULL,
    repeats INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, created_at REAL NOT NULL,
    due_at REAL NOT NULL, leased_until REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS webhook_due ON webhook (due_at, number) WHERE state IN ('due', 'held');
CREATE INDEX IF NOT EXISTS webhook_held ON webhook (payment_id) WHERE state = 'held';
"""

PAYMENT = """payment_id, order_id, amount, currency, capture, expires_at, status, reference,
    refunded, reason"""


class Trouble(Exception):
    """A request the provider refuses: an HTTP status, a stable code, and what to do."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Webhook:
    """One webhook to send now."""

    event_id: str
    payment_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """How a sending went; ``accepted`` when the receiver answered 2xx."""

    event_id: str
    accepted: bool


class Book:
    """See the module. Rows come back as plain dicts, ready to be JSON."""

    def __init__(self, path: Path, *, faults: float, late_captures: float, seed: int) -> None:
        self._faults = faults
        self._late_captures = late_captures
        self._seed = seed
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(
            path, isolation_level=None, timeout=BUSY_TIMEOUT_REAL_S, check_same_thread=False
        )
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute("PRAGMA foreign_keys = ON")
        self._connection.executescript(SCHEMA)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def create(
        self, payment_id: str, order_id: str, amount: int, currency: str,
        capture: str, expires_at: float | None, now: float,
    ) -> dict[str, Any]:  # fmt: skip
        """Open a payment; a repeat answers what it became. Trouble: ``idempotency-conflict``."""
        with self._transaction() as connection:
            known = self._find(connection, payment_id, now)
            if known is None:
                connection.execute(
                    "INSERT INTO payment (payment_id, order_id, amount, currency, capture,"
                    " expires_at, status, reference, created_at) VALUES (?,?,?,?,?,?,?,?,?)",
                    (payment_id, order_id, amount, currency, capture, expires_at, "pending",
                     self._reference("payment", payment_id), now),
                )  # fmt: skip
                created = self._get(connection, payment_id, now)
                self._announce(connection, created, "pending", now)
                return created
            if (known["order_id"], known["amount"], known["currency"]) != (
                order_id, amount, currency,
            ):  # fmt: skip
                raise _conflict("payment_id", payment_id)
            return known

    def get(self, payment_id: str, now: float) -> dict[str, Any]:
        """A payment. Trouble: ``unknown-payment``."""
        with self._transaction() as connection:
            return self._get(connection, payment_id, now)

    def pay(self, payment_id: str, outcome: str, late: bool | None, now: float) -> dict[str, Any]:
        """The customer's doing: ``pay``, ``fail`` or ``abandon`` (nothing happens).

        For ``LATE_FOR_S`` after the expiry a payment is captured all the same if ``late``, is not
        if ``late`` is False, and if None with the share the sandbox was made with. Paying twice is
        paying once.
        Trouble: ``unknown-payment``, ``payment-expired``, ``payment-closed``.
        """
        with self._transaction() as connection:
            payment = self._get(connection, payment_id, now)
            status = payment["status"]
            if outcome == "abandon" or (outcome == "pay" and status in ("captured", "authorised")):
                return payment
            if status == "expired" and outcome == "pay":
                if late is None:
                    late = captures_late(payment_id, self._late_captures, self._seed)
                if not late or now > payment["expires_at"] + LATE_FOR_S:
                    raise Trouble(409, "payment-expired", "Too late; open a new payment.")
            elif status != "pending":
                raise Trouble(409, "payment-closed", f"The payment is {status} already.")
            if outcome == "fail":
                return self._become(connection, payment, "failed", now, "declined by the customer")
            if payment["capture"] == "manual":
                return self._become(connection, payment, "authorised", now)
            return self._become(connection, payment, "captured", now)

    def capture(self, payment_id: str, amount: int, currency: str, now: float) -> dict[str, Any]:
        """Take an authorised amount, whole. Trouble: ``unknown-payment``, ``wrong-amount``,
        ``payment-not-authorised``."""
        with self._transaction() as connection:
            payment = self._get(connection, payment_id, now)
            if (payment["amount"], payment["currency"]) != (amount, currency):
                raise Trouble(422, "wrong-amount", "Capture exactly the amount of the payment.")
            if payment["status"] == "captured":
                return payment
            if payment["status"] != "authorised":
                raise Trouble(409, "payment-not-authorised", f"The payment is {payment['status']}.")
            return self._become(connection, payment, "captured", now)

    def refund(
        self, payment_id: str, refund_id: str, amount: int, currency: str, now: float
    ) -> dict[str, Any]:
        """Give money back once per payment and ``refund_id``. Trouble: ``unknown-payment``,
        ``payment-not-captured``, ``wrong-currency``, ``refund-exceeds-captured``,
        ``idempotency-conflict``."""
        with self._transaction() as connection:
            payment = self._get(connection, payment_id, now)
            if payment["currency"] != currency:
                raise Trouble(422, "wrong-currency", f"Paid in {payment['currency']}.")
            known = connection.execute(
                "SELECT amount, reference FROM refund WHERE payment_id = ? AND refund_id = ?",
                (payment_id, refund_id),
            ).fetchone()
            if known is not None:
                if known["amount"] != amount:
                    raise _conflict("refund_id", refund_id)
                return _refund(payment, refund_id, amount, known["reference"])
            self._check_refundable(payment, amount)
            return self._refund_now(connection, payment, refund_id, amount, now)

    def statement(self, after: int, limit: int) -> list[dict[str, Any]]:
        """Captures and refunds in the order they happened, after entry number ``after``."""
        rows = self._connection.execute(
            "SELECT * FROM statement WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
        )
        return [{**dict(row), "at": rfc3339(row["at"])} for row in rows]

    def claim(self, now: float, count: int, lease_until: float) -> list[Webhook]:
        """Webhooks due now, oldest first, kept from other senders until ``lease_until``."""
        with self._transaction() as connection:
            self._expire_all(connection, now)
            rows = connection.execute(
                "SELECT number, event_id, payment_id, body FROM webhook WHERE state IN"
                " ('due', 'held') AND due_at <= ? AND leased_until <= ?"
                " ORDER BY due_at, number LIMIT ?",
                (now, now, count),
            ).fetchall()
            connection.executemany(
                "UPDATE webhook SET leased_until = ?, state = 'due' WHERE number = ?",
                [(lease_until, row["number"]) for row in rows],
            )
        return [Webhook(row["event_id"], row["payment_id"], row["body"]) for row in rows]

    def record(self, sent: Sequence[Sent], now: float) -> None:
        """Store how sendings went: done, or due again."""
        with self._transaction() as connection:
            for one in sent:
                self._record_one(connection, one, now)

    def release(self, event_ids: Sequence[str]) -> None:
        """Give claimed webhooks back unsent."""
        with self._transaction() as connection:
            connection.executemany(
                "UPDATE webhook SET leased_until = 0 WHERE event_id = ?",
                [(event_id,) for event_id in event_ids],
            )

    def next_due(self) -> float | None:
        """When the next webhook must be sent or payment expires; None when nothing waits."""
        row = self._connection.execute(
            "SELECT min(at) AS at FROM (SELECT min(max(due_at, leased_until)) AS at FROM webhook"
            " WHERE state IN ('due', 'held') UNION ALL"
            " SELECT min(expires_at) FROM payment WHERE status = 'pending')"
        ).fetchone()
        return None if row["at"] is None else float(row["at"])

    def webhooks(self) -> list[dict[str, Any]]:
        """The whole queue, sent ones included, for a look from outside."""
        rows = self._connection.execute(
            "SELECT event_id, state, fault, attempts, due_at FROM webhook ORDER BY number"
        )
        return [dict(row) for row in rows]

    def _check_refundable(self, payment: dict[str, Any], amount: int) -> None:
        if payment["status"] != "captured":
            raise Trouble(409, "payment-not-captured", f"The payment is {payment['status']}.")
        left = payment["amount"] - payment["refunded"]
        if amount > left:
            raise Trouble(422, "refund-exceeds-captured", f"At most {left} can be refunded.")

    def _refund_now(
        self, connection: sqlite3.Connection, payment: dict[str, Any],
        refund_id: str, amount: int, now: float,
    ) -> dict[str, Any]:  # fmt: skip
        reference = self._reference("refund", f"{payment['payment_id']}/{refund_id}")
        connection.execute(
            "INSERT INTO refund VALUES (?,?,?,?,?)",
            (payment["payment_id"], refund_id, amount, reference, now),
        )
        connection.execute(
            "UPDATE payment SET refunded = refunded + ? WHERE payment_id = ?",
            (amount, payment["payment_id"]),
        )
        answer = _refund(payment, refund_id, amount, reference)
        self._enter(connection, "refund", {**payment, **answer}, now)
        self._announce(connection, {**payment, **answer}, "refunded", now)
        return answer

    def _become(
        self, connection: sqlite3.Connection, payment: dict[str, Any],
        status: str, now: float, reason: str = "",
    ) -> dict[str, Any]:  # fmt: skip
        connection.execute(
            "UPDATE payment SET status = ?, reason = ? WHERE payment_id = ?",
            (status, reason, payment["payment_id"]),
        )
        changed = {**payment, "status": status, "reason": reason}
        if status == "captured":
            self._enter(connection, "capture", changed, now)
        self._announce(connection, changed, status, now)
        return changed

    def _enter(
        self, connection: sqlite3.Connection, kind: str, entry: dict[str, Any], now: float
    ) -> None:
        connection.execute(
            "INSERT INTO statement (type, at, payment_id, order_id, refund_id, amount, currency,"
            " reference) VALUES (?,?,?,?,?,?,?,?)",
            (kind, now, entry["payment_id"], entry["order_id"], entry.get("refund_id", ""),
             entry["amount"], entry["currency"], entry["reference"]),
        )  # fmt: skip

    def _announce(
        self, connection: sqlite3.Connection, data: dict[str, Any], status: str, now: float
    ) -> None:
        """Queue the webhook of what has just happened, with the fate the seed has for it."""
        refund_id = data.get("refund_id", "")
        payment_id = data["payment_id"]
        event_id = f"evt_{_short(f'{payment_id}/{status}/{refund_id}')}"
        fate = fate_of(event_id, self._faults, self._seed)
        state = {Fault.LOST: "lost", Fault.OUT_OF_ORDER: "held"}.get(fate.fault, "due")
        connection.execute(
            "UPDATE webhook SET state = 'due', due_at = min(due_at, ?)"
            " WHERE payment_id = ? AND state = 'held'",
            (now + fate.delay_s + RELEASED_AFTER_S, payment_id),
        )
        connection.execute(
            "INSERT INTO webhook (event_id, payment_id, body, state, fault, repeats, created_at,"
            " due_at) VALUES (?,?,?,?,?,?,?,?)",
            (event_id, payment_id, _body(event_id, data, status, now), state, fate.fault.value,
             fate.repeats, now, now + fate.delay_s),
        )  # fmt: skip

    def _record_one(self, connection: sqlite3.Connection, sent: Sent, now: float) -> None:
        row = connection.execute(
            "SELECT attempts, repeats, created_at FROM webhook WHERE event_id = ?",
            (sent.event_id,),
        ).fetchone()
        attempts = row["attempts"] + 1
        repeats = row["repeats"]
        state, due_at = "due", now
        if sent.accepted and repeats == 0:
            state = "accepted"
        elif sent.accepted:
            repeats -= 1
            due_at = now + repeat_delay_s(sent.event_id, attempts, self._seed)
        elif now - row["created_at"] > RETRY_FOR_S:
            state = "given_up"
        else:
            due_at = now + retry_delay_s(sent.event_id, attempts, self._seed)
        connection.execute(
            "UPDATE webhook SET state = ?, due_at = ?, repeats = ?, attempts = ?, leased_until = 0"
            " WHERE event_id = ?",
            (state, due_at, repeats, attempts, sent.event_id),
        )

    def _expire_all(self, connection: sqlite3.Connection, now: float) -> None:
        rows = connection.execute(
            f"SELECT {PAYMENT} FROM payment WHERE status = 'pending' AND expires_at <= ?"
            " ORDER BY expires_at",
            (now,),
        ).fetchall()
        for row in rows:
            self._become(connection, dict(row), "expired", now)

    def _get(self, connection: sqlite3.Connection, payment_id: str, now: float) -> dict[str, Any]:
        payment = self._find(connection, payment_id, now)
        if payment is None:
            raise Trouble(404, "unknown-payment", "No such payment; create it first.")
        return payment

    def _find(
        self, connection: sqlite3.Connection, payment_id: str, now: float
    ) -> dict[str, Any] | None:
        row = connection.execute(
            f"SELECT {PAYMENT} FROM payment WHERE payment_id = ?", (payment_id,)
        ).fetchone()
        if row is None:
            return None
        payment = dict(row)
        expires_at = payment["expires_at"]
        if payment["status"] == "pending" and expires_at is not None and expires_at <= now:
            return self._become(connection, payment, "expired", now)
        return payment

    def _reference(self, kind: str, identity: str) -> str:
        return f"sbx_{_short(f'{self._seed}/{kind}/{identity}')}"

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, except that a payment found expired stays expired when refused."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
        except Trouble:
            self._connection.execute("COMMIT")
            raise
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")


def rfc3339(at: float) -> str:
    """A time as the wire has it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def _refund(payment: dict[str, Any], refund_id: str, amount: int, reference: str) -> dict[str, Any]:
    return {
        "payment_id": payment["payment_id"], "refund_id": refund_id, "status": "refunded",
        "amount": amount, "currency": payment["currency"], "reference": reference, "reason": "",
    }  # fmt: skip


def _body(event_id: str, data: dict[str, Any], status: str, now: float) -> bytes:
    names = ("payment_id", "order_id", "amount", "currency", "reference", "reason")
    document = {
        "id": event_id,
        "type": f"refund.{status}" if data.get("refund_id") else f"payment.{status}",
        "occurred_at": rfc3339(now),
        "data": {name: data[name] for name in names}
        | {"status": status, "refund_id": data.get("refund_id", "")},
    }
    return msgspec.json.encode(document)


def _short(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:24]


def _conflict(name: str, identity: str) -> Trouble:
    return Trouble(
        409, "idempotency-conflict",
        f"{name} {identity} was used for something else; use a new one.",
    )  # fmt: skip
