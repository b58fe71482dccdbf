"""Is each model served as its contract says?"""
