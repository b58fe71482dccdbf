"""How is JSON of any size read and written, strictly and without a pause for others?"""
