"""How do tests get a PostgreSQL server of their own, break it, and bring it back?"""
