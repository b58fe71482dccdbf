"""In which environment does a Bento's replica run, and how is it made?"""
