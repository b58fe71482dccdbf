"""Is a deployment the same in the words of the client's version 1?"""
