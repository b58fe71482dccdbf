"""How do the bytes of a picture become pixels, safely?"""
