"""Are PDFs read right?"""
