"""What does the reader of a web page come for?"""
