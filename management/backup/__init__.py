"""How is everything that a server keeps backed up and restored?"""
