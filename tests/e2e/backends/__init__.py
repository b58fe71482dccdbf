"""Does a model live its whole life on every backend, whatever happens to replicas, nodes and control planes?"""
