"""Which spec does an engine get, where the engine keeps the replicas itself?"""
