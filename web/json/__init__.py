"""How is JSON of any size read and written, strictly and without blocking other requests?"""
