"""Are Bentos and images built whole?"""
