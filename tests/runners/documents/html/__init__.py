"""Are web pages read right?"""
