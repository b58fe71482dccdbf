"""How many replicas should a model have?"""
