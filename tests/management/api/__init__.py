"""Does the API take, refuse and say what its documents promise?"""
