"""How is every replica started, and how does it prove its identity?"""
