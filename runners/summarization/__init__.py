"""How is a document summarized?"""
