"""Does a server start, and end, as its user expects?"""
