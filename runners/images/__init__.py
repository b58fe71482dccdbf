"""How are the bytes of an image decoded into pixels, safely?"""
