"""Which Bentos do the tests bring in?"""
