"""Is JSON read and written strictly, and never at others' cost?"""
