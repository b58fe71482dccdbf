"""Does a request arrive safely?"""
