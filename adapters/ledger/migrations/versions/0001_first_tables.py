"""The first tables of the ledger.

A revision is history: it spells its tables out and never imports the current ones.
"""

from collections.abc import Iterable

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, Double, Integer, LargeBinary, Text
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STOCK_MEASURES = (
    "on_hand", "locked", "damaged", "sold", "returned", "received", "transferred_in",
    "transferred_out", "counted", "short",
)  # fmt: skip

APPEND_ONLY = ("documents", "postings", "stock_lines", "order_events")

TABLES = (
    "skipped_events",
    "counters",
    "order_folds",
    "positions",
    "stock_balances",
    "account_balances",
    "fulfilments",
    "orders",
    "order_events",
    "stock_lines",
    "postings",
    "documents",
)


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "documents",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("document_id", Text, nullable=False, unique=True),
        Column("kind", Text, nullable=False),
        Column("at", Double, nullable=False),
        Column("order_id", Text, nullable=False),
        Column("fulfilment_id", Text, nullable=False),
        Column("store_id", Text, nullable=False),
        Column("rider_id", Text, nullable=False),
        Column("reference", Text, nullable=False),
        Column("data", _json(), nullable=False),
    )
    op.create_index("documents_by_kind", "documents", ["kind", "number"])
    op.create_index("documents_by_order", "documents", ["order_id", "number"])
    op.create_table(
        "postings",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("step", Integer, primary_key=True, autoincrement=False),
        Column("account", Text, nullable=False),
        Column("currency", Text, nullable=False),
        Column("amount", BigInteger, nullable=False),
        Column("order_id", Text, nullable=False),
    )
    op.create_index("postings_by_account", "postings", ["account", "number"])
    op.create_index("postings_by_order", "postings", ["order_id"])
    op.create_table(
        "stock_lines",
        Column("number", BigInteger, primary_key=True, autoincrement=False),
        Column("step", Integer, primary_key=True, autoincrement=False),
        Column("store_id", Text, nullable=False),
        Column("sku", Text, nullable=False),
        Column("line_id", Text, nullable=False),
        Column("fulfilment_id", Text, nullable=False),
        *_measures(),
    )
    op.create_index("stock_lines_by_cell", "stock_lines", ["store_id", "sku"])
    op.create_index("stock_lines_by_fulfilment", "stock_lines", ["fulfilment_id"])
    op.create_table(
        "order_events",
        Column("order_id", Text, primary_key=True),
        Column("position", BigInteger, primary_key=True, autoincrement=False),
        Column("step", Integer, primary_key=True, autoincrement=False),
        Column("at", Double, nullable=False),
        Column("type", Text, nullable=False),
        Column("data", _json(), nullable=False),
    )
    op.create_index("order_events_by_type", "order_events", ["type"])
    op.create_table(
        "orders",
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
    )
    op.create_index("orders_by_customer", "orders", ["customer_id", "placed_at", "order_id"])
    op.create_index("orders_by_state", "orders", ["state", "placed_at", "order_id"])
    op.create_index("orders_by_time", "orders", ["placed_at", "order_id"])
    op.create_table(
        "fulfilments",
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
    )
    op.create_index("fulfilments_by_order", "fulfilments", ["order_id"])
    op.create_index("fulfilments_by_store", "fulfilments", ["store_id", "order_id"])
    op.create_table(
        "account_balances",
        Column("account", Text, primary_key=True),
        Column("currency", Text, primary_key=True),
        Column("debit", BigInteger, nullable=False),
        Column("credit", BigInteger, nullable=False),
    )
    op.create_table(
        "stock_balances",
        Column("store_id", Text, primary_key=True),
        Column("sku", Text, primary_key=True),
        *_measures(),
    )
    op.create_table(
        "positions",
        Column("shard", Text, primary_key=True),
        Column("position", BigInteger, nullable=False),
        Column("missing", BigInteger, nullable=False),
    )
    op.create_table(
        "order_folds",
        Column("order_id", Text, primary_key=True),
        Column("data", LargeBinary, nullable=False),
    )
    op.create_table(
        "counters",
        Column("name", Text, primary_key=True),
        Column("value", BigInteger, nullable=False),
    )
    op.create_table(
        "skipped_events",
        Column("type", Text, primary_key=True),
        Column("count", BigInteger, nullable=False),
    )
    _refuse_changes()
    op.execute("INSERT INTO counters (name, value) VALUES ('document', 0)")


def downgrade() -> None:
    """Drop everything, newest first."""
    for table in TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")


def _refuse_changes() -> None:
    """The database itself refuses to edit or delete what is written once (DOMAIN, Finance)."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RAISE EXCEPTION '% is append-only: mend it by a further document', TG_TABLE_NAME; "
            "END $$"
        )
        for table in APPEND_ONLY:
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
                "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
            )
        return
    for table in APPEND_ONLY:
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} BEGIN "
                f"SELECT RAISE(ABORT, '{table} is append-only: mend it by a further document'); "
                "END"
            )


def _json() -> JSON:
    return JSON().with_variant(JSONB(), "postgresql")


def _measures() -> Iterable[Column[int]]:
    return (Column(measure, BigInteger, nullable=False) for measure in STOCK_MEASURES)
