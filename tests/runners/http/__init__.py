"""Are requests read and answered as the documents say?"""
