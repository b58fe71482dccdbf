"""Is a request followed from its caller to its model?"""
