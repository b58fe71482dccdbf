"""Counters of 64 bits, as SQLite's are: PostgreSQL's end at 2,147,483,647.

Revision: 0006.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

NUMBERED = ("deployments", "replicas", "events")
"""Tables whose ``number`` a sequence counts."""


def upgrade() -> None:
    """Upgrade."""
    _change(sa.BigInteger())


def downgrade() -> None:
    """Downgrade."""
    _change(sa.Integer())


def _change(width: sa.Integer) -> None:
    if op.get_bind().dialect.name != "postgresql":
        return
    for table, column in (*((table, "number") for table in NUMBERED), ("changes", "count")):
        op.alter_column(table, column, type_=width, existing_nullable=False)
    for table in NUMBERED:
        op.execute(sa.text(f"ALTER SEQUENCE {table}_number_seq AS {width.compile(op.get_bind().dialect)}"))
