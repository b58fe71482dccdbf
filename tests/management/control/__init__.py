"""Does the load decide how many replicas run?"""
