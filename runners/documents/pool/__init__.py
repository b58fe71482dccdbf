"""In which process is a document read, when, and for how long?"""
