"""Are Word documents read right?"""
