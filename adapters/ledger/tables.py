"""The ledger's tables (SQLAlchemy Core), the same on SQLite and PostgreSQL.

Three sorts, by how they change:

- **append-only**: ``documents``, ``postings``, ``stock_lines``, ``order_events``. A row is written
  once and never touched again (triggers refuse it). What was wrong is mended by a further document.
- **current views**: ``orders``, ``fulfilments``, ``account_balances``, ``stock_balances``. They can
  be rebuilt from the first sort; :mod:`adapters.ledger.reconciliation` proves that they agree.
- **the projector's own**: ``positions``, ``order_folds``, ``counters``, ``skipped_events``.

Amounts are integers of the minor unit; in ``postings`` a debit is positive and a credit negative.
Times are epoch seconds of service time.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

__all__ = [
    "STOCK_MEASURES", "account_balances", "counters", "documents", "fulfilments", "metadata",
    "order_events", "order_folds", "orders", "positions", "postings", "skipped_events",
    "stock_balances", "stock_lines",
]  # fmt: skip

metadata = MetaData()

_json = JSON().with_variant(JSONB(), "postgresql")
_number = BigInteger

STOCK_MEASURES = (
    "on_hand", "locked", "damaged", "sold", "returned", "received", "transferred_in",
    "transferred_out", "counted", "short",
)  # fmt: skip
"""What is counted of a stock cell. ``on_hand``, ``locked`` and ``damaged`` are levels (DOMAIN,
Stock); the rest are totals of the documents that moved ``on_hand``, so that always ``on_hand =
received + transferred_in - transferred_out + counted - sold + returned - short``."""

documents = Table(
    "documents",
    metadata,
    Column("number", _number, primary_key=True, autoincrement=False),
    Column("document_id", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("fulfilment_id", Text, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("rider_id", Text, nullable=False),
    Column("reference", Text, nullable=False),
    Column("data", _json, nullable=False),
    Index("documents_by_kind", "kind", "number"),
    Index("documents_by_order", "order_id", "number"),
)
"""``number`` is dense and in the order of commit: a cursor over it never misses a late row."""

postings = Table(
    "postings",
    metadata,
    Column("number", _number, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("account", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("order_id", Text, nullable=False),
    Index("postings_by_account", "account", "number"),
    Index("postings_by_order", "order_id"),
)

stock_lines = Table(
    "stock_lines",
    metadata,
    Column("number", _number, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("store_id", Text, nullable=False),
    Column("sku", Text, nullable=False),
    Column("line_id", Text, nullable=False),
    Column("fulfilment_id", Text, nullable=False),
    *(Column(measure, BigInteger, nullable=False) for measure in STOCK_MEASURES),
    Index("stock_lines_by_cell", "store_id", "sku"),
    Index("stock_lines_by_fulfilment", "fulfilment_id"),
)

order_events = Table(
    "order_events",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("type", Text, nullable=False),
    Column("data", _json, nullable=False),
    Index("order_events_by_type", "type"),
)

orders = Table(
    "orders",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("payment", Text, nullable=False),
    Column("delivery", Text, nullable=False),
    Column("goods", BigInteger, nullable=False),
    Column("freight", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("refunded", BigInteger, nullable=False),
    Column("cash_collected", BigInteger, nullable=False),
    Column("placed_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("phone_ending", Text, nullable=False, server_default=""),
    Index("orders_by_time", "placed_at", "order_id"),
    Index("orders_by_state", "state", "placed_at", "order_id"),
    Index("orders_by_customer", "customer_id", "placed_at", "order_id"),
    Index("orders_by_phone", "phone_ending", "placed_at", "order_id"),
)
"""What orders are searched and sorted by; their views are made of ``order_folds``."""

fulfilments = Table(
    "fulfilments",
    metadata,
    Column("fulfilment_id", Text, primary_key=True),
    Column("order_id", Text, nullable=False),
    Column("store_id", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("freight", BigInteger, nullable=False),
    Column("cash_due", BigInteger, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("rider_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("units_out", BigInteger, nullable=False),
    Index("fulfilments_by_order", "order_id"),
    Index("fulfilments_by_store", "store_id", "order_id"),
    Index("fulfilments_by_rider", "rider_id", "order_id"),
)
"""``units_out``: stock units (components) that must have left the store for good: those ordered
less those short once it was delivered, else 0."""

account_balances = Table(
    "account_balances",
    metadata,
    Column("account", Text, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("debit", BigInteger, nullable=False),
    Column("credit", BigInteger, nullable=False),
)

stock_balances = Table(
    "stock_balances",
    metadata,
    Column("store_id", Text, primary_key=True),
    Column("sku", Text, primary_key=True),
    *(Column(measure, BigInteger, nullable=False) for measure in STOCK_MEASURES),
)

positions = Table(
    "positions",
    metadata,
    Column("shard", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("missing", BigInteger, nullable=False),
)
"""Up to where each shard is applied; ``missing`` counts records that the journal no longer had
(only possible when this database was lost or replaced): never silently 0."""

order_folds = Table(
    "order_folds",
    metadata,
    Column("order_id", Text, primary_key=True),
    Column("data", LargeBinary, nullable=False),
)

counters = Table(
    "counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""Row ``document``: the last document number. Every batch updates it first, so that batches are
applied one after the other, whoever applies them."""

skipped_events = Table(
    "skipped_events",
    metadata,
    Column("type", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
)
"""Events this release could not project, by name."""
