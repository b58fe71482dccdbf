"""What do the client's answers look like?"""
