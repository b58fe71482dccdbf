"""Do all engines compute the same?"""
