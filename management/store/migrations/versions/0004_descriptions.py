"""Descriptions of secrets and keys; those that are there have none.

Revision: 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("keys", "secrets")


def upgrade() -> None:
    """Upgrade."""
    for table in TABLES:
        op.add_column(table, sa.Column("description", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    """Downgrade."""
    for table in TABLES:
        op.drop_column(table, "description")
