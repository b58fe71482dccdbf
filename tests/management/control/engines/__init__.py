"""Does an engine that keeps replicas get the right specs?"""
