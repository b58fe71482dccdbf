"""How does a URL become bytes, safely?"""
