"""Does a Bento get the environment that it needs, whole and once?"""
