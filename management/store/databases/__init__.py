"""How is a database of each kind opened and begun, and what do its errors mean?"""

from management.store.databases.database import BUSY_SECONDS, Database, Transaction
from management.store.databases.kinds import of_url

__all__ = ["BUSY_SECONDS", "Database", "Transaction", "of_url"]
