"""Does the model store hold what it should?"""
