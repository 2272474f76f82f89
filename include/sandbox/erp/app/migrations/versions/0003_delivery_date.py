"""Delivery dates for orders: only adds, so 2.9.0 goes on working and ``oldest_version`` stays."""

import sqlalchemy as sa
from alembic import op

revision = "0003_delivery_date"
down_revision = "0002_orders"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Nullable and without a default: no rewrite of the table, the lock is held for an instant.
    op.add_column("orders", sa.Column("delivery_date", sa.Date, nullable=True))


def downgrade() -> None:
    op.drop_column("orders", "delivery_date")
