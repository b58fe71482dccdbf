"""Is any Bento called with the documented body, and is nothing of it trusted?"""
