"""How is a model called at its own address?"""
