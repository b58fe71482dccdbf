"""What do the picture networks look like, and what is made of their outputs?"""
