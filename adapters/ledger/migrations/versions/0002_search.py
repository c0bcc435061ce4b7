"""Orders can be found by the ending of the customer's phone, and by rider.

Orders from before have no ending until something happens to them again.
"""

from alembic import op
from sqlalchemy import Column, Text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column and both indexes."""
    op.add_column("orders", Column("phone_ending", Text, nullable=False, server_default=""))
    op.create_index("orders_by_phone", "orders", ["phone_ending", "placed_at", "order_id"])
    op.create_index("fulfilments_by_rider", "fulfilments", ["rider_id", "order_id"])


def downgrade() -> None:
    """Take them away."""
    op.drop_index("fulfilments_by_rider", "fulfilments")
    op.drop_index("orders_by_phone", "orders")
    op.drop_column("orders", "phone_ending")
