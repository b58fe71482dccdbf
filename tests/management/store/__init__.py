"""Does the database keep what it should, also on a full disk?"""
