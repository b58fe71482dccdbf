"""How do several control planes hold the same Bentos and models?"""
