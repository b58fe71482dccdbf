"""Which checks can no client and no framework bypass? The outermost layer of every server."""
