"""How is a request followed from one process to the next?"""
