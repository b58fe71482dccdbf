"""Is the project as its rules want it?"""
