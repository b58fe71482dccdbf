"""Do archives become Bentos, and nothing else?"""
