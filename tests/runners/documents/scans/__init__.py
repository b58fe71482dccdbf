"""Are pictures of pages read right?"""
