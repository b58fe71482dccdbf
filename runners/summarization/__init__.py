"""What does a document say, in short?"""
