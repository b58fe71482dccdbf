"""Does the outermost layer refuse, bound and pass on what it should?"""
