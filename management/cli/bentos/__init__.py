"""Which commands make Bentos and container images?"""
