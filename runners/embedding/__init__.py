"""Which vector represents a picture?"""
