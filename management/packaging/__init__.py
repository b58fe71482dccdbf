"""How are Bentos and their images made?"""
