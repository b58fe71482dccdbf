"""How does a request arrive safely?"""
