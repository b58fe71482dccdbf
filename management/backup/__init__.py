"""How does all that a server keeps outlive its machine?"""
