"""Does a real server of the management live through a model's life?"""
