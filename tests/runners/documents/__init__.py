"""Are documents read right, and safely?"""
