"""How are tests sorted by what they need, shared out to workers, and judged?"""
