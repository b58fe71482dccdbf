"""How does a request become items, and how do results become a response?"""
