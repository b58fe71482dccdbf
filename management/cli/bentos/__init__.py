"""Which commands make Bentos and images?"""
