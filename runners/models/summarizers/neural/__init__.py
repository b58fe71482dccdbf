"""How does a checkpoint of a language model summarize?"""
