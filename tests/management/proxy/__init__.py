"""Is a model called at its own address as if its callers had it alone?"""
