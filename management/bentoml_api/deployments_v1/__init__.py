"""How are the client's calls of version 1 on deployments answered, which speak of targets in clusters and namespaces?

They are the calls of version 2 in other words: this package translates, and has no behaviour of its own.
"""
