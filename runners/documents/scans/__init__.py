"""What does the picture of a page say?"""
