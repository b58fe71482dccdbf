"""Do the models of Chinese medicine read, judge and refuse as they should?"""
