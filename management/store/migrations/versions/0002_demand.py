"""Load reports, scaling to zero, and a pause of autoscaling after a manual change.

Revision: 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Upgrade."""
    op.create_table(
        "demands",
        sa.Column("worker", sa.String(length=32), nullable=False),
        sa.Column("deployment_id", sa.String(length=32), nullable=False),
        sa.Column("in_flight", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        sa.Column("asked_at", sa.Float(), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment_id"], ["deployments.id"], name=op.f("fk_demands_deployment_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("worker", "deployment_id", name=op.f("pk_demands")),
    )
    op.add_column("deployments", sa.Column("dormant", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("deployments", sa.Column("held_until", sa.Float(), nullable=True))


def downgrade() -> None:
    """Downgrade."""
    op.drop_column("deployments", "held_until")
    op.drop_column("deployments", "dormant")
    op.drop_table("demands")
