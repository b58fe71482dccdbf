"""Which weights are served, and where do they come from?"""
