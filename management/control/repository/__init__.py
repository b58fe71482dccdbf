"""How do Bentos and stored models come into the stores of this machine, and go out?"""
