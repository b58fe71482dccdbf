"""Does the whole answer as its documents print it?"""
