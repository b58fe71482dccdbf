"""How does a request reach a replica? Queue, slot, connection, answer; the routes are kept in memory."""
