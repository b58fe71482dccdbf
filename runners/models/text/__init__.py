"""What can be computed about a text without a model: its language, sentences, tokens and lists?"""
